"""Clients of API Gateway's WebSocket APIs, as a handler sees them: one, or a group of them.

    event.requestContext ─► connectionId, and whose API it is ─► sidecar ─► @connections/ID

The sidecar signs, keeps sockets, asks again, and knows groups. Loaded with the first message.
"""

from __future__ import annotations

from lambdallm import _errors
from lambdallm_wire import plain_json, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any, Protocol

    from lambdallm._work import Work

    class Invocation(Protocol):
        """What is asked of a context."""

        work: Work
        original_event: Any


DATA_MAX_BYTES = 131_072
"""Of one message, 128 KB; API Gateway bills them by 32 KB.

Source: API Gateway developer guide, "Quotas for configuring and running a WebSocket API", and the
pricing page, 2026-11.
"""

_OPENING = "CONNECT"


class Connections:
    """The connections that one invocation writes to."""

    def __init__(self, invocation: Invocation) -> None:
        """Send nothing yet."""
        self._invocation = invocation
        self._turns: dict[str, asyncio.Lock] = {}

    def add(self, group: str, connection_id: str | None = None) -> None:
        """Count a connection among a group, until it leaves or ends.

        Who names a group hears what is said in it: let the name come from who the client is proved
        to be, or from what your own records let it hear; never from its message alone.

        Args:
            group: Any name of up to 256 bytes.
            connection_id: By default the one that this event came by.

        Raises:
            StateError: It may not be in the group.
            ConfigurationError: No store is set, or the layer is too old.
        """
        client = self._client(connection_id)
        self._ask(routes.JOIN_GROUP, {"client": client, "group": group})

    def remove(self, group: str | None = None, connection_id: str | None = None) -> list[str]:
        """Take a connection out of a group, or of all; return those that it was in.

        Raises:
            StateError: It may still be in some.
            ConfigurationError: As of `add`.
        """
        message: dict[str, Any] = {"client": self._client(connection_id)}
        if group is not None:
            message["group"] = group
        left: list[str] = self._ask(routes.LEAVE_GROUPS, message)["groups"]
        return left

    def push(self, group: str, data: Any) -> int:
        """Send a message to a group; return how many have got it. Who is gone leaves the group.

        Args:
            group: Its name.
            data: As of `context.push`.

        Raises:
            LambdaLLMError: As of `context.push`. A SidecarError or a RateLimitedError says how
                many have got it all the same.
        """
        text = _text_of(data)
        if not text:
            return 0
        reply = self._ask(routes.PUSH_TO_GROUP, {"group": group, "data": text})
        delivered: int = reply["delivered"]
        return delivered

    async def aadd(self, group: str, connection_id: str | None = None) -> None:
        """Do as `add`, while other coroutines run."""
        from lambdallm import _async

        await _async.in_thread(lambda: self.add(group, connection_id))

    async def aremove(
        self, group: str | None = None, connection_id: str | None = None
    ) -> list[str]:
        """Do as `remove`, while other coroutines run."""
        from lambdallm import _async

        return await _async.in_thread(lambda: self.remove(group, connection_id))

    async def apush(self, group: str, data: Any) -> int:
        """Do as `push`, while other coroutines run; in the order in which they begin."""
        delivered: int = await self._in_turn(f"#{group}", lambda: self.push(group, data))
        return delivered

    def write(self, data: Any, connection_id: str | None) -> bool:
        """Send a message to a connection; see `Pushes.push`."""
        client, text = self._client(connection_id), _text_of(data)
        if self._is_opening(client["connection_id"]):
            raise _errors.InvalidRequestError(_NOT_OPEN)
        if not text:
            return True
        delivered: bool = self._ask(routes.PUSH, {"client": client, "data": text})["delivered"]
        return delivered

    async def awrite(self, data: Any, connection_id: str | None) -> bool:
        """Send a message to a connection; see `Pushes.apush`."""
        turn = self._client(connection_id)["connection_id"]
        delivered: bool = await self._in_turn(turn, lambda: self.write(data, connection_id))
        return delivered

    async def _in_turn(self, turn: str, call: Any) -> Any:
        """Call it on a thread, when those before it are done that take turns with it."""
        import asyncio

        from lambdallm import _async

        if turn not in self._turns:
            self._turns[turn] = asyncio.Lock()  # lets waiters in as they have come
        async with self._turns[turn]:
            return await _async.in_thread(call)

    def _request_context(self) -> dict[str, Any]:
        event = self._invocation.original_event
        found = event.get("requestContext") if isinstance(event, dict) else None
        return found if isinstance(found, dict) and "connectionId" in found else {}

    def _is_opening(self, connection_id: str) -> bool:
        request = self._request_context()
        return request.get("eventType") == _OPENING and request["connectionId"] == connection_id

    def _client(self, connection_id: str | None) -> dict[str, Any]:
        """Describe a connection (`lambdallm_wire.connections.Client`).

        Raises:
            InvalidRequestError: The event came by none, and none is named.
        """
        request = self._request_context()
        own = request.get("connectionId")
        if connection_id is None and not own:
            raise _errors.InvalidRequestError(_NAMELESS)
        fields = (("api_id", "apiId"), ("domain_name", "domainName"), ("stage", "stage"))
        client = {
            name: request[field] for name, field in fields if isinstance(request.get(field), str)
        }
        client["connection_id"] = own if connection_id is None else connection_id
        since_ms = request.get("connectedAt")
        if client["connection_id"] == own and isinstance(since_ms, int):
            client["connected_epoch_ms"] = since_ms
        return client

    def _ask(self, route: routes.Route, message: dict[str, Any]) -> dict[str, Any]:
        """Ask the engine, also when the handler has ended: an error is told to its client then."""
        work = self._invocation.work
        unit, outcome = work.unit_for_call(), "error"
        try:
            reply = unit.control(route, message)
            outcome = "ok"
        except _errors.SidecarError as error:
            from lambdallm import _older_engines

            refusal = _older_engines.refusal_of_route(error, route, "write to WebSockets")
            if refusal is error:
                raise
            raise refusal from error
        finally:
            work.leave(unit, outcome)
        return reply


def _text_of(data: Any) -> str:
    """Return a message as the text that is sent.

    Raises:
        InvalidRequestError: It is no text that a client could get, or too long.
        TypeError: It is neither text nor JSON.
    """
    if isinstance(data, (dict, list)):
        try:
            text = plain_json.dumps_whole(data, allow_nan=False)
        except ValueError as error:  # NaN, an infinity, or what stands within itself
            message = f"The message is no JSON ({error}). Nothing was sent."
            raise _errors.InvalidRequestError(message) from error
    elif isinstance(data, str):
        text = data
    elif isinstance(data, (bytes, bytearray, memoryview)):
        try:
            text = bytes(data).decode()
        except UnicodeDecodeError as error:
            raise _errors.InvalidRequestError(_BINARY) from error
    else:
        message = f"A message is a text, bytes, a dict or a list, not a {type(data).__name__}."
        raise TypeError(message)
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > DATA_MAX_BYTES:
        message = (
            f"The message has {size:,} bytes, and API Gateway takes {DATA_MAX_BYTES:,}. Nothing "
            "was sent: split it, or send where it is."
        )
        raise _errors.InvalidRequestError(message)
    return text


_NAMELESS = (
    "This event came by no WebSocket: say which connection is meant (connection_id=…). "
    "Nothing was sent."
)
_NOT_OPEN = (
    "The connection of a $connect event opens when its handler has returned; until then API "
    "Gateway knows nobody to write to. Nothing was sent: write when the first message comes."
)
_BINARY = (
    "These bytes are no UTF-8, and API Gateway sends text alone. Nothing was sent: encode them, "
    "for example as Base64; a text that is cut into bytes has to be cut between characters."
)
