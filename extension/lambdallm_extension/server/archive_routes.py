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
        return _written(archive, message)
    checks.check_session_id(message)
    if route is routes.READ_SESSION:
        turns = message.get("turns") is True
        session_id, owner, cursor = _named(message)
        return archive.read(session_id, owner, cursor=cursor, turns=turns)
    if route is routes.MOVE_SESSION:
        return _moved(archive, message)
    records = message.get("keep_records") is not True
    session_id, owner, _ = _named(message)
    deleted = archive.delete(session_id, owner, records=records)
    items, calls = (0, 0) if deleted is None else deleted
    return {"found": deleted is not None, "items": items, "calls": calls}


def _named(message: Message) -> tuple[str, str, str]:
    """Return id and owner of a session, and the cursor within it."""
    cursor = message.get("cursor", "")
    if not isinstance(cursor, str):
        raise errors.InvalidRequestError("The field 'cursor' is a text.")
    return message["session_id"], message.get("owner") or "", cursor


def _written(archive: SessionArchive, message: Message) -> Message:
    claim = message.get("claim", "")
    if not isinstance(claim, str):
        raise errors.InvalidRequestError("The field 'claim' is a text.")
    outcome, claim = archive.write(message["record"], claim=claim, more=message.get("more") is True)
    return {"outcome": outcome, "claim": claim}


def _moved(archive: SessionArchive, message: Message) -> Message:
    session_id, owner, cursor = _named(message)
    to_owner: Any = message.get("to_owner")
    if to_owner != "":
        checks.require(message, to_owner=str)
        checks.check_principal({"principal": to_owner})
    if to_owner == owner:
        raise errors.InvalidRequestError("It is that owner's already.")
    step = archive.move(session_id, owner, to_owner, cursor)
    return {"outcome": step.outcome, "cursor": step.cursor, "other": step.other}


def _page(archive: SessionArchive, message: Message) -> Message:
    cursor, owner = message.get("cursor", ""), message.get("owner")
    if not isinstance(cursor, str) or not isinstance(owner, str | None):
        reason = "The fields 'cursor' and 'owner' are texts."
        raise errors.InvalidRequestError(reason)
    return archive.page(cursor, owner)
