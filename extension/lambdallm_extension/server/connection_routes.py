"""The routes of WebSocket clients. Loaded at the first of them."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.server import checks
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.services.connections import Connections
    from lambdallm_extension.services.invocations import Invocations
    from lambdallm_wire.codec import Message

DATA_MAX_BYTES = 131_072
"""Of one message, 128 KB. Source: API Gateway developer guide, "Quotas … WebSocket", 2026-11."""

CONNECTION_ID_MAX = 128
"""Theirs have 16 characters."""

GROUP_MAX_BYTES = 256


def answer(
    route: routes.Route, message: Message, invocations: Invocations, connections: Connections
) -> Any:
    """Answer one request.

    Raises:
        InvalidRequestError, SettingError, PushError, StoreError: As the use case.
    """
    checks.require(message, work_id=str)
    work = invocations.find(message["work_id"])
    until = work.store_deadline_ms()
    if route is routes.PUSH_TO_GROUP:
        return connections.push_to_group(_group_of(message), _data_of(message), deadline_ms=until)
    client = _client_of(message)
    if route is routes.PUSH:
        delivered = connections.push(
            client, _data_of(message), unit=work.work_id, deadline_ms=until
        )
        return {"delivered": delivered}
    if route is routes.JOIN_GROUP:
        return {"groups": connections.join(client, _group_of(message), deadline_ms=until)}
    group = _group_of(message) if "group" in message else ""
    return {"groups": connections.leave(client, group, deadline_ms=until)}


def _client_of(message: Message) -> Any:
    """Return the client that a message names.

    Raises:
        InvalidRequestError: It names none that could be.
    """
    checks.require(message, client=dict)
    client = message["client"]
    checks.require(client, connection_id=str)
    connection_id = client["connection_id"]
    printable = connection_id.isascii() and connection_id.isprintable()
    if not printable or "#" in connection_id or len(connection_id) > CONNECTION_ID_MAX:
        reason = (
            f"A connection's id has 1 to {CONNECTION_ID_MAX} printable ASCII characters without "
            f"'#', not {connection_id!r:.80}. Nothing was sent."
        )
        raise errors.InvalidRequestError(reason)
    for name in ("api_id", "domain_name", "stage"):
        if not isinstance(client.get(name, ""), str):
            reason = f"The field {name!r} of a client must be a text."
            raise errors.InvalidRequestError(reason)
    if type(client.get("connected_epoch_ms", 0)) is not int:
        reason = "The field 'connected_epoch_ms' of a client must be a whole number."
        raise errors.InvalidRequestError(reason)
    return client


def _group_of(message: Message) -> str:
    checks.require(message, group=str)
    group: str = message["group"]
    if len(group.encode("utf-8", "surrogatepass")) > GROUP_MAX_BYTES:
        reason = f"A group's name has 1 to {GROUP_MAX_BYTES} bytes. Nothing was sent."
        raise errors.InvalidRequestError(reason)
    return group


def _data_of(message: Message) -> bytes:
    """Return what is to be sent, as UTF-8.

    Raises:
        InvalidRequestError: It is too long, or no text that UTF-8 could hold.
    """
    checks.require(message, data=str)
    try:
        data: bytes = message["data"].encode()
    except UnicodeEncodeError as error:
        reason = f"The message is no text that can be sent: {error.reason}. Nothing was sent."
        raise errors.InvalidRequestError(reason) from error
    if len(data) > DATA_MAX_BYTES:
        reason = (
            f"The message has {len(data):,} bytes, and API Gateway takes {DATA_MAX_BYTES:,}. "
            "Nothing was sent: split it, or send where it is."
        )
        raise errors.InvalidRequestError(reason)
    return data
