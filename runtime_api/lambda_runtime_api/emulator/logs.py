"""What the processes of an environment print, line by line, with its source.

One thread reads every pipe. Whoever asks for lines gets all that was printed before they asked,
so that a test may look at them without waiting for anything else.
"""

from __future__ import annotations

import os
import selectors
import threading
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Source = Literal["function", "extension", "platform"]

_READ_BYTES = 65_536


class LogLine(NamedTuple):
    """One line, without its line break."""

    source: Source
    text: str


class LogPump:
    """Collects lines from pipes until it is closed."""

    def __init__(self, on_line: Callable[[LogLine], None] | None = None) -> None:
        """Start.

        Args:
            on_line: Told of every line that a process prints, from the thread that reads it.
        """
        self._on_line = on_line
        self._lines: list[LogLine] = []
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._new_pipes: list[tuple[int, Source]] = []
        self._drained: list[threading.Event] = []
        self._closing = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="emulator-logs", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """How many lines there are, once all that was printed is taken."""
        self._drain()
        with self._lock:
            return len(self._lines)

    def lines_from(self, first: int) -> list[LogLine]:
        """Return the lines from a number on, with all that was printed before this call."""
        self._drain()
        with self._lock:
            return self._lines[first:]

    def note(self, text: str) -> None:
        """Add a line of the platform's own."""
        with self._lock:
            self._lines.append(LogLine("platform", text))

    def open_pipe(self, source: Source) -> int:
        """Make a pipe; return the end to write to, which the caller closes when it has given it."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        with self._lock:
            self._new_pipes.append((read, source))
        self._wake()
        return write

    def close(self) -> None:
        """Take what is left, and stop."""
        self._drain()
        with self._lock:
            self._closing = True
        self._wake()
        self._thread.join()
        os.close(self._wake_write)
        os.close(self._wake_read)  # not by the thread, which may have ended before it was woken

    def _drain(self) -> None:
        """Wait until everything that has been printed is in `_lines`."""
        drained = threading.Event()
        with self._lock:
            if self._closing:
                return
            self._drained.append(drained)
        self._wake()
        drained.wait()

    def _wake(self) -> None:
        os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        while not self._closing:
            self._selector.select()
            # First take the wake-ups, then what they announced: the other way round a request
            # that comes between the two would be left lying, with its wake-up gone.
            self._read(self._wake_read, None)
            with self._lock:
                new_pipes, self._new_pipes = self._new_pipes, []
                drained, self._drained = self._drained, []
            for read, source in new_pipes:
                self._selector.register(read, selectors.EVENT_READ, _Pipe(source))
            for key in list(self._selector.get_map().values()):
                if key.data is not None:
                    self._read(key.fd, key.data)
            for event in drained:
                event.set()
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._forget(key.fd)
        self._selector.close()

    def _read(self, fd: int, pipe: _Pipe | None) -> None:
        while True:
            try:
                data = os.read(fd, _READ_BYTES)
            except BlockingIOError:
                return
            if pipe is not None:
                self._add(pipe, data)
            if not data:
                self._forget(fd)
                return

    def _add(self, pipe: _Pipe, data: bytes) -> None:
        first, *others = data.split(b"\n")
        pipe.rest.append(first)  # joined at the line's end: it may be 100 MB long
        whole = []
        for beginning in others:
            whole.append(b"".join(pipe.rest))
            pipe.rest = [beginning]
        if not data and any(pipe.rest):
            whole.append(b"".join(pipe.rest))
        texts = (line.rstrip(b"\r").decode("utf-8", "replace") for line in whole)
        lines = [LogLine(pipe.source, text) for text in texts]
        with self._lock:
            self._lines += lines
        if self._on_line is not None:
            for one in lines:
                self._on_line(one)

    def _forget(self, fd: int) -> None:
        self._selector.unregister(fd)
        os.close(fd)


class _Pipe:
    """The reading end of a pipe, with the beginning of a line that has not ended yet."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.rest: list[bytes] = []
