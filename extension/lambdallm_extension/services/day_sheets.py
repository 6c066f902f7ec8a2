"""What environments have spent by day, for reports: one item each, written anew as sums grow.

Shape (money in pico-USD; `amounts` in the order of `domain.day_sheets.Counted`):
    SPEND#<day>  <environment>  {"schema": 1, "sequence": 9, "at": ms, "function": "chat",
                                "overhead": 912000, "total": [amounts],
                                "compute": 12446728, "invocations": 1,
                                "by": {"model": {"bedrock/…": [amounts]}, "tag:team": {…}}}

Sums only grow, and their sequence with them: writing twice, or late, changes nothing. Nobody waits
for it but the end of an invocation that is answered. Budgets do not read it.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.domain import day_sheets, keys
from lambdallm_extension.domain.day_sheets import Counted, DaySheet
from lambdallm_extension.ports import Condition, Item, Key, Put
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lambdallm_extension.domain.overhead import Overhead
    from lambdallm_extension.ports import Clock, Store, Value
    from lambdallm_wire.accounting import Amounts, DaySpending, FunctionSpending

WRITE_MS = 15_000
"""Between two writings, for each write unit that one takes: what a killed sidecar loses."""

WRITE_MS_MAX = 120_000

ENTRIES_OF_A_UNIT = 14
"""About so many entries make a write unit: 1 KB."""

KEPT_SECONDS = 400 * 86_400
"""A year can be compared with the one before."""

DAY_MS = 86_400_000

_FIRST_ORDINAL = 719_163
"""Of 1970-01-01, counted from the first day of the year 1."""

WAITING_MAX = 8
"""Days whose sheets a store has not taken; the oldest is given up then."""


class DaySheets:
    """One environment's sheets: today's, and others that are not written yet. Threads share it."""

    def __init__(
        self,
        store: Callable[[], Store | None],
        clock: Clock,
        environment_id: Callable[[], str],
        function_name: str,
        overhead: Overhead,
    ) -> None:
        """Begin with nothing.

        Args:
            store: Opens where they are written; None: nowhere.
            clock: Decides days.
            environment_id: Whose they are.
            function_name: Of the function.
            overhead: What lambdallm has caused here.
        """
        self._store = store
        self._clock = clock
        self._environment_id = environment_id
        self._function_name = function_name
        self._overhead = overhead
        self._lock = Lock()
        self._writing = Lock()
        self._sheets: list[DaySheet] = []
        self._written_ms = 0

    def book(self, belongs: Mapping[str, str], counted: Counted) -> None:
        """Count a call under the day of now."""
        with self._lock:
            self._today().add(belongs, counted)

    def book_compute(self, pico_usd: int) -> None:
        """Count an invocation that Lambda has billed, under the day on which it said so."""
        with self._lock:
            self._today().add_compute(pico_usd)

    def flush(self, deadline_ms: int, *, last: bool = False) -> None:
        """Write what has changed, unless that was done a moment ago.

        Args:
            deadline_ms: Epoch milliseconds.
            last: The environment ends.

        Raises:
            StoreError: Something was not written; it will be at the next time.
        """
        store = self._store() if self._sheets else None
        if store is None or not self._writing.acquire(blocking=last):
            return
        try:
            for sheet in [*self._sheets]:
                if sheet.changed and (last or self._is_due(sheet)):
                    self._write(sheet, store, deadline_ms)
            with self._lock:
                recent = self._sheets[-2:]  # a clock that is set back may need yesterday's
                self._sheets = [each for each in self._sheets if each.changed or each in recent]
        finally:
            self._writing.release()

    def _is_due(self, sheet: DaySheet) -> bool:
        now_ms = self._clock.epoch_ms()
        units = 1 + sheet.entries // ENTRIES_OF_A_UNIT
        passed_ms = now_ms - self._written_ms
        return not 0 <= passed_ms < min(WRITE_MS_MAX, WRITE_MS * units)

    def _today(self) -> DaySheet:
        day = self._clock.epoch_ms() // DAY_MS
        if not self._sheets or self._sheets[-1].day != day:
            overhead = 0  # the first one has what was caused before its first call, too
            if self._sheets:
                overhead = self._overhead.pico_usd
                self._sheets[-1].overhead_after_pico_usd = overhead
            self._sheets.append(self._reopened(day, overhead) or DaySheet(day, overhead))
            del self._sheets[:-WAITING_MAX]
        return self._sheets[-1]

    def _reopened(self, day: int, overhead_pico_usd: int) -> DaySheet | None:
        """Take a sheet up again whose day has come back: the clock was set.

        What was caused between is another day's.
        """
        found = next((sheet for sheet in self._sheets if sheet.day == day), None)
        if found is not None:
            self._sheets.remove(found)
            found.overhead_before_pico_usd = overhead_pico_usd - self._overhead_of(found)
            found.overhead_after_pico_usd = None
        return found

    def _overhead_of(self, sheet: DaySheet) -> int:
        until = sheet.overhead_after_pico_usd
        until = self._overhead.pico_usd if until is None else until
        return until - sheet.overhead_before_pico_usd

    def _write(self, sheet: DaySheet, store: Store, deadline_ms: int) -> None:
        now_ms = self._clock.epoch_ms()
        with self._lock:
            sheet.changed = False
            sheet.sequence += 1
            attributes: dict[str, Value] = {
                "schema": names.ITEM_SCHEMA_VERSION,
                "sequence": sheet.sequence,
                "at": now_ms,
                "function": self._function_name,
                "overhead": self._overhead_of(sheet),
                "compute": sheet.compute_pico_usd,
                "invocations": sheet.invocations,
                "total": [*sheet.total],
                "by": {
                    dimension: {name: [*amounts] for name, amounts in ids.items()}
                    for dimension, ids in sheet.by.items()
                },
            }
        condition = Condition(at_most={"sequence": sheet.sequence - 1})
        key = Key(keys.spend_pk(day_name(sheet.day)), self._environment_id())
        item = Item(key, attributes, now_ms // 1_000 + KEPT_SECONDS)
        try:
            store.put_if(Put(item, condition), deadline_ms=deadline_ms)
        except errors.ConditionFailedError:
            return  # what stands there was written later
        except errors.StoreError:
            sheet.changed = True
            raise
        self._written_ms = now_ms


def day_name(day: int) -> str:
    """Return the name of a day since 1970 (UTC)."""
    from datetime import date

    return date.fromordinal(_FIRST_ORDINAL + day).isoformat()


def read(store: Store, first_day: str, last_day: str, deadline_ms: int) -> list[DaySpending]:
    """Return the days on which something was spent, in order, both ends included.

    Raises:
        StoreError: Nobody knows; or an item is not one that was written here.
        InvalidRequestError: These are no days, or too many.
    """
    found = []
    for day in _days(first_day, last_day):
        items = store.query(keys.spend_pk(day), "", deadline_ms=deadline_ms)
        if items:
            found.append(_summed(day, items))
    return found


def _days(first_day: str, last_day: str) -> Iterator[str]:
    from datetime import date, timedelta

    try:
        first, last = date.fromisoformat(first_day), date.fromisoformat(last_day)
    except ValueError:
        reason = f"{first_day!r} and {last_day!r} are not two days, such as 2026-11-21."
        raise errors.InvalidRequestError(reason) from None
    count = (last - first).days + 1
    if count * 86_400 > KEPT_SECONDS:
        reason = f"Spending is kept for {KEPT_SECONDS // 86_400} days, and {count} are asked for."
        raise errors.InvalidRequestError(reason)
    return ((first + timedelta(days=number)).isoformat() for number in range(count))


def _summed(day: str, items: list[Item]) -> DaySpending:
    total = day_sheets.amounts_of([*Counted()])
    by: dict[str, dict[str, Amounts]] = {}
    functions: dict[str, FunctionSpending] = {}
    for item in items:
        try:
            own = day_sheets.amounts_of(item.attributes.get("total"))
            _add_sheet(by, item.attributes, own)
            _add_function(functions, item.attributes)
        except (ValueError, AttributeError) as error:
            message = (
                f"The item pk={item.key.pk!r} sk={item.key.sk!r} holds no spending ({error}): "
                "mend or delete it."
            )
            raise errors.StoreRefusedError(message) from None
        total = day_sheets.sum_up(total, own)
    return {
        "day": day,
        "total": total,
        "by": by,
        "overhead_pico_usd": sum(each["overhead_pico_usd"] for each in functions.values()),
        "compute_pico_usd": sum(each["compute_pico_usd"] for each in functions.values()),
        "functions": functions,
        "environments": len(items),
    }


def _add_function(functions: dict[str, FunctionSpending], attributes: Mapping[str, Value]) -> None:
    """Add what a function has caused beside its calls; older sheets do not tell all of it."""
    sums = functions.setdefault(
        str(attributes.get("function", "")),
        {"compute_pico_usd": 0, "overhead_pico_usd": 0, "invocations": 0},
    )
    sums["compute_pico_usd"] += _whole(attributes.get("compute"))
    sums["overhead_pico_usd"] += _whole(attributes.get("overhead"))
    sums["invocations"] += _whole(attributes.get("invocations"))


def _whole(said: Value | None) -> int:
    return said if isinstance(said, int) else 0


def _add_sheet(
    by: dict[str, dict[str, Amounts]], attributes: Mapping[str, Value], own: Amounts
) -> None:
    told: Mapping[str, Mapping[str, object]] = attributes.get("by", {})  # type: ignore[assignment]
    function = str(attributes.get("function", ""))
    read = {
        dimension: {name: day_sheets.amounts_of(said) for name, said in ids.items()}
        for dimension, ids in told.items()
    }
    for dimension, ids in {**read, "function": {function: own}}.items():
        sums = by.setdefault(dimension, {})
        for name, amounts in ids.items():
            sums[name] = day_sheets.sum_up(sums[name], amounts) if name in sums else amounts
