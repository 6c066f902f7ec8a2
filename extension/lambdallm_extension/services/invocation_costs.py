"""What each invocation has cost so far, until its bill comes: joined by request id.

    INVOKE ─► expect     line ─► add …     bill ─► close ─► one row     line ─► add: its own total

An invocation's lines are told until its row, which holds their sum; what is told after the row (a
killed function's call that was answered later) is in no row, so that line says its own total. So
totals add up whichever comes first. A bill of an invocation that nobody has expected, or whose row
is written, changes nothing: bills come from outside, twice at times.
"""

from __future__ import annotations

from threading import Condition

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambda_runtime_api.telemetry import RuntimeDone

EXPECTED_MAX = 64
"""Invocations whose bills are waited for; one runs at a time, and its bill comes with the next."""

CLOSED_MAX = 64
"""Invocations whose rows are remembered, for calls that are answered later."""


class Spent(NamedTuple):
    """What lines have told of one invocation, in pico-USD."""

    cost_pico_usd: int = 0
    overhead_pico_usd: int = 0
    unpriced_calls: int = 0
    lines: int = 0


class InvocationCosts:
    """Those of one environment. Threads share it."""

    def __init__(self) -> None:
        """Expect nothing."""
        self._changed = Condition()
        self._expected: dict[str, Spent] = {}
        self._done: dict[str, RuntimeDone] = {}
        self._closed: dict[str, None] = {}
        self.come: Callable[[], bool] = lambda: False
        """Whether bills come here at all."""

    def expect(self, request_id: str) -> None:
        """Know that an invocation has begun, whose bill will come."""
        if self.come():
            with self._changed:
                self._expect(request_id, Spent())

    def add(self, request_id: str, spent: Spent) -> int | None:
        """Take what a line tells; return its own total where its invocation's row is written."""
        with self._changed:
            before = self._expected.get(request_id)
            if before is not None:
                sums = (sum(both) for both in zip(before, spent, strict=True))
                self._expected[request_id] = Spent(*sums)
            elif request_id in self._closed:
                return spent.cost_pico_usd + spent.overhead_pico_usd
            elif request_id and self.come():  # INVOKE, which comes at the same time, is late
                self._expect(request_id, spent)
        return None

    def close(self, request_id: str) -> Spent | None:
        """Return what was told of an invocation, once; None where no bill of it is waited for."""
        with self._changed:
            spent = self._expected.get(request_id)
            if spent is None:
                return None
            self._forget(request_id)
            self._closed[request_id] = None
            while len(self._closed) > CLOSED_MAX:
                del self._closed[next(iter(self._closed))]
            self._changed.notify_all()
        return spent

    def done(self, done: RuntimeDone) -> None:
        """Know how long an invocation has taken, where its bill does not come any more."""
        with self._changed:
            if done.request_id in self._expected:
                self._done[done.request_id] = done

    def wait_closed(self, seconds: float) -> list[RuntimeDone]:
        """Wait for the bills that are expected; return the invocations that ended without one."""
        with self._changed:
            self._changed.wait_for(lambda: not self._expected, seconds)
            return [*self._done.values()]

    def clear(self) -> None:
        """Forget everything: this is another environment now."""
        with self._changed:
            self._expected, self._done, self._closed = {}, {}, {}

    def _expect(self, request_id: str, spent: Spent) -> None:
        self._expected.setdefault(request_id, spent)
        while len(self._expected) > EXPECTED_MAX:
            self._forget(next(iter(self._expected)))

    def _forget(self, request_id: str) -> None:
        del self._expected[request_id]
        self._done.pop(request_id, None)
