r"""Server-sent events, read as they come. No I/O.

    data: {"a":1}⏎⏎event: error⏎data: {"b":⏎data: 2}⏎⏎
    └─ ("", '{"a":1}') ┘ └─ ("error", '{"b":\n2}') ──┘

Source: WHATWG HTML Living Standard, 9.2.6 "Interpreting an event stream", 2026-11. `id` and `retry`
are for clients that connect again, which nobody does here; they are read over.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Event = tuple[str, str]
    """Name, "" where it has none, and data."""

EVENT_MAX_BYTES = 4_194_304
"""Of one event that is not whole yet. The largest known holds a whole response, at its end."""


class EventTooLongError(ValueError):
    """An event is longer than is kept."""


class EventReader:
    """Reads events out of bytes, however these are cut."""

    __slots__ = ("_begun", "_name", "_pending", "_pending_size", "_tail", "_tail_size", "_was_cr")

    def __init__(self) -> None:
        """Start before the first byte."""
        self._begun = False
        self._was_cr = False
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._name = ""
        self._pending: list[str] = []
        self._pending_size = 0

    def feed(self, received: bytes) -> list[Event]:
        """Take bytes and return the events that they complete.

        An event that no blank line has ended yet is no event.

        Raises:
            EventTooLongError: More than `EVENT_MAX_BYTES` have come without an end of an event.
        """
        if self._was_cr and received:  # one line end of two bytes, cut between them
            self._was_cr = False
            if received[0] == _LF:
                received = received[1:]
        end = max(received.rfind(b"\n"), received.rfind(b"\r")) + 1
        if not end:
            self._keep_tail(received)
            return []
        self._was_cr = received[end - 1] == _CR and end == len(received)
        whole = received[:end]
        if self._tail:
            self._tail.append(whole)
            whole = b"".join(self._tail)
            self._tail, self._tail_size = [], 0
        if end < len(received):
            self._keep_tail(received[end:])
        return self._read(whole)

    def _keep_tail(self, piece: bytes) -> None:
        if piece:
            self._tail.append(piece)
            self._tail_size += len(piece)
            self._check()

    def _read(self, whole: bytes) -> list[Event]:
        # Line ends are ASCII, so a cut there never divides a character.
        text = whole.decode("utf-8", "replace")
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        events: list[Event] = []
        pending = self._pending
        lines = text.split("\n")
        lines.pop()  # behind the last line end stands nothing
        for line in lines:
            if line.startswith("data:"):
                pending.append(line[6:] if line[5:6] == " " else line[5:])
                self._pending_size += len(line) + _LINE_BYTES
                if self._pending_size > _CHECK_FROM:
                    self._check()
            elif not line:
                if pending:
                    events.append((self._name, "\n".join(pending)))
                    pending.clear()
                    self._pending_size = 0
                self._name = ""
            else:
                self._take_field(line)
        return events

    def _take_field(self, line: str) -> None:
        field, _, value = line.partition(":")
        if field == "event":
            self._name = value.removeprefix(" ")
        elif line == "data":
            self._pending.append("")
            self._pending_size += _LINE_BYTES
            self._check()

    def _check(self) -> None:
        if self._pending_size + self._tail_size > EVENT_MAX_BYTES:
            message = f"An event is longer than {EVENT_MAX_BYTES:,} bytes."
            raise EventTooLongError(message)


_LF, _CR = b"\n\r"

_LINE_BYTES = 64
"""What a line takes beside its text, so that millions of empty ones are not for nothing."""

_CHECK_FROM = 65_536
"""Below it an event is not looked at for its length: nearly all are."""
