"""A peer on a socket that says exactly what a test wants it to say."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from lambda_runtime_api import http1

if TYPE_CHECKING:
    from collections.abc import Iterator


class Peer:
    """Answers requests one after the other with prepared bytes; None closes the connection."""

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[tuple[http1.Request, bytes]] = []
        self.connections = 0
        self.gate = threading.Event()
        self.gate.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._listener.getsockname())

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection:
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        reader = http1.Reader(requests=True)
        with contextlib.suppress(http1.ConnectionEndedError):
            while True:
                request, body = http1.receive(reader, connection.recv)
                assert isinstance(request, http1.Request)
                self.requests.append((request, body))
                self.gate.wait(10)
                answer = self.answers.pop(0)
                if answer is None:
                    return
                connection.sendall(answer)
                if b"\r\n\r\n" not in answer or b"bye" in answer:
                    return


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()
