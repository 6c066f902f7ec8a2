"""A small HTTP server on a free loopback port: one thread a connection, one handler for all.

Bodies come and go whole or piece by piece: a handler may answer while a request is on its way, and
send what it has while it makes the rest.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from lambda_runtime_api import http1
from lambda_runtime_api.emulator.departures import Departure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PORTS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, which could take one meanwhile."""

_next_port = itertools.count(os.getpid() * 97)  # processes side by side begin apart

PROMISED_MAX = 48
"""Ports that were given out last, and that no other process is given; each is an open file."""

_promises: list[int] = []


HEAD_MAX_BYTES = 1_048_576
"""As AWS's emulator (Go's net/http): the runtime puts an error's whole trace into a header."""


LINGERING_SECONDS = 0.5
"""How long a client that was answered before its request ended may read that. As Go's net/http."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_RESET = struct.pack("ii", 1, 0)
"""`SO_LINGER` that makes a `close` tell the peer at once, and that something is wrong."""


class CutOffError(Exception):
    """A response cannot be sent to its end: its connection is closed in the middle."""


class Pieces(NamedTuple):
    """A body that is sent as it comes."""

    pieces: Iterator[bytes]
    """May raise `CutOffError`."""
    gone: Callable[[], None]
    """Called as soon as the client has gone; from any thread, perhaps without need."""


class Answer(NamedTuple):
    """A response to send."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | Pieces


class Body:
    """The body of a request, on its way."""

    def __init__(
        self, connection: socket.socket, reader: http1.Reader, *, awaited: bool = False
    ) -> None:
        """Read nothing yet.

        Args:
            connection: Of the client.
            reader: Which has read the head.
            awaited: The client waits for `100 Continue` before it sends anything.
        """
        self._connection = connection
        self._reader = reader
        self._awaited = awaited
        self.complete = False
        self.aborted = False

    def __iter__(self) -> Iterator[bytes]:
        """Return pieces as they come; nothing is read before it is asked for.

        Raises:
            ConnectionEndedError: The client closed in the middle.
            ProtocolError: The body's framing is broken.
            OSError: The connection broke.
        """
        while not self.complete:
            piece = self._reader.read_arrived()
            if self.aborted:  # what had come before stays readable
                raise ConnectionAbortedError
            if piece is None:
                self._receive()
            elif piece:
                yield piece
            else:
                self.complete = True

    def read(self) -> bytes:
        """Return the whole.

        Raises:
            ConnectionEndedError: The client closed in the middle.
            ProtocolError: The body is longer than allowed, or its framing is broken.
            OSError: The connection broke.
        """
        while (body := self._reader.read_body()) is None:
            self._receive()
        self.complete = True
        return body

    def _receive(self) -> None:
        if self._awaited:
            self._awaited = False
            self._connection.sendall(_CONTINUE)
        self._reader.feed(self._connection.recv(http1.RECEIVE_BYTES))

    @property
    def trailers(self) -> http1.Headers:
        """What stood behind the last chunk; their names are lower case."""
        return self._reader.trailers

    def abort(self) -> None:
        """Break the connection, unless all has come; for any thread."""
        if self.complete:
            return
        self.aborted = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class Server:
    """Listens from its construction until `close`."""

    def __init__(self, handle: Callable[[http1.Request, Body], Answer | None]) -> None:
        """Listen.

        Args:
            handle: Answers a request, in the connection's own thread; it may wait as long as it
                likes. None closes the connection without an answer.
        """
        self._handle = handle
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, name="emulator-api", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """Stop listening and close every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread on Linux
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            with self._lock:
                self._connections.add(connection)
            threading.Thread(
                target=self._serve, args=(connection,), name="emulator-connection", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = http1.Reader(requests=True, head_max_bytes=HEAD_MAX_BYTES)
        try:
            with connection, contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while self._serve_one(connection, reader):
                    pass
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _serve_one(self, connection: socket.socket, reader: http1.Reader) -> bool:
        """Answer one request; return whether another may follow."""
        try:
            while (request := reader.read_head()) is None:
                reader.feed(connection.recv(http1.RECEIVE_BYTES))
            assert isinstance(request, http1.Request)  # noqa: S101 - a server's reader makes no other
            awaited = request.header("expect").lower() == "100-continue"
            body = Body(connection, reader, awaited=awaited)
            answer = self._handle(request, body)
        except http1.ConnectionEndedError:
            return False
        except http1.ProtocolError as error:
            text = str(error).encode()
            connection.sendall(http1.encode_response(error.status, [("connection", "close")], text))
            return False
        if body.aborted:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if answer is None or body.aborted:
            return False
        if not body.complete:
            _send(connection, request, answer._replace(headers=[*answer.headers, _CLOSE]))
            _linger(connection)
            return False
        if not _send(connection, request, answer):
            return False
        reader.next_message()
        return request.keep_alive


_CLOSE = ("connection", "close")


def _send(connection: socket.socket, request: http1.Request, answer: Answer) -> bool:
    """Send a response; return whether it was sent to its end."""
    if isinstance(answer.body, bytes):
        body = b"" if request.method == "HEAD" else answer.body
        connection.sendall(http1.encode_response(answer.status, answer.headers, body))
        return True
    pieces, gone = answer.body
    headers = [*answer.headers, ("transfer-encoding", "chunked")]
    with Departure(connection, gone):
        connection.sendall(http1.encode_response(answer.status, headers, None))
        try:
            for piece in pieces:
                connection.sendall(http1.encode_chunk(piece))
        except CutOffError:
            return False
        connection.sendall(http1.encode_last_chunk())
    return True


def _linger(connection: socket.socket) -> None:
    """Let the client read an answer that it got while it was still sending."""
    connection.shutdown(socket.SHUT_WR)
    until = time.monotonic() + LINGERING_SECONDS
    while (left := until - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(http1.RECEIVE_BYTES):
            return


def free_port() -> int:
    """Find a port that nobody listens on, another one each time, for somebody else to listen on.

    No other process of this user is given it meanwhile: until it is listened on, nobody could see
    that it is taken.
    """
    while True:
        port = _PORTS[next(_next_port) % len(_PORTS)]
        with socket.socket() as probe:
            if _promise(port) and probe.connect_ex(("127.0.0.1", port)):
                return port


def _promise(port: int) -> bool:
    """Keep a port from other processes until `PROMISED_MAX` more are asked for; False: it is kept.

    By a name without a file, of which there is one on a machine, and none when its process ends.
    """
    if not sys.platform.startswith("linux"):  # where there are no such names
        return True
    promise = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        promise.bind(f"\0lambdallm-port-{port}")
    except OSError:
        promise.close()
        return False
    _promises.append(promise.detach())  # which nobody closes before the process ends
    if len(_promises) > PROMISED_MAX:
        os.close(_promises.pop(0))
    return True
