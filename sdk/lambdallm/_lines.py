"""Lines: the connections on which units of work begin and end, so that their end is noticed.

One unit after the other has the same line. Units at once have one each, as long as there are
some, because an `end` holds its line until the store has answered.
"""

from __future__ import annotations

from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm._connection import Connection, Reply

_OK = 200

LINES_MAX = 16
"""A queue's batch has ten records, unless somebody wants more; a sidecar takes 512 connections."""


UNREAD_MAX = 32
"""Replies that nobody has read yet; many more would fill the buffers, and stop the sidecar."""


class Line:
    """A connection, and how many units of work are open on it.

    What a handler says is sent on it at once, and the reply is read with the next one that is
    waited for: nobody has to wait for each.
    """

    def __init__(self, connection: Connection) -> None:
        """Begin with none."""
        self.connection = connection
        self.lock = allocate_lock()
        self.works = 0
        self.farewells = b""
        self.unread: list[str] = []
        self._faults: dict[str, Reply] = {}

    def say(self, work_id: str, method: str, data: bytes) -> None:
        """Send what has a short reply that is read later.

        Raises:
            Unsent: It did not go out.
            OSError, ProtocolError: An earlier reply did not come.
        """
        with self.lock:
            if len(self.unread) >= UNREAD_MAX:
                self.read_replies(method)
            self.connection.send(data)
            self.unread.append(work_id)

    def read_replies(self, method: str) -> None:
        """Read what is unread; the caller has the lock.

        Raises:
            OSError, ProtocolError: Not all of it came.
        """
        while self.unread:
            reply = self.connection.read_at_once(method)
            work_id = self.unread.pop(0)
            if reply[0] != _OK:
                self._faults.setdefault(work_id, reply)

    def take_fault(self, work_id: str) -> Reply | None:
        """Return the first refusal of what a unit of work said, once."""
        return self._faults.pop(work_id, None)


class Lines:
    """The lines of one process to one sidecar."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = allocate_lock()
        self._all: list[Line] = []
        self._of: dict[str, Line] = {}

    def add(self, connection: Connection) -> Line:
        """Make a line of a connection."""
        line = Line(connection)
        self._all.append(line)
        return line

    def take(self, work_id: str, connect: Callable[[], Connection]) -> Line:
        """Give a unit the line that has the fewest units, a new one if each has some."""
        with self._lock:
            line = min(self._all, key=lambda each: each.works, default=None)
            if line is None or (line.works and len(self._all) < LINES_MAX):
                line = self.add(connect())
            line.works += 1
            self._of[work_id] = line
            return line

    def of(self, work_id: str) -> Line | None:
        """Return a unit's line, None if it has left it."""
        return self._of.get(work_id)

    def leave(self, work_id: str) -> None:
        """Let a unit leave its line, which is good for others."""
        with self._lock:
            line = self._of.pop(work_id, None)
            if line is not None:
                line.works -= 1

    def give_up(self, work_id: str, farewell: bytes) -> tuple[Connection | None, bytes]:
        """Let a unit leave a line that is good for nobody.

        Returns:
            The connection to close, None while others are on it, and what to say before.
        """
        with self._lock:
            line = self._of.pop(work_id, None)
            if line is None:
                return None, b""
            line.works -= 1
            line.farewells += farewell
            if line.works:
                return None, b""
            self._all.remove(line)
            return line.connection, line.farewells

    def spoil(self, work_id: str) -> Connection | None:
        """Take away a unit's line, for others too: a reply may still come that nobody waits for.

        Returns:
            The connection to close.
        """
        with self._lock:
            line = self._of.get(work_id)
            if line is None:
                return None
            self._all.remove(line)
            self._of = {name: other for name, other in self._of.items() if other is not line}
            return line.connection

    def close_unused(self) -> list[Connection]:
        """Take away the lines that no unit is on, and return their connections, to be closed."""
        with self._lock:
            unused = [line for line in self._all if not line.works]
            self._all = [line for line in self._all if line.works]
        return [line.connection for line in unused]

    def close_silent(self) -> list[Connection]:
        """Take away the lines on which nobody is speaking, and return their connections."""
        with self._lock:
            silent = [line for line in self._all if not line.lock.locked()]
            self._all = [line for line in self._all if line not in silent]
            self._of = {work_id: line for work_id, line in self._of.items() if line in self._all}
        return [line.connection for line in silent]

    def has_stale(self) -> bool:
        """Say whether a line on which nobody is speaking has ended. Waits for nobody."""
        with self._lock:
            return any(_is_stale(line) for line in self._all)


def _is_stale(line: Line) -> bool:
    if not line.lock.acquire(blocking=False):
        return False  # somebody is speaking on it, and will hear
    try:
        return not line.unread and line.connection.is_stale()
    finally:
        line.lock.release()
