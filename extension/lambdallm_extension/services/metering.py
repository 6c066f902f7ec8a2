"""The books of one environment: a record for every call, totals for every unit of work.

A call's record is written beside the call and never waited for by the handler:

    intent ──► settled   tokens and cost are known
           ├─► failed    the provider refused: it costs nothing
           └─► unknown   the answer was lost: it may have been billed
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_extension.ports import Clock, Store, Value
    from lambdallm_extension.services.tasks import Task, Workers
    from lambdallm_wire.chat import Usage

CALL_RECORD_SECONDS = 35 * 86_400
"""A month and the days until its bill is checked."""

RECORDS_MAX = 1_000
"""Records waiting for the store; beyond it the oldest is dropped and counted."""

NO_USAGE: Usage = {
    "uncached_input_tokens": 0,
    "cache_read_tokens": 0,
    "cache_write_5m_tokens": 0,
    "cache_write_1h_tokens": 0,
    "output_tokens": 0,
}


class Totals:
    """What one unit of work has used so far. Safe to share between its calls."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.usage: Usage = dict(NO_USAGE)  # type: ignore[assignment]  # the same keys
        self.cost_pico_usd = 0
        self.calls = 0
        self.unpriced_calls = 0
        self.errors = 0
        self.throttles = 0
        self.latency_ms = 0
        self.models: list[str] = []

    def settle(self, model: str, usage: Usage, cost_pico_usd: int | None, latency_ms: int) -> None:
        """Count a call that was answered; a cost of None counts it as unpriced."""
        with self._lock:
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
        with self._lock:
            self.errors += 1
            self.throttles += throttled


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


class Recorder:
    """Writes call records, in order, on one thread, as long as there are any.

    An intent that has not been written when its settlement arrives is skipped: one write then
    says both.
    """

    def __init__(self, store: Store | None, workers: Workers, clock: Clock) -> None:
        """Start with nothing to write.

        Args:
            store: Where records go; None keeps none (no store was declared).
            workers: Threads.
            clock: For expiries.
        """
        self._store = store
        self._workers = workers
        self._clock = clock
        self._lock = Lock()
        self._waiting: deque[CallRecord] = deque()
        self._task: Task[None] | None = None
        self.dropped = 0
        self.last_error = ""
        self.failing = False

    def record(self, record: CallRecord, *, deadline_ms: int) -> None:
        """Take a record; the store gets it soon, or it is counted as dropped."""
        if self._store is None:
            return
        with self._lock:
            if self._waiting and self._waiting[-1].call_id == record.call_id:
                self._waiting.pop()
            if len(self._waiting) >= RECORDS_MAX:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(record)
            if self._task is None:
                self._task = self._workers.start(lambda: self._run(deadline_ms))

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is waiting; False when something still is."""
        with self._lock:
            task = self._task
        if task is None:
            return True
        try:
            task.wait(seconds)
        except errors.DeadlineError:
            return False
        return True

    @property
    def busy(self) -> bool:
        """Whether records are on their way."""
        return self._task is not None

    def take_dropped(self) -> int:
        """Return how many were dropped since the last time, and start from 0."""
        with self._lock:
            dropped, self.dropped = self.dropped, 0
        return dropped

    def _run(self, deadline_ms: int) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._task = None
                    return
                record = self._waiting.popleft()
            try:
                self._write(record, deadline_ms)
            except Exception as error:  # noqa: BLE001 - the records behind it are to be written too
                with self._lock:
                    self.dropped += 1
                    self.last_error = str(error)
                    self.failing = True
            else:
                self.failing = False

    def _write(self, record: CallRecord, deadline_ms: int) -> None:
        if self._store is None:
            return
        now_ms = self._clock.epoch_ms()
        deadline_ms = max(deadline_ms, now_ms + 1_000)
        self._store.put_if(Put(record.to_item(now_ms // 1_000)), deadline_ms=deadline_ms)
