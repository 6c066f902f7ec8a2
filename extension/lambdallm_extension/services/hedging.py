"""Two models for one call: where the first is silent for long, another is asked beside it.

first is asked ──► silence ──► second is asked too ──► who answers first ──► the call's answer
                                                  └──► who is left behind ──► its own record
"""

from __future__ import annotations

from functools import partial
from threading import Condition, Thread

from lambda_runtime_api.declarations import Generic, Protocol, TypeVar
from lambdallm_extension import errors
from lambdallm_extension.domain import retry
from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.services.open_streams import Partial
from lambdallm_extension.services.streaming import ENVIRONMENT_ENDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm_extension.services.calls import Call
    from lambdallm_extension.services.model_health import Candidate, Health
    from lambdallm_extension.services.open_streams import OpenStreams

T = TypeVar("T")

RECORD_SUFFIX = "-hedge"
"""Behind a call's id: the key of the record of whoever was left behind."""


class Counting(Protocol):
    """Counts a call as one that is under way while the context lasts."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class LeftBehind(Generic[T]):
    """What becomes of a model's answer when another one came first."""

    def __init__(
        self,
        record: Call,
        book: Callable[[Call, Candidate, T], None],
        streams: OpenStreams,
        counted: Counting,
        call: Call,
    ) -> None:
        """Know where it is booked.

        Args:
            record: It gets a record of its own.
            book: Books an answer that nobody waits for, and tells `Health` of it.
            streams: Waits for it, and has it booked where the environment ends before it.
            counted: Counts it meanwhile.
            call: That of the answer that is waited for.
        """
        self.record = record
        self._call = call
        self._book = book
        self._streams = streams
        self._counted = counted

    def change_places(self) -> None:
        """Know that the second one has answered for the call, which pays for that one now."""
        self._call.exchange_reservations(self.record)

    def take(self, runner: _Runner[T], health: Health) -> None:
        """Book it when it ends: now, or later on its own thread."""
        self._counted.__enter__()
        unbooked = _Unbooked(runner, self.record)
        nothing = Partial(self.record.call_id, self.record.work_id, AnswerSoFar())
        self._streams.add(nothing, unbooked)

        def end() -> None:
            try:
                self._end(runner, health)
            finally:
                self._streams.remove(unbooked)
                self._counted.__exit__()

        runner.then(end)

    def _end(self, runner: _Runner[T], health: Health) -> None:
        candidate, error = runner.candidate, runner.error
        if error is None:
            self._book(self.record, candidate, runner.result())
            return
        if isinstance(error, errors.ProviderError):
            self.record.refused(error)
            health.failed(candidate, error)
        if not isinstance(error, errors.ExtensionError):
            error = _lost(type(error).__name__)
        self.record.fail(candidate.model, error)


class Hedge(Generic[T]):
    """What may ask a second model for one call. It does so once, in place of a retry."""

    def __init__(self, left_behind: LeftBehind[T], *, after_ms: int, deadline_ms: int) -> None:
        """Be ready to ask after so much silence; the deadline is in epoch milliseconds."""
        self._left_behind = left_behind
        self._after_ms = after_ms
        self._deadline_ms = deadline_ms
        self._happened = False

    def ask(
        self,
        ask: Callable[[Candidate], T],
        first: Candidate,
        waiting: list[Candidate],
        health: Health,
    ) -> tuple[Candidate, Callable[[], T]]:
        """Return who decides, and what returns his answer, or raises what came in its place.

        The second is the next in line, or the first again. Where neither answers the first
        decides, unless the second may be billed: then nobody may be asked again.
        """
        if self._happened or first.provider is None:
            return first, partial(ask, first)
        race = _Race()
        runner = _Runner(ask, first, race)
        try:
            runner.start()
        except RuntimeError:  # no thread is left in this environment
            return first, partial(ask, first)
        second = next((one for one in waiting if one.provider is not None), first)
        runners = [runner]
        try:
            if runner.wait(self._after_ms / 1_000) or not self._may(health, second):
                runner.wait()
                return first, runner.result
            self._happened = True
            other = _Runner(self._beside(ask, health), second, race)
            try:
                other.start()
            except RuntimeError:
                runner.wait()
                return first, runner.result
            runners.append(other)
            race.wait(runner, other)
        except BaseException:  # a signal's handler has ended the waiting
            for each in runners:
                self._left_behind.take(each, health)
            raise
        first_decides = race.winner is runner or (race.winner is None and _said_no(other.error))
        winner, left = (runner, other) if first_decides else (other, runner)
        if not first_decides:
            self._left_behind.change_places()
        self._left_behind.take(left, health)
        return winner.candidate, winner.result

    def _beside(self, ask: Callable[[Candidate], T], health: Health) -> Callable[[Candidate], T]:
        def ask_beside(candidate: Candidate) -> T:
            self._left_behind.record.intend(candidate.model, candidate)
            health.asking(candidate)
            return ask(candidate)

        return ask_beside

    def _may(self, health: Health, second: Candidate) -> bool:
        left_ms = self._deadline_ms - health.clock.epoch_ms()
        return left_ms >= retry.USEFUL_MS and health.is_well(second) and health.may_retry()


class _Race:
    """Who has answered first, and the lock of all that its runners share."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.winner: object = None

    def wait(self, *runners: _Runner[Any]) -> None:
        """Wait until one has answered, or all have failed."""
        with self.changed:
            self.changed.wait_for(lambda: self.winner or all(each.ended for each in runners))


class _Runner(Generic[T]):
    """One candidate that is asked on a thread of its own."""

    def __init__(self, ask: Callable[[Candidate], T], candidate: Candidate, race: _Race) -> None:
        self.candidate = candidate
        self.ended = False
        self.error: BaseException | None = None
        self._ask = ask
        self._race = race
        self._answer: T | None = None
        self._then: Callable[[], None] | None = None

    def start(self) -> None:
        """Ask; raises RuntimeError where there is no thread for it."""
        Thread(target=self._run, name="lambdallm-hedge", daemon=True).start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended, as its deadline lets it; False when it has not in time."""
        with self._race.changed:
            return self._race.changed.wait_for(lambda: self.ended, seconds)

    def result(self) -> T:
        """Return the answer of one that has ended, or raise what came in its place."""
        if self.error is not None:
            raise self.error
        return self._answer  # type: ignore[return-value]  # set whenever there is no error

    def then(self, act: Callable[[], None]) -> None:
        """Act when it has ended: on its own thread, where that is not gone already."""
        with self._race.changed:
            self._then = act
            self._race.changed.notify_all()
            waits = self.error is None and self._race.winner is not self
            on_thread = not self.ended or waits
        if not on_thread:
            act()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._answer = self._ask(self.candidate)
        except BaseException as raised:  # noqa: BLE001 - raised again in whoever waits
            error = raised
        with self._race.changed:
            self.error, self.ended = error, True
            if error is None and self._race.winner is None:
                self._race.winner = self
            self._race.changed.notify_all()
            if error is None and self._race.winner is not self:
                # To book an answer that was left behind may take as long as to read it.
                self._race.changed.wait_for(lambda: self._then)
            act = self._then
        if act is not None:
            act()
        if error is not None and not isinstance(error, errors.ExtensionError):
            raise error  # a fault of ours: the log gets its traceback, whoever waits


class _Unbooked(Generic[T]):
    """Who was left behind, as long as it has not ended: nobody knows what it will cost."""

    waits_once = True

    def __init__(self, runner: _Runner[T], call: Call) -> None:
        self._runner = runner
        self._call = call

    def settle_now(self) -> None:
        """Book it as unknown: the environment ends. An answer that has begun books itself."""
        if not self._runner.ended:
            self._call.fail(self._runner.candidate.model, _lost(ENVIRONMENT_ENDED))


def _said_no(error: BaseException | None) -> bool:
    """Say whether a failure proves that nothing was generated."""
    if isinstance(error, errors.ProviderError):
        return error.answered_no
    return isinstance(error, errors.ExtensionError)


def _lost(kind: str) -> errors.ProviderError:
    return errors.ProviderError("Nobody waited for this answer.", kind=kind)
