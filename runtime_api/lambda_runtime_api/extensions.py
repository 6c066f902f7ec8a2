"""A client of the Extensions API, for the seconds in which nothing else is loaded yet.

Lambda starts the function's runtime only when every extension has registered, so whatever this
module imports is paid by the user before the function even boots. It needs a bare `_socket` and
`http1`; `json` comes with the first event, when the runtime is already running beside us.

    register() ──► 200, identifier ──► next_event() ──► INVOKE | SHUTDOWN ──► next_event() ──► …

Source: Lambda developer guide, "Using the Lambda Extensions API", 2026-10.
"""

from __future__ import annotations

import _socket

from lambda_runtime_api import http1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

API_PREFIX = "/2020-01-01/extension"

REGISTER_TIMEOUT_SECONDS = 10.0
"""The whole Init phase lasts 10 s; a register call that takes longer has failed anyhow.

Source: Lambda developer guide, "Execution environment lifecycle", 2026-10.
"""

SUBSCRIBE_TIMEOUT_SECONDS = 0.5
"""A subscription is never worth a start that waits for it; the answer takes a millisecond."""

_OK = 200


class ApiRefusedError(Exception):
    """The Runtime API answered, and the answer was no (or no event at all).

    Attributes:
        status: The HTTP status; 200 for an answer that makes no sense.
        error_type: Lambda's own word, such as `Extension.InvalidEventType`.
        message: What Lambda said about it.
    """

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(f"{status} {error_type}: {message}")
        self.status = status
        self.error_type = error_type
        self.message = message


class ExtensionClient:
    """One extension's conversation with the Runtime API, over one kept connection.

    Not for several threads at once: `register`, then `next_event` in a loop, from any one thread.
    """

    def __init__(
        self,
        address: str,
        identifier: str = "",
        *,
        loads: Callable[[bytes], object] | None = None,
    ) -> None:
        """Remember where the API is; nothing is sent.

        Args:
            address: `AWS_LAMBDA_RUNTIME_API`, a host and a port.
            identifier: Where somebody else has registered already: what came of it.
            loads: Reads JSON, and raises ValueError where it is none; `json`'s, loaded at the
                first event, if None.
        """
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._host_header = ("host", address)
        self._identifier = identifier
        self._loads = loads or _loads
        self._socket: _socket.socket | None = None
        self._reader = http1.Reader(requests=False)

    @property
    def identifier(self) -> str:
        """What Lambda calls this extension; empty before `register`."""
        return self._identifier

    @property
    def api_port(self) -> int:
        """Where the API listens: 9001 on Lambda."""
        return self._address[1]

    def register(self, name: str, events: Sequence[str]) -> bytes:
        """Register the extension and keep its identifier.

        Args:
            name: The file's name in `/opt/extensions`. Any other name silently registers an
                *internal* extension, which may not ask for SHUTDOWN.
            events: `INVOKE`, `SHUTDOWN`, both or neither.

        Returns:
            The answer's body as it came; `events.parse_registration` reads it, in its own time.

        Raises:
            ApiRefusedError: Lambda refused; Managed Instances do so when INVOKE is asked for.
            OSError: Nobody listens there, or nobody answers.
        """
        wanted = ",".join(f'"{event}"' for event in events)
        headers = [
            ("lambda-extension-name", name),
            ("lambda-extension-accept-feature", "accountId"),
            ("content-type", "application/json"),
        ]
        request = self._encode("POST", "/register", headers, f'{{"events":[{wanted}]}}'.encode())
        response, body = self._exchange(request, REGISTER_TIMEOUT_SECONDS)
        identifier = response.header("lambda-extension-identifier")
        if response.status != _OK:
            raise _refusal(response.status, body, self._loads)
        if not identifier:
            raise ApiRefusedError(_OK, "MissingIdentifier", "Registered without an identifier.")
        self._identifier = identifier
        return body

    def subscribe(self, path: str, subscription: bytes) -> None:
        """Ask to be told of telemetry, which is possible before the first `next_event` alone.

        Args:
            path: Of the API.
            subscription: See `lambda_runtime_api.telemetry`.

        Raises:
            ApiRefusedError: Lambda refused; 202 where there is no such API.
            OSError, http1.ProtocolError: Nobody knows.
        """
        headers = [
            self._host_header,
            ("lambda-extension-identifier", self._identifier),
            ("content-type", "application/json"),
        ]
        request = http1.encode_request("PUT", path, headers, subscription)
        response, body = self._exchange(request, SUBSCRIBE_TIMEOUT_SECONDS)
        if response.status != _OK:
            raise _refusal(response.status, body, self._loads)

    def next_event(self) -> dict[str, Any]:
        """Tell Lambda that this extension is ready, and wait for what comes next.

        There is no timeout: the environment may be frozen for hours inside this call. The
        `Content-Type` says nothing (AWS's own emulator sends `text/plain`), the body does.

        Raises:
            ApiRefusedError: Lambda refused (403: it no longer knows us; 500: leave soon), or
                answered something that is not an event. Wait before asking again.
            OSError: The API is gone; so is the environment.
            http1.ProtocolError: The connection ended inside an event, which is then lost.
        """
        return self.read_event(self.next_body())

    def next_body(self) -> bytes:
        """Do the same, and return the event as it came; `read_event` reads it, in its own time.

        Raises:
            ApiRefusedError, OSError, http1.ProtocolError: As `next_event`.
        """
        headers = [("lambda-extension-identifier", self._identifier)]
        response, body = self._exchange(self._encode("GET", "/event/next", headers), None)
        if response.status != _OK:
            raise _refusal(response.status, body, self._loads)
        return body

    def read_event(self, body: bytes) -> dict[str, Any]:
        """Read an event as it came.

        Raises:
            ApiRefusedError: It is none.
        """
        event = _json_object(body, self._loads)
        if not isinstance(event.get("eventType"), str):
            raise ApiRefusedError(_OK, "NotAnEvent", "An answer without an eventType.")
        return event

    def close(self) -> None:
        """Close the connection; a later call opens another one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _encode(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes | None = None
    ) -> bytes:
        return http1.encode_request(method, API_PREFIX + path, [self._host_header, *headers], body)

    def _exchange(
        self, request: bytes, timeout_seconds: float | None
    ) -> tuple[http1.Response, bytes]:
        """Send and receive. A kept connection that died since the last answer is replaced once."""
        if self._socket is not None:
            try:
                return self._exchange_once(self._socket, request, timeout_seconds)
            except http1.ConnectionEndedError as error:
                self.close()
                if not error.clean:
                    raise
            except (BrokenPipeError, ConnectionResetError):
                self.close()
        return self._exchange_once(self._connect(), request, timeout_seconds)

    def _exchange_once(
        self, connection: _socket.socket, request: bytes, timeout_seconds: float | None
    ) -> tuple[http1.Response, bytes]:
        try:
            connection.settimeout(timeout_seconds)
            connection.sendall(request)
            message, body = http1.receive(self._reader, connection.recv)
        except BaseException:
            self.close()
            raise
        assert isinstance(message, http1.Response)  # noqa: S101 - a client's reader makes no other
        if not message.keep_alive:
            self.close()
        return message, body

    def _connect(self) -> _socket.socket:
        connection = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        try:
            connection.connect(self._address)
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError:
            connection.close()
            raise
        self._socket = connection
        self._reader = http1.Reader(requests=False)
        return connection


def _refusal(status: int, body: bytes, loads: Callable[[bytes], object]) -> ApiRefusedError:
    try:
        problem = _json_object(body, loads)
    except ApiRefusedError:
        problem = {}
    return ApiRefusedError(
        status, str(problem.get("errorType", "")), str(problem.get("errorMessage", ""))
    )


def _loads(body: bytes) -> object:
    import json

    return json.loads(body)


def _json_object(body: bytes, loads: Callable[[bytes], object]) -> dict[str, Any]:
    try:
        value = loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ApiRefusedError(_OK, "NotAnEvent", "An answer that is not a JSON object.")
    return value
