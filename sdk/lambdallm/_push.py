"""Messages for the client of a WebSocket, while the handler still runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._websocket import Connections
    from lambdallm._work import Work


class Pushes:
    """The part of a context that writes to clients of API Gateway's WebSocket APIs."""

    work: Work
    original_event: Any
    _connections: Connections | None = None

    def push(self, data: Any, connection_id: str | None = None) -> bool:
        """Send a message to a client, and wait until API Gateway has taken it.

            for piece in context.stream(event["body"]):
                if not context.push(piece):
                    break  # nobody is there any more

        Messages of one connection arrive in the order in which they were sent.

        Args:
            data: A text, UTF-8 as bytes, or a dict or list, which is sent as JSON; 128 KB at most.
                Of an empty one nothing is sent.
            connection_id: By default the one that this event came by. Take no id from a message:
                whoever wrote that would write to somebody else.

        Returns:
            Whether the client is there. Where it is gone, it is asked no more.

        Raises:
            InvalidRequestError: The message cannot be sent, or there is no such connection yet:
                the one of a `$connect` event opens when its handler has returned.
            ConfigurationError: The permission `execute-api:ManageConnections`, the address
                (LAMBDALLM_CONNECTIONS_ENDPOINT), or a newer layer is missing.
            RateLimitedError: API Gateway was asked again until it made no sense any more.
            SidecarError: The message was not taken, or nobody knows whether it was.
            TypeError: `data` is something else.
        """
        return self.connections.write(data, connection_id)

    async def apush(self, data: Any, connection_id: str | None = None) -> bool:
        """Do as `push`, while other coroutines run; in the order in which they begin."""
        return await self.connections.awrite(data, connection_id)

    @property
    def connections(self) -> Connections:
        """Who is connected, in groups that many are written to at once."""
        if self._connections is None:
            from lambdallm._websocket import Connections

            self._connections = Connections(self)
        return self._connections
