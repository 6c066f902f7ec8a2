"""The network between an environment and a server: a TCP relay that breaks as networks do.

environment ──► relay ──► server
├ cut       every connection is reset
├ swallow   what is sent vanishes, and nobody is told (a NAT that forgot)
└ delay     each reply comes later
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

_READ_BYTES = 65_536
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time at all: closing sends a reset."""


class Relay:
    """Forwards connections to a server, from its construction until `close`."""

    def __init__(self, url: str) -> None:
        """Listen on a free loopback port.

        Args:
            url: Of the server, such as `http://127.0.0.1:8000`.
        """
        parts = urlsplit(url)
        self._scheme = parts.scheme
        self._server = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.delay_seconds = 0.0
        """Of every answer, which the server has given by then."""
        self.request_delay_seconds = 0.0
        """Of every request, which the server does not know of yet."""
        self.connections = 0
        self._refusing = False
        self._lock = threading.Lock()
        self._open: list[_Pair] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, name="relay-accept", daemon=True).start()

    def __enter__(self) -> Relay:
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
        """Where the server is reached through it."""
        host, port = self._listener.getsockname()
        return f"{self._scheme}://{host}:{port}"

    def cut(self) -> None:
        """Reset every connection there is; new ones work."""
        for pair in self._take():
            pair.cut()

    def swallow(self) -> None:
        """Let what is sent on the present connections vanish; new ones work."""
        with self._lock:
            for pair in self._open:
                pair.swallowing = True

    def refuse(self, *, refuse: bool = True) -> None:
        """Reset every connection and each new one, until it is told otherwise."""
        self._refusing = refuse
        if refuse:
            self.cut()

    def close(self) -> None:
        """Stop listening and end every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def forget(self, pair: _Pair) -> None:
        """A connection has ended by itself."""
        with self._lock:
            if pair in self._open:
                self._open.remove(pair)

    def _take(self) -> list[_Pair]:
        with self._lock:
            pairs = self._open
            self._open = []
        return pairs

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            if self._refusing:
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._server)
            except OSError:
                _reset(client)
                continue
            pair = _Pair(self, client, server)
            with self._lock:
                self.connections += 1
                self._open.append(pair)
            pair.start()


class _Pair:
    """One connection, in two halves."""

    def __init__(self, relay: Relay, client: socket.socket, server: socket.socket) -> None:
        self._relay = relay
        self._client = client
        self._server = server
        self.swallowing = False
        self._halves = [True, True]
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for source, target, reply in (
            (self._client, self._server, False),
            (self._server, self._client, True),
        ):
            threading.Thread(target=self._pump, args=(source, target, reply), daemon=True).start()

    def cut(self) -> None:
        self.swallowing = True  # no half says goodbye to the other any more
        for end in (self._client, self._server):
            _reset(end)

    def _pump(self, source: socket.socket, target: socket.socket, reply: bool) -> None:
        try:
            while data := source.recv(_READ_BYTES):
                relay = self._relay
                delay = relay.delay_seconds if reply else relay.request_delay_seconds
                if delay:
                    time.sleep(delay)
                if not self.swallowing:
                    target.sendall(data)
            if not self.swallowing:
                target.shutdown(socket.SHUT_WR)
        except OSError:
            if not self.swallowing:
                self.cut()  # an end was reset: the other one is, too
        self._halves[reply] = False
        if not any(self._halves):
            self._relay.forget(self)
            self._client.close()
            self._server.close()


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
    connection.close()
