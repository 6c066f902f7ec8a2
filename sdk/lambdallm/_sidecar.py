"""The way to the sidecar: HTTP/1.1 over TCP on 127.0.0.1, with connections kept open.

One control connection carries `begin` and `end`: its end tells the sidecar that this process
has died. Calls use a small pool beside it. A call that was sent is never sent again.

    token file ──► connect ──► health, 50 ms ──► the sidecar serves this process
       none          refused       silent ─────► SidecarAbsentError: the embedded engine does
"""

from __future__ import annotations

import os
from _socket import (  # the C module alone: `socket` costs 4 ms more to import
    AF_INET,
    IPPROTO_TCP,
    MSG_PEEK,
    SOCK_STREAM,
    TCP_NODELAY,
    socket,
)
from _thread import allocate_lock

from lambda_runtime_api import http1
from lambdallm import _errors, _settings
from lambdallm_wire import codec, names, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._settings import Settings

CONNECT_SECONDS = 0.05
"""A connection on the same machine takes microseconds; more than this is no sidecar."""

PROBE_SLICES = 5
PROBE_SLICE_SECONDS = 0.01
"""A sidecar that says nothing for five slices of 10 ms is hung.

Slices, because a small function's processes are throttled together (7 % of a CPU at 128 MB, in
periods of 100 ms): a single wait of 50 ms would expire while nobody was allowed to run.
"""

IDLE_CONNECTIONS_MAX = 8
"""Connections kept for the next call; more are opened as needed and closed after use."""

_TOKEN_FILE_MAX_BYTES = 512
_PORT_MAX = 65_535
_ENDED = "The connection to the sidecar has ended."
_FULL = "The sidecar takes no more connections."


class SidecarAbsentError(Exception):
    """No sidecar serves this process; the message says how that was seen.

    `silent` is one that took the connection and said nothing: it may still be starting.
    """

    def __init__(self, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


class SidecarTransport:
    """Requests to a sidecar that has answered once. Belongs to the process that made it."""

    def __init__(self, port: int, token: str) -> None:
        """Keep the address; nothing is opened yet."""
        self._port = port
        self._head = [
            ("host", f"{names.HOST}:{port}"),
            (names.TOKEN_HEADER, token),
            (names.WIRE_HEADER, str(names.WIRE_VERSION)),
            ("content-type", "application/json"),
        ]
        self._control: _Connection | None = None
        self._control_lock = allocate_lock()
        self._idle: list[_Connection] = []
        self._idle_lock = allocate_lock()
        self._open: set[_Connection] = set()
        self.broken = False

    @classmethod
    def find(cls, settings: Settings) -> SidecarTransport:
        """Find the sidecar and make sure that it serves.

        Raises:
            SidecarAbsentError: There is none, or it does not answer.
        """
        port, token = read_token(settings.directory)
        transport = cls(port, token)
        transport._probe()
        return transport

    def request(
        self,
        route: routes.Route,
        message: Any,
        *,
        control: bool = False,
        timeout_seconds: float,
    ) -> dict[str, Any]:
        """Send one message and return the reply.

        Args:
            route: Where to.
            message: The route's request, None for a route without one.
            control: Whether it travels on the control connection.
            timeout_seconds: For the whole exchange.

        Raises:
            LambdaLLMError: What the sidecar answered, rebuilt.
            SidecarError: The connection ended, or no reply came in time. It may have happened.
        """
        data = self._encode(route, message)
        if control:
            with self._control_lock:
                status, body = self._control_exchange(route, data, timeout_seconds)
        else:
            status, body = self._pooled_exchange(route, data, timeout_seconds)
        return decode_reply(status, body)

    @property
    def usable(self) -> bool:
        """Whether nothing has shown yet that the sidecar is gone."""
        if self.broken:
            return False
        with self._control_lock:
            if self._control is None or self._control.is_stale():
                self.broken = True
        return not self.broken

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.broken = True
        control, self._control = self._control, None
        idle, self._idle = self._idle, []
        for connection in (control, *idle):
            if connection is not None:
                self._discard(connection)

    def abandon(self) -> None:
        """In a forked child: close the parent's sockets, which the parent does not notice.

        Were they left open here, the sidecar would not see the parent's death.
        """
        self.broken = True
        for connection in self._open:
            connection.close()

    def _connect(self) -> _Connection:
        connection = _Connection(self._port)
        self._open.add(connection)
        return connection

    def _discard(self, connection: _Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def _encode(self, route: routes.Route, message: Any) -> bytes:
        body = None if message is None else codec.encode(message)
        return http1.encode_request(route.method, route.path, self._head, body)

    def _probe(self) -> None:
        """Ask for its health on what becomes the control connection."""
        try:
            self._control = self._connect()
            self._control.send(self._encode(routes.HEALTH, None), CONNECT_SECONDS)
            status, body = self._control.receive_in_slices(PROBE_SLICES, PROBE_SLICE_SECONDS)
            decode_reply(status, body)["sidecar_version"]
        except (OSError, ValueError, KeyError, _errors.LambdaLLMError) as error:
            self.close()
            raise _absent(error) from error

    def _control_exchange(
        self, route: routes.Route, data: bytes, timeout_seconds: float
    ) -> tuple[int, bytes]:
        if self._control is None:
            raise _gone(_ENDED)
        try:
            return self._control.exchange(route.method, data, timeout_seconds)
        except (OSError, http1.ProtocolError) as error:
            self.close()
            raise _gone(_why(error, timeout_seconds)) from error

    def _pooled_exchange(
        self, route: routes.Route, data: bytes, timeout_seconds: float
    ) -> tuple[int, bytes]:
        connection = self._take()
        try:
            reply = connection.exchange(route.method, data, timeout_seconds)
        except (OSError, http1.ProtocolError) as error:
            self._discard(connection)
            raise _gone(_why(error, timeout_seconds)) from error
        self._give_back(connection)
        return reply

    def _take(self) -> _Connection:
        while True:
            with self._idle_lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                break
            if not connection.is_stale():
                return connection
            self._discard(connection)
        try:
            return self._connect()
        except OSError as error:
            self.broken = True
            raise _gone(_FULL) from error

    def _give_back(self, connection: _Connection) -> None:
        if connection.reusable:
            with self._idle_lock:
                if len(self._idle) < IDLE_CONNECTIONS_MAX and not self.broken:
                    self._idle.append(connection)
                    return
        self._discard(connection)


class _Connection:
    """One TCP connection and the reader of its replies."""

    def __init__(self, port: int) -> None:
        self._socket = socket(AF_INET, SOCK_STREAM)
        try:
            self._socket.settimeout(CONNECT_SECONDS)
            self._socket.connect((names.HOST, port))
            self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except BaseException:
            self._socket.close()
            raise
        self._reader = http1.Reader(requests=False)
        self.reusable = True

    def exchange(self, method: str, data: bytes, timeout_seconds: float) -> tuple[int, bytes]:
        until = _settings.monotonic() + timeout_seconds
        self._reader.expect(method)
        self.send(data, timeout_seconds)
        head, body = http1.receive(self._reader, lambda size: self._receive(size, until))
        self.reusable = head.keep_alive
        return head.status, body  # type: ignore[union-attr]  # a client's reader reads responses

    def send(self, data: bytes, timeout_seconds: float) -> None:
        self._socket.settimeout(max(0.001, timeout_seconds))
        self._socket.sendall(data)

    def receive_in_slices(self, slices: int, slice_seconds: float) -> tuple[int, bytes]:
        left = slices

        def receive(size: int) -> bytes:
            nonlocal left
            while True:
                self._socket.settimeout(slice_seconds)
                try:
                    return self._socket.recv(size)
                except TimeoutError:
                    left -= 1
                    if left <= 0:
                        raise

        self._reader.expect("GET")
        head, body = http1.receive(self._reader, receive)
        return head.status, body  # type: ignore[union-attr]  # a client's reader reads responses

    def is_stale(self) -> bool:
        """Say whether the peer has closed, or said something that nobody asked for."""
        self._socket.settimeout(0)  # MSG_DONTWAIT would not do: a timeout waits before `recv`
        try:
            self._socket.recv(1, MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        self._socket.close()

    def _receive(self, size: int, until: float) -> bytes:
        left = until - _settings.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket.recv(size)


def read_token(directory: str) -> tuple[int, str]:
    """Read the port and the token that the sidecar left.

    Raises:
        SidecarAbsentError: There is no such file, or somebody else could have written or read it.
    """
    path = f"{directory}/{names.TOKEN_FILE}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        reason = f"no token in {path}: {error.strerror}"
        raise SidecarAbsentError(reason) from error
    try:
        status = os.fstat(descriptor)
        data = os.read(descriptor, _TOKEN_FILE_MAX_BYTES)
    finally:
        os.close(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        reason = f"{path} belongs to somebody else or is open to others"
        raise SidecarAbsentError(reason)
    port, _, token = data.decode("ascii", "replace").strip().partition(" ")
    if not (port.isdigit() and 0 < int(port) <= _PORT_MAX and token.isalnum()):
        reason = f"{path} does not hold a port and a token"
        raise SidecarAbsentError(reason)
    return int(port), token


def decode_reply(status: int, body: bytes) -> dict[str, Any]:
    """Return a successful reply's message.

    Raises:
        LambdaLLMError: The problem that it carries otherwise, rebuilt.
    """
    message = codec.decode(body)
    if status >= 300:  # noqa: PLR2004 - HTTP's successes end there
        raise _errors.from_problem(message)
    return message


def _absent(error: Exception) -> SidecarAbsentError:
    if isinstance(error, TimeoutError):
        return SidecarAbsentError("it takes connections but does not answer", silent=True)
    if isinstance(error, OSError):
        return SidecarAbsentError(f"connecting failed: {error.strerror}")
    if isinstance(error, _errors.LambdaLLMError):
        return SidecarAbsentError(error.detail)
    return SidecarAbsentError("something else listens there")


def _gone(message: str) -> _errors.SidecarError:
    return _errors.SidecarError(f"{message} The call may have happened.", retryable=True)


def _why(error: Exception, timeout_seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"The sidecar did not answer within {timeout_seconds:.1f} s."
    return "The connection to the sidecar ended before it answered."
