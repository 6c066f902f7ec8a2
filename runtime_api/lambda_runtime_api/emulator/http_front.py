"""An HTTP server in front of an environment: what a Function URL and a REST API have in common.

client ─request─► event ─► Environment.invoke_stream ─► status, headers ─► body, as it comes
an error before the head ─► 502
an error behind it       ─► the connection is cut
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lambda_runtime_api.emulator.http_answers import Head, MalformedError
from lambda_runtime_api.emulator.server import Answer, CutOffError, Pieces, Server
from lambda_runtime_api.emulator.streams import PAYLOAD_MAX_BYTES
from lambda_runtime_api.heads import BODILESS_STATUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from lambda_runtime_api.emulator.environment import Environment
    from lambda_runtime_api.emulator.server import Body
    from lambda_runtime_api.emulator.streams import Invocation, InvocationStream
    from lambda_runtime_api.http1 import Request

HTTP_OK = 200


class Rules:
    """What differs between the services."""

    def event(self, request: Request, body: bytes, request_id: str) -> dict[str, Any]:
        """Make the function's event."""
        raise NotImplementedError  # each service has its own

    def preflight(self, request: Request) -> Answer | None:
        """Answer what the function is not asked for."""
        raise NotImplementedError  # each service has its own

    def read(self, result: Invocation) -> tuple[Head, bytes]:
        """Read a whole answer.

        Raises:
            MalformedError: It cannot be sent on.
        """
        raise NotImplementedError  # each service has its own

    def begin(self, stream: InvocationStream) -> tuple[Head, bytes]:
        """Read the beginning of a streamed answer: its head, and what has come behind that.

        Raises:
            MalformedError: It cannot be sent on.
        """
        raise NotImplementedError  # each service has its own

    def added(self, request: Request) -> list[tuple[str, str]]:
        """Return headers that are sent in the place of the function's."""
        raise NotImplementedError  # each service has its own

    failed: bytes
    """The body of a 502."""


class HttpFront:
    """The server; a context manager. Whoever waits for the environment, waits here."""

    def __init__(
        self, environment: Environment, rules: Rules, *, streams: bool, interrupts: bool
    ) -> None:
        """Listen.

        Args:
            environment: Invoked for each request, from the connection's thread.
            rules: The service's.
            streams: Send the answer while it comes.
            interrupts: Break the runtime's connection when the client has gone; Lambda reads on.
        """
        self._environment = environment
        self._rules = rules
        self._streams = streams
        self._interrupts = interrupts
        self._server = Server(self._handle)

    def __enter__(self) -> HttpFront:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at its end."""
        return f"http://{self._server.address}"

    def close(self) -> None:
        """Stop listening and close every connection."""
        self._server.close()

    def _handle(self, request: Request, body: Body) -> Answer:
        whole = body.read()
        answer = self._rules.preflight(request) or self._invoke(request, whole)
        added = self._rules.added(request)
        names = [name for name, _ in added]
        kept = [header for header in answer.headers if header[0].lower() not in names]
        return answer._replace(headers=[*kept, *added])

    def _invoke(self, request: Request, body: bytes) -> Answer:
        request_id = str(uuid4())
        event = json.dumps(self._rules.event(request, body, request_id)).encode()
        if len(event) > PAYLOAD_MAX_BYTES:
            message = f"Request must be smaller than {PAYLOAD_MAX_BYTES} bytes"
            return Answer(413, [_JSON], json.dumps({"Message": message}).encode())
        identified = ("x-amzn-requestid", request_id)
        try:
            head, sent = self._stream(event) if self._streams else self._whole(event)
        except MalformedError:
            return Answer(502, [_JSON, identified], self._rules.failed)
        bodiless = request.method == "HEAD" or head.status in BODILESS_STATUS
        if bodiless and isinstance(sent, Pieces):
            sent.gone()
            sent = b""
        return Answer(head.status, [*head.headers, identified], sent)

    def _whole(self, event: bytes) -> tuple[Head, bytes]:
        result = self._environment.invoke(event)
        if result.error_type is not None:
            raise MalformedError(result.error_type)
        return self._rules.read(result)

    def _stream(self, event: bytes) -> tuple[Head, Pieces]:
        stream = self._environment.invoke_stream(event)
        try:
            head, begun = self._rules.begin(stream)
        except BaseException:  # whatever it is: nobody reads on
            stream.close(interrupt=self._interrupts)
            raise
        return head, Pieces(_pieces(begun, stream), self._gone(stream))

    def _gone(self, stream: InvocationStream) -> Callable[[], None]:
        return lambda: stream.close(interrupt=self._interrupts)


_JSON = ("content-type", "application/json")


def _pieces(begun: bytes, stream: InvocationStream) -> Iterator[bytes]:
    if begun:
        yield begun
    yield from stream
    if stream.closed or stream.error is not None:
        raise CutOffError
