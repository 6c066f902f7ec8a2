"""Streamed answers on their way to whoever asked, and into the books at their end.

read ──► piece ──► piece ──► last piece     settled before it is handed out
└───► cut: what came is settled as an estimate, and the reader is told
close, while it goes on ──► read on for its usage, within bounds ──► settled
"""

from __future__ import annotations

from lambda_runtime_api.declarations import Protocol
from lambdallm_extension import errors
from lambdallm_extension.services.open_streams import Partial
from lambdallm_wire import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.domain.answers import AnswerSoFar, ChatAnswer
    from lambdallm_extension.model_ports import ChatStream
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.services.calls import Call, Settled
    from lambdallm_extension.services.open_streams import OpenStreams
    from lambdallm_wire.chat import ChatDelta, ChatResponse

    Respond = Callable[[ChatAnswer, Settled], ChatResponse]

READER_GONE = "ReaderGone"
"""Why a stream was cut that nobody read to its end, and that did not end in time by itself."""

ENVIRONMENT_ENDED = "EnvironmentEnded"

NOT_READ = "NotRead"
"""Why a stream was cut that could not be read to its end: by a fault of ours."""


class Limited(Protocol):
    """What can be told to read the rest under other limits."""

    def extend(self, deadline_ms: int, read_seconds: float) -> None:
        """Set the limits."""
        ...


class Drain:
    """How far a stream is read on when nobody waits for it any more.

    A model that has begun goes on, and is billed to its end, whether or not anybody reads it.
    """

    def __init__(self, clock: Clock, seconds: float, deadline_ms: int) -> None:
        """Set the bounds: so many seconds, and never beyond the deadline."""
        self._clock = clock
        self._seconds = seconds
        self._deadline_ms = deadline_ms

    def run(self, stream: Limited, read: Callable[[], object]) -> str:
        """Read until nothing comes; return what cut it, "" when it has ended by itself."""
        until_ms = self._clock.epoch_ms() + round(self._seconds * 1_000)
        stream.extend(min(until_ms, self._deadline_ms), self._seconds)
        try:
            while read():
                if self._clock.epoch_ms() >= until_ms:
                    return READER_GONE
        except errors.ProviderError as error:
            return READER_GONE if error.kind == "AnswerLost" else error.kind
        return ""


class MeteredAnswer:
    """The books of one streamed answer: settled once, whole or cut."""

    def __init__(
        self, answer: AnswerSoFar, call: Call, streams: OpenStreams, *, model: str, region: str
    ) -> None:
        """Make it known as open; `release` must follow."""
        self.answer = answer
        self.call = call
        self._model = model
        self._region = region
        self._streams = streams
        streams.add(Partial(call.call_id, call.work_id, answer), self)

    def settle(self) -> tuple[ChatAnswer, Settled]:
        """Book a whole answer; where the API has not said its usage, that is an estimate."""
        answer, estimated = self.answer.to_answer(), self.answer.spent()[1]
        settled = self.call.settle(self._model, answer, region=self._region, estimated=estimated)
        return answer, settled

    def settle_cut(self, reason: str) -> None:
        """Book what has come of an answer that was cut; its usage may be an estimate."""
        usage, estimated = self.answer.spent()
        answer = self.answer.to_answer()._replace(usage=usage)
        self.call.settle(
            self._model, answer, region=self._region, estimated=estimated, error=reason
        )

    def settle_now(self) -> None:
        """Book what has come so far: the environment ends."""
        self.settle_cut(ENVIRONMENT_ENDED)

    def release(self) -> None:
        """Forget it; it is booked, whatever has happened to it."""
        if not self.call.ended:
            self.settle_cut(NOT_READ)
        self._streams.remove(self)


class StreamedReply:
    """A streamed answer in lines for the SDK: `lambdallm_wire.chat.ChatDelta`.

    One thread reads it; another one may settle it.
    """

    def __init__(
        self,
        stream: ChatStream,
        first: list[ChatDelta] | None,
        metered: MeteredAnswer,
        drain: Drain,
        respond: Respond,
    ) -> None:
        """Take a stream whose beginning has come.

        Args:
            stream: The provider's.
            first: Its first pieces, None when it has ended already.
            metered: Its books.
            drain: How far it is read on when its reader has gone.
            respond: Makes the last line of an answer that is whole.
        """
        self._stream = stream
        self._first = first
        self._metered = metered
        self._drain = drain
        self._respond = respond
        self._begun = False
        self._ended = False

    def read(self) -> bytes:
        """Return the next lines, nothing at the end."""
        while not self._ended:
            try:
                deltas = self._next()
            except errors.ProviderError as error:
                self._ended = True
                self._metered.settle_cut(error.kind)
                return _line({"problem": error.to_problem(self._metered.call.work_id)})
            if deltas is None:
                self._ended = True
                return _line({"response": self._respond(*self._metered.settle())})
            if deltas:
                return b"".join(map(_line, deltas))
        return b""

    def close(self) -> None:
        """Let go of it, and read the rest for its usage where the reader went before the end."""
        try:
            if not (self._ended or self._metered.call.ended):
                reason = self._drain.run(self._stream, self._goes_on)
                if reason:
                    self._metered.settle_cut(reason)
                else:
                    self._metered.settle()
        finally:
            self._ended = True
            self._stream.close()
            self._metered.release()

    def _next(self) -> list[ChatDelta] | None:
        if not self._begun:
            self._begun = True
            return self._first
        return self._stream.read()

    def _goes_on(self) -> bool:
        return self._next() is not None


def _line(delta: ChatDelta) -> bytes:
    return codec.encode(delta) + b"\n"
