"""A server of plain connections, each on a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading


class ConnectionServer:
    """Listens on 127.0.0.1 from the start; whoever derives from it says what `serve` does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def serve(self, connected: socket.socket) -> None:
        """Answer on a connection until it ends."""
        raise NotImplementedError

    def stop(self) -> None:
        """End every connection, and wait for the threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connected in self._open:
            with contextlib.suppress(OSError):  # It is closed already.
                connected.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connected)
            self._threads.append(threading.Thread(target=self.serve, args=(connected,)))
            self._threads[-1].start()
