"""Connections that wait for their next use: bounded, last in first out, suspicious of freezes.

    take ──► an idle one that is young and silent ──► used ──► put ──► idle
         └─► a permit to open one (CONNECTIONS_MAX in all)  └► drop ──► the permit is free again

The execution environment is frozen between invocations: timers stand still and a peer's FIN may
wait to be processed. So an idle connection's age is the largest that any clock shows, and every
reuse looks at the socket first.
"""

from __future__ import annotations

from collections import deque
from os import getpid
from threading import Lock

from lambdallm_extension.domain.moments import Moment
from lambdallm_extension.http_client.failures import NotSentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.http_client.connection import Connection, Patience
    from lambdallm_extension.ports import Clock

CONNECTIONS_MAX = 64
"""More calls than this to one service wait for one to end. An environment has 1,024 files."""

IDLE_MAX = 16

IDLE_AGE_MAX_MS = 30_000
"""Half of the shortest idle time after which load balancers commonly close (60 s)."""


class Pool:
    """The connections of one client. Threads share it; a forked child starts an empty one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self._pid = getpid()
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._open = 0
        self._waiting: deque[Lock] = deque()
        self._closed = False

    def take(self, patience: Patience) -> Connection | None:
        """Return a live idle connection, or None: then open one and `put` or `drop` it.

        Raises:
            DeadlineError: The deadline has passed.
            NotSentError: All connections stayed in use for the time that connecting may take.
        """
        if self._pid != getpid():
            self._begin()  # Sockets and lock belong to the parent.
        now = Moment.of(self._clock)
        while self._idle:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                break
            if _is_young(connection, now) and connection.is_alive():
                return connection
            self.drop(connection)
        self.claim(patience)
        return None

    def claim(self, patience: Patience) -> None:
        """Wait until a connection may be opened; then open one and `put` or `drop` it.

        Raises:
            DeadlineError, NotSentError: As `take`.
        """
        seconds = patience.to_connect()
        with self._lock:
            if self._open < CONNECTIONS_MAX:
                self._open += 1
                return
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=seconds):
            return
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                message = f"All {CONNECTIONS_MAX} connections are in use."
                raise NotSentError(message)
        # It was handed over between the two: the permit is ours.

    def put(self, connection: Connection) -> None:
        """Keep a connection whose last reply was read to its end."""
        connection.idle_since = Moment.of(self._clock)
        with self._lock:
            if not (self._closed or self._waiting or len(self._idle) >= IDLE_MAX):
                self._idle.append(connection)
                return
        self.drop(connection)

    def drop(self, connection: Connection | None) -> None:
        """Close a connection (None: one that was not opened in the end), and let the next in."""
        if connection is not None:
            connection.close()
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._open -= 1

    def drop_idle(self, *, suspect_only: bool = False) -> int:
        """Close the idle connections, or those alone that are old or closed by the peer.

        Returns:
            How many are still idle.
        """
        if self._pid != getpid():
            self._begin()
        now = Moment.of(self._clock)
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            if suspect_only and _is_young(connection, now) and connection.is_alive():
                with self._lock:
                    self._idle.append(connection)
            else:
                self.drop(connection)
        return len(self._idle)

    def close(self) -> None:
        """Close the idle connections now, and the others when they come back."""
        self._closed = True
        self.drop_idle()


def _is_young(connection: Connection, now: Moment) -> bool:
    idle_since = connection.idle_since
    return idle_since is not None and (
        0 <= now.seconds_since(idle_since) * 1_000 <= IDLE_AGE_MAX_MS
        and now.epoch_ms >= idle_since.epoch_ms  # a wall clock that was set back tells nothing
    )
