"""A small HTTP server on a free loopback port: one thread a connection, one handler for all."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from lambda_runtime_api import http1

if TYPE_CHECKING:
    from collections.abc import Callable

_PORTS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, which could take one meanwhile."""

_next_port = itertools.count(os.getpid() * 97)  # processes side by side begin apart

PROMISED_MAX = 48
"""Ports that were given out last, and that no other process is given; each is an open file."""

_promises: list[int] = []


HEAD_MAX_BYTES = 1_048_576
"""As AWS's emulator (Go's net/http): the runtime puts an error's whole trace into a header."""


class Answer(NamedTuple):
    """A response to send."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Server:
    """Listens from its construction until `close`."""

    def __init__(self, handle: Callable[[http1.Request, bytes], Answer | None]) -> None:
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
            request, body = http1.receive(reader, connection.recv)
        except http1.ConnectionEndedError:
            return False
        except http1.ProtocolError as error:
            text = str(error).encode()
            connection.sendall(http1.encode_response(error.status, [("connection", "close")], text))
            return False
        assert isinstance(request, http1.Request)  # noqa: S101 - a server's reader makes no other
        answer = self._handle(request, body)
        if answer is None:
            return False
        connection.sendall(http1.encode_response(answer.status, answer.headers, answer.body))
        return request.keep_alive


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
