"""The routes for whoever looks after sessions. Loaded when the first of them is asked."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.server import checks
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.services.invocations import Invocations
    from lambdallm_extension.services.session_archive import SessionArchive
    from lambdallm_wire.codec import Message

ALLOWED_MS = 30_000


def answer(route: routes.Route, message: Message, invocations: Invocations) -> Any:
    """Answer one request.

    Raises:
        InvalidRequestError, SettingError, StoreError: As the use case.
    """
    deadline_ms = message.get("deadline_epoch_ms")
    if deadline_ms is not None:
        checks.require(message, deadline_epoch_ms=int)
    archive = invocations.archive(ALLOWED_MS, deadline_ms)
    if route is routes.LIST_SESSIONS:
        return _page(archive, message)
    if route is routes.WRITE_SESSION:
        checks.require(message, record=dict)
        checks.check_session_id(message["record"])
        return {"outcome": archive.write(message["record"])}
    checks.check_session_id(message)
    owner = message.get("owner", "")
    if route is routes.READ_SESSION:
        found = archive.read(message["session_id"], owner)
        return found or {"session": None, "record": None, "turns": []}
    records = message.get("keep_records") is not True
    deleted = archive.delete(message["session_id"], owner, records=records)
    items, calls = (0, 0) if deleted is None else deleted
    return {"found": deleted is not None, "items": items, "calls": calls}


def _page(archive: SessionArchive, message: Message) -> Message:
    cursor, owner = message.get("cursor", ""), message.get("owner")
    if not isinstance(cursor, str) or not isinstance(owner, str | None):
        reason = "The fields 'cursor' and 'owner' are texts."
        raise errors.InvalidRequestError(reason)
    return archive.page(cursor, owner)
