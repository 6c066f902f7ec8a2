"""One unit of work: what hangs on it while it is open, and what is reported when it ends."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING, NamedTuple

from lambdallm_extension.domain import flush
from lambdallm_extension.ports import InvocationReport
from lambdallm_extension.services.metering import Totals
from lambdallm_wire.tokens import input_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdallm_extension.ports import Clock
    from lambdallm_extension.services.sessions import SessionWork
    from lambdallm_wire.invocations import BeginRequest, EndReply

EXPIRED_MS = 5_000
"""So long after its deadline a unit is closed: nobody can end it any more."""


class Ending(NamedTuple):
    """How a unit of work ended."""

    outcome: str
    error_code: str
    handler_ms: float | None


MOVED = "moved"
"""The outcome of a unit that another engine has taken over: it writes what was said."""

KILLED = Ending("killed", "", None)
"""The process was gone before it could say `end`."""


class Work:
    """One unit of work. Its calls may come from several threads."""

    def __init__(self, begin: BeginRequest, connection: int, clock: Clock) -> None:
        """Begin now; a session is hung on it afterwards."""
        self.begin = begin
        self.connection = connection
        self.session: SessionWork | None = None
        self.totals = Totals()
        self._clock = clock
        self._calls = 0
        self._called = Condition()
        now_ms = clock.epoch_ms()
        reserve_ms = flush.reserve_ms(self.deadline_ms - now_ms)
        self._store_deadline_ms = max(now_ms, self.deadline_ms - round(reserve_ms))

    @property
    def work_id(self) -> str:
        """Its name in every message."""
        return self.begin["work_id"]

    @property
    def request_id(self) -> str:
        """The invocation it belongs to."""
        return self.begin["request_id"]

    @property
    def deadline_ms(self) -> int:
        """Epoch milliseconds at which Lambda ends the invocation."""
        return self.begin["deadline_epoch_ms"]

    @property
    def expired(self) -> bool:
        """Whether its deadline is long past."""
        return self._clock.epoch_ms() > self.deadline_ms + EXPIRED_MS

    def store_deadline_ms(self) -> int:
        """Until when the store may take: early enough to tell the handler that it did not."""
        return self._store_deadline_ms

    def grant(self, milliseconds: int) -> None:
        """Give the store at least so much time from now: after a kill, Shutdown is left."""
        until_ms = self._clock.epoch_ms() + milliseconds
        self._store_deadline_ms = max(self._store_deadline_ms, until_ms)

    def store_seconds(self) -> float:
        """Time that is left for the store."""
        return (self._store_deadline_ms - self._clock.epoch_ms()) / 1_000

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Be known as a model call that is under way."""
        with self._called:
            self._calls += 1
        try:
            yield
        finally:
            with self._called:
                self._calls -= 1
                self._called.notify_all()

    def wait_called(self, seconds: float) -> bool:
        """Wait until no model call is under way; its usage is in the totals then."""
        with self._called:
            return self._called.wait_for(lambda: not self._calls, seconds)

    def reply(self) -> EndReply:
        """Return the totals as `end` answers them."""
        totals = self.totals
        return {
            "calls": totals.calls,
            "input_tokens": input_tokens(totals.usage),
            "output_tokens": totals.usage["output_tokens"],
            "cost_pico_usd": totals.cost_pico_usd,
            "unpriced_calls": totals.unpriced_calls,
            "session_version": self.session.version if self.session else 0,
        }

    def report(
        self, ending: Ending, *, environment_id: str, records_dropped: int
    ) -> InvocationReport:
        """Return what telemetry is told."""
        totals, session = self.totals, self.session
        return InvocationReport(
            work_id=self.work_id,
            request_id=self.request_id,
            environment_id=environment_id,
            outcome=ending.outcome,
            error_code=ending.error_code,
            cold_start=self.begin.get("cold_start", False) is True,
            models=tuple(totals.models),
            calls=totals.calls,
            errors=totals.errors,
            throttles=totals.throttles,
            usage=totals.usage,
            cost_pico_usd=totals.cost_pico_usd,
            unpriced_calls=totals.unpriced_calls,
            model_latency_ms=totals.latency_ms,
            handler_ms=ending.handler_ms,
            session_read_ms=session.read_ms if session else None,
            session_save_ms=session.save_ms if session else None,
            records_dropped=records_dropped,
            epoch_ms=self._clock.epoch_ms(),
        )
