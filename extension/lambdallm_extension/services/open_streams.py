"""Answers that are on their way now: what a killed function leaves of them is taken from here."""

from __future__ import annotations

from threading import Condition

from lambda_runtime_api.declarations import NamedTuple, Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.domain.answers import AnswerSoFar


LAST_SECONDS = 1.0
"""Of Shutdown's 2 s: half is left to write down what has come. What is billed stands at the end."""


class OpenStream(Protocol):
    """A stream that has not been booked yet."""

    waits_once: bool
    """Whether the environment is held for it after one invocation alone."""

    def settle_now(self) -> None:
        """Book what has come so far; what comes later is not counted."""
        ...


class Partial(NamedTuple):
    """What has come of one call's answer."""

    call_id: str
    work_id: str
    answer: AnswerSoFar


class OpenStreams:
    """The streams of one environment. Threads share it."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._open: dict[int, tuple[Partial, OpenStream]] = {}
        self._waited: set[int] = set()

    def add(self, partial: Partial, stream: OpenStream) -> None:
        """Know of one; `remove` must follow."""
        with self._changed:
            self._open[id(stream)] = (partial, stream)

    def remove(self, stream: OpenStream) -> None:
        """Forget one that is booked; twice does no harm."""
        with self._changed:
            self._open.pop(id(stream), None)
            self._waited.discard(id(stream))
            self._changed.notify_all()

    def of(self, work_id: str) -> list[Partial]:
        """Return what has come of a unit's answers."""
        with self._changed:
            return [partial for partial, _ in self._open.values() if partial.work_id == work_id]

    def wait_for_none(self, seconds: float) -> bool:
        """Wait until no stream is open; False when one still is."""
        with self._changed:
            ended = self._changed.wait_for(lambda: not self._open.keys() - self._waited, seconds)
            if not ended and seconds > 0:
                left = (key for key, (_, stream) in self._open.items() if stream.waits_once)
                self._waited.update(left)
            return ended and not self._open

    def settle_all(self, seconds: float = 0.0) -> None:
        """Book all of them as they stand: the environment ends, and nobody waits for them.

        Those that end by themselves within so many seconds, and within `LAST_SECONDS`, are whole.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._open, min(seconds, LAST_SECONDS))
            streams = [stream for _, stream in self._open.values()]
            self._open.clear()
            self._changed.notify_all()
        for stream in streams:
            stream.settle_now()
