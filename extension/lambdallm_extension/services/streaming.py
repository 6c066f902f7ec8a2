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
        """Set the bounds: so many seconds, 0 for not at all, and never beyond the deadline."""
        self._clock = clock
        self._seconds = seconds
        self._deadline_ms = deadline_ms

    def is_over(self) -> bool:
        """Say whether the deadline has come: a read that ends then was cut by us."""
        return self._clock.epoch_ms() >= self._deadline_ms - 10

    def run(self, stream: Limited, read: Callable[[], object]) -> bool:
        """Read until nothing comes; return whether that was the end, and not our bounds.

        Raises:
            ProviderError: The provider has cut it.
        """
        if self._seconds <= 0:
            return False
        until_ms = self._clock.epoch_ms() + round(self._seconds * 1_000)
        stream.extend(min(until_ms, self._deadline_ms), self._seconds)
        try:
            while read():
                if self._clock.epoch_ms() >= until_ms:
                    return False
        except errors.ProviderError as error:
            if error.kind != "AnswerLost":  # that is how a read ends at our bounds
                raise
            return False
        return True


class MeteredAnswer:
    """The books of one streamed answer: settled once, whole or cut."""

    waits_once = False

    def __init__(
        self,
        answer: AnswerSoFar,
        call: Call,
        streams: OpenStreams,
        *,
        model: str,
        region: str,
        tell: Callable[[errors.ProviderError | None], object] = bool,
    ) -> None:
        """Make it known as open; `release` must follow.

        Args:
            answer: Filled by whoever reads it.
            call: In the books.
            streams: All that are open.
            model: Under which name it was asked.
            region: Where.
            tell: Told once how the provider has ended it, None: well. What we ourselves have cut
                says nothing of the provider but that it did answer.
        """
        self.answer = answer
        self.call = call
        self._tell = tell
        self._model = model
        self._region = region
        self._streams = streams
        streams.add(Partial(call.call_id, call.work_id, answer), self)

    def settle(self) -> tuple[ChatAnswer, Settled]:
        """Book a whole answer; where the API has not said its usage, that is an estimate."""
        answer, estimated = self.answer.to_answer(), self.answer.spent()[1]
        settled = self.call.settle(self._model, answer, region=self._region, estimated=estimated)
        self._tell_once(None)
        return answer, settled

    def fail(self, error: errors.ProviderError, *, ours: bool = False) -> None:
        """Book what has come of an answer that its provider has cut: a failed attempt."""
        if not self.call.ended:
            self.call.refused(error)
        self.settle_cut(error.kind or str(error.status))
        self._tell_once(None if ours else error)

    def leave(self) -> None:
        """Book what has come of an answer whose reader has gone."""
        self.settle_cut(READER_GONE)
        self._tell_once(None)

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

    def _tell_once(self, error: errors.ProviderError | None) -> None:
        tell, self._tell = self._tell, bool
        tell(error)


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
                deltas = self._stream.read() if self._begun else self._next()
            except errors.ProviderError as error:
                self._ended = True
                ours = error.kind == "AnswerLost" and self._drain.is_over()
                self._metered.fail(error, ours=ours)
                problem = error.to_problem(self._metered.call.work_id)
                return codec.encode_lines([{"problem": problem}])
            if deltas is None:
                self._ended = True
                response = self._respond(*self._metered.settle())
                return codec.encode_lines([{"response": response}])
            if deltas:
                if self._metered.call.run is not None:
                    self._metered.call.run.progress(self._metered.answer)
                return codec.encode_lines(deltas)
        return b""

    def read_all(self) -> ChatResponse:
        """Read it to its end, and return the whole answer.

        Raises:
            ProviderError: It was cut.
        """
        run = self._metered.call.run
        try:
            while self._goes_on():
                if run is not None:
                    run.progress(self._metered.answer)
        except errors.ProviderError as error:
            self._metered.fail(error)
            raise
        finally:
            self._ended = True
        return self._respond(*self._metered.settle())

    def close(self) -> None:
        """Let go of it, and read the rest for its usage where the reader went before the end."""
        try:
            if not (self._ended or self._metered.call.ended):
                if self._drain.run(self._stream, self._goes_on):
                    self._respond(*self._metered.settle())
                else:
                    self._metered.leave()
        except errors.ProviderError as error:
            self._metered.fail(error)
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
