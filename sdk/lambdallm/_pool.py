"""The connections of one process to one sidecar: which are open, and which are free for a call."""

from __future__ import annotations

from _thread import allocate_lock

from lambdallm import _errors
from lambdallm._connection import Connection, Unsent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

IDLE_CONNECTIONS_MAX = 8
"""Connections kept for the next call; more are opened as needed and closed after use."""

CALLS_MAX = 64
"""Calls under way at once; more wait for one to end. The sidecar asks one API as many at once."""


class Pool:
    """Connections to one port. Threads share it."""

    def __init__(self, port: int) -> None:
        """Open nothing yet."""
        self._port = port
        self._lock = allocate_lock()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._calls = 0
        self._waiting: list[Any] = []
        self._closed = False
        self.pid = 0
        """The sidecar's process, 0 while nobody knows."""

    def connect(self) -> Connection:
        """Open one more.

        Raises:
            Unsent: Nobody listens.
        """
        try:
            connection = Connection(self._port, self.pid)
        except OSError as error:
            raise Unsent from error
        self._open.add(connection)
        return connection

    def begin_call(self, seconds: float) -> None:
        """Wait until one more call may be under way; `end_call` must follow.

        Raises:
            SidecarError: There was no place in time; nothing was sent.
        """
        with self._lock:
            if self._calls < CALLS_MAX:
                self._calls += 1
                return
            turn = allocate_lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=max(0.0, seconds)):
            return
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                message = (
                    f"{CALLS_MAX} calls were under way for {seconds:.1f} s; this one was not made."
                )
                raise _errors.SidecarError(message, retryable=True)
        # It was handed over between the two: the place is ours.

    def end_call(self) -> None:
        """Let the next one in."""
        with self._lock:
            if self._waiting:
                self._waiting.pop(0).release()
            else:
                self._calls -= 1

    def take(self) -> Connection:
        """Return one that is free and has not ended, or a new one.

        Raises:
            Unsent: Nobody listens.
        """
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self.connect()
            if not connection.is_stale():
                return connection
            self.discard(connection)

    def give_back(self, connection: Connection) -> None:
        """Keep one whose reply was read to its end."""
        if connection.reusable:
            with self._lock:
                if len(self._idle) < IDLE_CONNECTIONS_MAX and not self._closed:
                    self._idle.append(connection)
                    return
        self.discard(connection)

    def forget(self, connection: Connection) -> None:
        """Let somebody else close it."""
        self._open.discard(connection)

    def discard(self, connection: Connection) -> None:
        """Close one."""
        self.forget(connection)
        connection.close()

    def close(self) -> None:
        """Close those that are free, and the others when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            self.discard(connection)

    def abandon(self) -> None:
        """Close all of them, in use or not, and tell nobody."""
        for connection in self._open:
            connection.close()
