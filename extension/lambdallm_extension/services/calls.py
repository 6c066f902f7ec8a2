"""One model call in the books: its record from intent to its end, and its unit's totals.

intend ──► settle      tokens and cost are known, or estimated where the answer was cut
├─► fail        the provider refused: it costs nothing
└─► unknown     the answer was lost: it may have been billed
"""

from __future__ import annotations

from functools import partial
from threading import Lock

from lambda_runtime_api.declarations import NamedTuple, cast
from lambdallm_extension import errors
from lambdallm_extension.domain.day_sheets import Counted
from lambdallm_extension.ports import Used
from lambdallm_extension.services.metering import CallRecord
from lambdallm_wire import plain_json
from lambdallm_wire.tokens import input_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm_extension.domain.answers import ChatAnswer
    from lambdallm_extension.ports import Clock, Prices, Value
    from lambdallm_extension.services.budgets import Reservation
    from lambdallm_extension.services.day_sheets import DaySheets
    from lambdallm_extension.services.metering import Recorder, Totals
    from lambdallm_extension.services.model_health import Candidate
    from lambdallm_extension.services.run_calls import RunCall
    from lambdallm_extension.services.spending import Spending

    Body = Callable[[Candidate | None], Any]

FAULT = "Fault"
"""How a call ended that a fault of ours has broken off, after it may have been sent."""

THROTTLED = 429

RAW_USAGE_MAX_CHARACTERS = 2_000
"""Of the provider's own words about usage; the longest known are about 600."""


class Settled(NamedTuple):
    """What a call came to; the cost is None where nobody knows the price."""

    cost_pico_usd: int | None
    latency_ms: int
    estimated: bool = False


class Books:
    """Where calls are booked: prices, and the writer of records."""

    def __init__(
        self,
        recorder: Recorder,
        prices: Prices,
        clock: Clock,
        environment_id: Callable[[], str],
        spending: Spending | None = None,
        sheets: DaySheets | None = None,
    ) -> None:
        """Keep what every call needs.

        Without `spending` every call may be made; without `sheets` no day's sum is kept.
        """
        self.spending = spending
        self.sheets = sheets
        self.recorder = recorder
        self.prices = prices
        self.clock = clock
        self.environment_id = environment_id

    def open(  # noqa: PLR0913 - what every call is
        self,
        call_id: str,
        work_id: str,
        totals: Totals,
        *,
        deadline_ms: int,
        operation: str,
        body: Body | None = None,
        run: RunCall | None = None,
    ) -> Call:
        """Open a call; nothing is written before it is intended.

        Args:
            call_id: The key of its record, made before the first attempt.
            work_id: Whose it is, "" where nobody knows.
            totals: Of that unit of work.
            deadline_ms: For the writing of records, epoch milliseconds.
            operation: `chat`, `embeddings`, or `unmetered`.
            body: Returns the request, as a candidate gets it, from which the most that it can cost
                is reckoned; None where nobody can read it.
            run: The same call as its run sees it, which writes the intent; None without a run.
        """
        return Call(self, call_id, work_id, totals, deadline_ms, operation, body, run)


class Call:
    """One call. It ends once: whatever comes after its end is not counted again."""

    def __init__(  # noqa: PLR0913, PLR0917 - see `Books.open`, which alone makes one
        self,
        books: Books,
        call_id: str,
        work_id: str,
        totals: Totals,
        deadline_ms: int,
        operation: str,
        body: Body | None = None,
        run: RunCall | None = None,
    ) -> None:
        self._body = body
        self.run = run
        self.call_id = call_id
        self.totals = totals
        self.attempts = 0
        self._books = books
        self.work_id = work_id
        self._deadline_ms = deadline_ms
        self._operation = operation
        self._started_ms = books.clock.epoch_ms()
        self._lock = Lock()
        self._ended = False
        self._reservation: Reservation | None = None
        self._scopes: Mapping[str, str] = {}
        self._wanted = ""

    def intend(
        self,
        model: str,
        candidate: Candidate | None = None,
        *,
        region: str = "",
        free: bool = False,
    ) -> None:
        """Say that a model is about to be asked, for the first time or again.

        Args:
            model: `provider/model`.
            candidate: Who is asked, where there are several.
            region: Where, if no candidate says it; "" for the environment's own.
            free: Nothing is generated, so that no budget is asked.

        Raises:
            BudgetExceededError, StoreError: It may not be asked.
        """
        self._let_go(lost=False)  # of an attempt that never came to be sent
        self._scopes = self.totals.scopes()
        if self.run is not None:
            self._scopes = {**self._scopes, "run": self.run.run_id}
        reserved: dict[str, Value] = {}
        self._books.prices.prepare(model)  # a budget refuses what nobody knows the price of
        spending, body = self._books.spending, self._body
        region = region if candidate is None else candidate.region
        asked = None if body is None else lambda: body(candidate)
        if spending is not None and not free:
            self._reservation = self._admit(spending, model, asked, region)
            if self._reservation is not None:
                reserved = {"reserved_pico_usd": self._reservation.pico_usd}
        self.attempts += 1
        if self.run is None:
            self._record(model, "intent", **reserved)
        else:
            self._intend_in(self.run, model, asked, region, reserved)

    def _intend_in(
        self,
        run: RunCall,
        model: str,
        asked: Callable[[], Any] | None,
        region: str,
        reserved: dict[str, Value],
    ) -> None:
        """Let the run write the intent, which is waited for; without it nobody is asked."""
        spending = self._books.spending
        most = reserved.get("reserved_pico_usd")
        if most is None and spending is not None:
            most = spending.most(model, asked, region)
        record = self._make_record(model, "intent", reserved)
        item = record.to_item(self._books.clock.epoch_ms() // 1_000)
        run.intend(model, cast("int | None", most), item)

    def _admit(
        self, spending: Spending, model: str, body: Callable[[], Any] | None, region: str
    ) -> Reservation | None:
        try:
            reservation = spending.admit(
                model, body, self._scopes, region=region, deadline_ms=self._deadline_ms
            )
        except errors.BudgetExceededError:
            self.totals.note_budgets(spending.percent(self._scopes, model), blocked=True)
            raise
        if reservation is not None:
            self.totals.note_budgets(reservation.percent, blocked=False)
        return reservation

    def downgrade(self, wanted: str) -> None:
        """Know that a cheaper model is asked than the one that was wanted."""
        self._wanted = wanted
        self.totals.downgrade()

    def refused(self, error: errors.ProviderError) -> None:
        """Count an attempt that failed; the call goes on."""
        self.totals.fail(throttled=error.status == THROTTLED)
        self._let_go(lost=not error.answered_no)

    def exchange_reservations(self, other: Call) -> None:
        """Take what another call of the same question has reserved, which has answered for it."""
        self._reservation, other._reservation = other._reservation, self._reservation

    def settle(
        self,
        model: str,
        answer: ChatAnswer,
        *,
        region: str = "",
        estimated: bool = False,
        error: str = "",
    ) -> Settled:
        """Book what was used.

        Args:
            model: Under which name it was asked.
            answer: With the usage, and with the id that the price goes by.
            region: Where it was asked, "" for the environment's own.
            estimated: Whether the usage is an estimate, because the answer was cut.
            error: How it was cut.
        """
        cost = answer.cost_pico_usd
        told = cost is not None or answer.raw_usage is not None
        if cost is None and (told or any(answer.usage.values())):
            used = Used(answer.usage, answer.service_tier, answer.raw_usage)
            cost = self._books.prices.cost_pico_usd(
                model, answer.model, used, epoch_ms=self._started_ms, region=region
            )
        latency_ms = self._books.clock.epoch_ms() - self._started_ms
        if self._end():
            if cost is None or estimated or not told:  # of a question, nobody can tell from it
                self._let_go(lost=True)
            elif self._reservation is not None:
                self._reservation.settle(cost)
            self.totals.settle(model, answer.usage, cost, latency_ms)
            self._count(
                model,
                Counted(
                    calls=1,
                    cost_pico_usd=cost or 0,
                    input_tokens=input_tokens(answer.usage),
                    output_tokens=answer.usage["output_tokens"],
                    unpriced=int(cost is None),
                ),
            )
            facts: dict[str, Value] = {
                "latency_ms": latency_ms,
                "finish_reason": answer.finish_reason,
                "provider_request_id": answer.provider_request_id,
                "cost_pico_usd": cost,
                **cast("dict[str, Value]", answer.usage),
            }
            if estimated:
                facts["estimated"] = True
            if error:
                facts["error"] = error
                if self.run is not None:
                    self.run.cut(cost, answer.text)
            if answer.service_tier:
                facts["service_tier"] = answer.service_tier
            if answer.raw_usage is not None:
                raw = plain_json.dumps(answer.raw_usage, ensure_ascii=True, allow_nan=True)
                facts["raw_usage"] = raw[:RAW_USAGE_MAX_CHARACTERS]
            self._record_settled(model, facts)
        return Settled(cost, latency_ms, estimated)

    def fail(self, model: str, error: errors.ExtensionError) -> None:
        """Book that no answer came: it costs nothing, or nobody knows what."""
        state, reason = "failed", error.code
        if isinstance(error, errors.ProviderError):
            state = "failed" if error.answered_no else "unknown"
            reason = error.kind or str(error.status)
        if self._end():
            self._let_go(lost=state == "unknown")
            if self.run is not None:
                self.run.fail(lost=state == "unknown")
            if state == "unknown":
                self.totals.lose(model)
                held = 0 if self._reservation is None else self._reservation.pico_usd
                self._count(model, Counted(calls=1, unknown=1, unknown_pico_usd=held))
            self._record(model, state, error=reason)

    def break_off(self, model: str, error: BaseException) -> None:
        """Book that no answer came, for whatever reason; after a fault of ours it may be billed."""
        if not isinstance(error, errors.ExtensionError):
            error = errors.ProviderError("It may be billed.", kind=FAULT)
        self.fail(model, error)

    def pass_unmetered(self, model: str) -> None:
        """Book that a request went through whose answer nobody reads for its usage."""
        if self._end():
            self._let_go(lost=True)
            self._count(model, Counted(calls=1, unpriced=1))
            self._record(model, "unmetered")

    @property
    def ended(self) -> bool:
        """Whether it is booked."""
        return self._ended

    def _let_go(self, *, lost: bool) -> None:
        """End a reservation: it cost nothing, or nobody knows what."""
        if self._reservation is None:
            return
        if lost:
            self._reservation.lose()
        else:
            self._reservation.release()

    def _end(self) -> bool:
        with self._lock:
            ended, self._ended = self._ended, True
        return not ended

    def _count(self, model: str, counted: Counted) -> None:
        """Add it to the day's sums, for reports."""
        if self._books.sheets is not None:
            belongs = {**self._scopes, "model": model}
            belongs.pop("session", None)  # its calls' records say it
            self._books.sheets.book(belongs, counted)

    def _record(self, model: str, state: str, **facts: Value) -> None:
        record = self._make_record(model, state, facts)
        self._books.recorder.record(record, deadline_ms=self._deadline_ms)

    def _record_settled(self, model: str, facts: Mapping[str, Value]) -> None:
        """Write what it came to; in a run that travels with what is written next."""
        if self.run is None:
            self._record(model, "settled", **facts)
            return
        record = self._make_record(model, "settled", facts)
        write = partial(self._books.recorder.record, record, deadline_ms=self._deadline_ms)
        item = record.to_item(self._books.clock.epoch_ms() // 1_000)
        self.run.run.records.carry(item, write)

    def _make_record(self, model: str, state: str, facts: Mapping[str, Value]) -> CallRecord:
        attributes: dict[str, Value] = {
            "model": model,
            "operation": self._operation,
            "work": self.work_id,
            "environment": self._books.environment_id(),
            "at": self._books.clock.epoch_ms(),
            "attempts": self.attempts,
            **facts,
        }
        if "session" in self._scopes:
            attributes["session"] = self._scopes["session"]
            attributes["user"] = self._scopes.get("user", "")
        if self.run is not None:
            attributes["run"] = self.run.run_id
        if self._wanted:
            attributes["asked"] = self._wanted
        return CallRecord(self.call_id, state, attributes)
