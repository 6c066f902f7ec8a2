"""The books of one environment: a record for every call, totals for every unit of work.

A call's record is written beside the call and never waited for by the handler:

    intent ──► settled   tokens and cost are known
           ├─► failed    the provider refused: it costs nothing
           └─► unknown   the answer was lost: it may have been billed
"""

from __future__ import annotations

from collections import deque
from threading import Lock

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import InvocationReport, Item, Key, Put
from lambdallm_wire import names
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdallm_extension.ports import Clock, Store, Value
    from lambdallm_extension.services.store_health import StoreHealth
    from lambdallm_extension.services.tasks import Task, Workers
    from lambdallm_wire.chat import Usage

CALL_RECORD_SECONDS = 35 * 86_400
"""A month and the days until its bill is checked."""

RECORDS_MAX = 1_000
"""Records waiting for the store; beyond it the oldest is dropped and counted."""

PASSED_MAX = 100
"""Ids of calls that wait for the session's next turn, to be deleted with it; the last ones stay."""

WRITE_MIN_MS = 1_000
"""For one write, also when the deadline of its invocation is near: it is made beside the next."""


class Counts:
    """What calls have used together."""

    def __init__(self) -> None:
        self.usage: Usage = dict(NO_USAGE)  # type: ignore[assignment]  # the same keys
        self.cost_pico_usd = 0
        self.calls = 0
        self.unpriced_calls = 0
        self.errors = 0
        self.throttles = 0
        self.latency_ms = 0
        self.blocked = 0
        self.downgraded = 0
        self.budget_percent: int | None = None
        self.models: list[str] = []

    def settle(self, model: str, usage: Usage, cost_pico_usd: int | None, latency_ms: int) -> None:
        """Count a call that was answered; a cost of None counts it as unpriced."""
        self.calls += 1
        self.latency_ms += latency_ms
        if model not in self.models:
            self.models.append(model)
        for kind, tokens in usage.items():
            self.usage[kind] += tokens  # type: ignore[literal-required]  # both are Usage
        if cost_pico_usd is None:
            self.unpriced_calls += 1
        else:
            self.cost_pico_usd += cost_pico_usd

    def fail(self, *, throttled: bool) -> None:
        """Count an attempt that failed."""
        self.errors += 1
        self.throttles += throttled

    def lose(self, model: str) -> None:
        """Count a call whose answer was lost: what it cost is unknown, never 0."""
        self.calls += 1
        self.unpriced_calls += 1
        if model not in self.models:
            self.models.append(model)

    def note_budgets(self, percent: int, *, blocked: bool) -> None:
        """Know how full the fullest budget of a call is, and whether the call was refused."""
        self.blocked += blocked
        self.budget_percent = max(percent, self.budget_percent or 0)

    def downgrade(self) -> None:
        """Count a call that asks a cheaper model than the one that was wanted."""
        self.downgraded += 1

    def report(
        self,
        *,
        work_id: str,
        request_id: str,
        environment_id: str,
        outcome: str,
        epoch_ms: int,
    ) -> InvocationReport:
        """Return what telemetry is told of these calls; what else is known is put in by others."""
        return InvocationReport(
            work_id=work_id,
            request_id=request_id,
            environment_id=environment_id,
            outcome=outcome,
            error_code="",
            cold_start=False,
            models=tuple(self.models),
            calls=self.calls,
            errors=self.errors,
            throttles=self.throttles,
            usage=self.usage,
            cost_pico_usd=self.cost_pico_usd,
            unpriced_calls=self.unpriced_calls,
            model_latency_ms=self.latency_ms,
            handler_ms=None,
            session_read_ms=None,
            session_save_ms=None,
            records_dropped=0,
            epoch_ms=epoch_ms,
            blocked=self.blocked,
            downgraded=self.downgraded,
            budget_percent=self.budget_percent,
        )


class Totals(Counts):
    """What one unit of work has used so far. Safe to share between its calls.

    Each number is reported once: by the unit's own report, or, of a call that is answered after
    it, by a later one.
    """

    def __init__(self, scopes: Callable[[], Mapping[str, str]] = dict) -> None:
        """Start from nothing; `scopes` are what the unit's calls belong to, for budgets."""
        super().__init__()
        self.scopes = scopes
        self._lock = Lock()
        self._unreported = Counts()
        self._passed: deque[str] = deque(maxlen=PASSED_MAX)

    def settle(self, model: str, usage: Usage, cost_pico_usd: int | None, latency_ms: int) -> None:
        """Count a call that was answered; a cost of None counts it as unpriced."""
        with self._lock:
            super().settle(model, usage, cost_pico_usd, latency_ms)
            self._unreported.settle(model, usage, cost_pico_usd, latency_ms)

    def fail(self, *, throttled: bool) -> None:
        """Count an attempt that failed."""
        with self._lock:
            super().fail(throttled=throttled)
            self._unreported.fail(throttled=throttled)

    def lose(self, model: str) -> None:
        """Count a call whose answer was lost: what it cost is unknown, never 0."""
        with self._lock:
            super().lose(model)
            self._unreported.lose(model)

    def note_budgets(self, percent: int, *, blocked: bool) -> None:
        """Know how full the fullest budget of a call is, and whether the call was refused."""
        with self._lock:
            super().note_budgets(percent, blocked=blocked)
            self._unreported.note_budgets(percent, blocked=blocked)

    def downgrade(self) -> None:
        """Count a call that asks a cheaper model than the one that was wanted."""
        with self._lock:
            super().downgrade()
            self._unreported.downgrade()

    def note_passed(self, call_id: str) -> None:
        """Take note of an unmodified client's call, whose id the handler does not know."""
        self._passed.append(call_id)

    def take_passed(self) -> list[str]:
        """Return the ids of these calls since the last time."""
        return [self._passed.popleft() for _ in range(len(self._passed))]

    def take_unreported(self) -> Counts:
        """Return what was counted since the last time."""
        with self._lock:
            taken, self._unreported = self._unreported, Counts()
        return taken


class CallRecord(NamedTuple):
    """A call's record, written under its own id; each writing replaces the one before.

    Shape of the item:
        CALL#<call id> / CALL  {"schema": 1, "state": "settled", "model": "…", "work": "…",
        "environment": "…", "at": epoch ms, "attempts": 1, "latency_ms": 812,
        "uncached_input_tokens": 14, …, "output_tokens": 9, "cost_pico_usd": 14750000}
    """

    call_id: str
    state: str
    attributes: Mapping[str, Value]

    def to_item(self, epoch_seconds: int) -> Item:
        """Make what the store takes."""
        attributes: dict[str, Value] = {
            "schema": names.ITEM_SCHEMA_VERSION,
            "state": self.state,
            **self.attributes,
        }
        key = Key(keys.call_pk(self.call_id), keys.CALL)
        return Item(key, attributes, epoch_seconds + CALL_RECORD_SECONDS)


class Dropped(NamedTuple):
    """Records that were given up, and what the store said last."""

    records: int
    reason: str


class Recorder:
    """Writes call records, in order, on one thread, as long as there are any.

    An intent that has not been written when its settlement arrives is skipped: one write then
    says both. A record that the store did not take waits for the next try; it may be written
    twice, which leaves one item. Whatever is given up is counted.
    """

    def __init__(
        self, store: Store | None, workers: Workers, clock: Clock, health: StoreHealth
    ) -> None:
        """Start with nothing to write.

        Args:
            store: Where records go; None keeps none (no store was declared).
            workers: Threads.
            clock: For expiries.
            health: Told how the store answers; while its circuit is open, records wait.
        """
        self._store = store
        self._workers = workers
        self._clock = clock
        self._health = health
        self._lock = Lock()
        self._waiting: deque[CallRecord] = deque()
        self._task: Task[None] | None = None
        self._deadline_ms = 0
        self._dropped = 0
        self._last_error = ""

    def record(self, record: CallRecord, *, deadline_ms: int) -> None:
        """Take a record; the store gets it soon, or it is counted as dropped."""
        if self._store is None:
            return
        with self._lock:
            if self._waiting and self._waiting[-1].call_id == record.call_id:
                self._waiting.pop()
            self._waiting.append(record)
            self._drop_oldest()
            self._deadline_ms = deadline_ms
            self._start()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is waiting; False when something still is.

        Returns at once while the store's circuit is open.
        """
        until = self._clock.monotonic() + seconds
        while True:
            with self._lock:
                self._start()
                task = self._task
                if task is None:
                    return not self._waiting
            try:
                task.wait(until - self._clock.monotonic())
            except errors.DeadlineError:
                return False

    def take_dropped(self) -> Dropped:
        """Return how many were dropped since the last time, and start from 0."""
        with self._lock:
            reason = self._last_error or (
                f"More than {RECORDS_MAX} waited: calls came faster than the store takes records."
            )
            dropped, self._dropped = Dropped(self._dropped, reason), 0
        return dropped

    def abandon(self) -> Dropped:
        """Give up what is still waiting; return how many were dropped since the last time."""
        with self._lock:
            self._dropped += len(self._waiting)
            self._waiting.clear()
        return self.take_dropped()

    def _start(self) -> None:
        """Write on a thread, unless one does or the store is to be left alone; under the lock."""
        if self._waiting and self._task is None and not self._health.open:
            try:
                self._task = self._workers.start(self._run)
            except errors.OverloadedError:
                return  # they wait for the next record, or the end

    def _drop_oldest(self) -> None:
        while len(self._waiting) > RECORDS_MAX:
            self._waiting.popleft()
            self._dropped += 1

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._health.open:
                    self._task = None
                    return
                record = self._waiting.popleft()
                deadline_ms = self._deadline_ms
            try:
                self._write(record, deadline_ms)
            except errors.StoreRefusedError as error:
                self._health.succeeded()
                self._give_up(error)
            except errors.StoreError as error:
                self._health.failed()
                self._keep(record, error)
            except Exception as error:  # noqa: BLE001 - the records behind it are to be written too
                self._give_up(error)
            else:
                self._health.succeeded()

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            self._dropped += 1
            self._last_error = str(error)

    def _keep(self, record: CallRecord, error: Exception) -> None:
        with self._lock:
            self._last_error = str(error)
            self._waiting.appendleft(record)
            self._drop_oldest()

    def _write(self, record: CallRecord, deadline_ms: int) -> None:
        if self._store is None:
            return
        now_ms = self._clock.epoch_ms()
        deadline_ms = max(deadline_ms, now_ms + WRITE_MIN_MS)
        self._store.put_if(Put(record.to_item(now_ms // 1_000)), deadline_ms=deadline_ms)
