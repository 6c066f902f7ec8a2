"""What was spent, by day, by a name that calls belong to, or by session."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdallm_cli.cost_forecast import DAYS_MAX, forecast
from lambdallm_wire.tokens import NO_USAGE, input_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lambdallm_cli.cost_forecast import Forecast

Amounts = dict[str, int]

FIELDS = (
    "calls",
    "cost_pico_usd",
    "input_tokens",
    "output_tokens",
    "unpriced",
    "unknown",
    "unknown_pico_usd",
)

NONE = "(none)"
"""Of calls that have no such name."""


class Beside(NamedTuple):
    """What is spent beside models, in pico-USD: by Lambda, as far as it was told, and by us."""

    compute_pico_usd: int = 0
    overhead_pico_usd: int = 0
    invocations: int = 0


class Row(NamedTuple):
    """One line of a report; what is beside is None where nobody knows whose it is."""

    name: str
    amounts: Amounts
    beside: Beside | None = None

    @property
    def whole_pico_usd(self) -> int:
        """All that is known of it."""
        beside = self.beside or Beside()
        cost = self.amounts["cost_pico_usd"]
        return cost + beside.compute_pico_usd + beside.overhead_pico_usd


class Span(NamedTuple):
    """Days of a report (UTC), both included, and which one is today."""

    first: date
    last: date
    today: date

    @property
    def needed_from(self) -> date:
        """The first day that has to be read, for the month and its forecast, too."""
        return min(self.first, self.today.replace(day=1), self.today - timedelta(days=DAYS_MAX))

    @property
    def first_epoch_ms(self) -> int:
        """When it begins."""
        begins = datetime(self.first.year, self.first.month, self.first.day, tzinfo=timezone.utc)
        return round(begins.timestamp() * 1_000)


def nothing() -> Amounts:
    """Return amounts of no call."""
    return dict.fromkeys(FIELDS, 0)


def total_of(amounts: Iterable[Mapping[str, int]]) -> Amounts:
    """Add amounts up."""
    total = nothing()
    for each in amounts:
        for field in FIELDS:
            total[field] += each[field]
    return total


def by_day(days: Sequence[Mapping[str, Any]], span: Span) -> list[Row]:
    """Return a row for each day, those without a call too, from the first one with a call on."""
    known = {day["day"]: day["total"] for day in days}
    beside = {day["day"]: beside_of(day) for day in days}
    if not known:
        return []
    first = max(span.first, date.fromisoformat(min(known)))
    count = (span.last - first).days + 1
    names = [(first + timedelta(days=number)).isoformat() for number in range(count)]
    return [
        Row(name, {**nothing(), **known.get(name, {})}, beside.get(name, Beside()))
        for name in names
    ]


def by_name(days: Sequence[Mapping[str, Any]], dimension: str) -> list[Row]:
    """Return a row for each name of a dimension, the dearest first, and one of what has none."""
    sums: dict[str, list[Mapping[str, int]]] = defaultdict(list)
    for day in days:
        for name, amounts in day["by"].get(dimension, {}).items():
            sums[name].append(amounts)
    beside = _by_function(days) if dimension == "function" else {}
    rows = _dearest([Row(name, total_of(each), beside.get(name)) for name, each in sums.items()])
    whole, named = total_of(day["total"] for day in days), total_of(row.amounts for row in rows)
    rest = {field: whole[field] - named[field] for field in FIELDS}
    return [*rows, Row(NONE, rest)] if rest["calls"] else rows


def beside_of(day: Mapping[str, Any]) -> Beside:
    """Return what a day has of it."""
    return Beside(*(sum(each.get(field, 0) for each in day["functions"].values())
                    for field in Beside._fields))  # fmt: skip


def add_up(parts: Iterable[Beside | None]) -> Beside:
    """Return all of it together."""
    known = [part for part in parts if part is not None]
    return Beside(*map(sum, zip(*known, strict=True))) if known else Beside()


def _by_function(days: Sequence[Mapping[str, Any]]) -> dict[str, Beside]:
    sums: dict[str, Beside] = {}
    for day in days:
        for name, told in day["functions"].items():
            part = Beside(*(told.get(field, 0) for field in Beside._fields))
            sums[name] = add_up((sums.get(name), part))
    return sums


def by_session(calls: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return a row for each session of calls' records, the dearest first.

    A session's name is its id, and whose it is where it has an owner: `ada of jwt:7`.
    """
    sums: dict[str, list[Mapping[str, int]]] = defaultdict(list)
    for call in calls:
        if call.get("state") in ("settled", "unknown", "unmetered"):
            sums[_session_of(call)].append(_amounts_of(call))
    rows = _dearest([Row(name, total_of(each)) for name, each in sums.items() if name != NONE])
    return [*rows, Row(NONE, total_of(sums[NONE]))] if NONE in sums else rows


def month_forecast(
    days: Sequence[Mapping[str, Any]], today: date, *, whole: bool = False
) -> Forecast | None:
    """Return what this month will come to, None where too few days are known.

    Args:
        days: All that are known.
        today: Which one it is.
        whole: What is beside models' calls, too.
    """
    known = {date.fromisoformat(day["day"]): _spent_on(day, whole=whole) for day in days}
    if not known:
        return None
    start, first = today.replace(day=1), min(known)
    complete = [
        known.get(first + timedelta(days=number), 0) for number in range((today - first).days)
    ]
    before = sum(cost for day, cost in known.items() if start <= day < today)
    following = (start + timedelta(days=32)).replace(day=1)
    return forecast(complete, before, known.get(today, 0), (following - today).days - 1)


def _spent_on(day: Mapping[str, Any], *, whole: bool) -> int:
    row = Row(day["day"], day["total"], beside_of(day) if whole else None)
    return row.whole_pico_usd


def _dearest(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-row.whole_pico_usd, row.name))


def _session_of(call: Mapping[str, Any]) -> str:
    session, user = call.get("session"), call.get("user")
    return NONE if not session else f"{session} of {user}" if user else str(session)


def _amounts_of(call: Mapping[str, Any]) -> Amounts:
    cost, settled = call.get("cost_pico_usd"), call["state"] == "settled"
    usage: Any = {kind: int(call.get(kind, 0)) for kind in NO_USAGE}
    unknown = call["state"] == "unknown"
    return {
        "calls": 1,
        "cost_pico_usd": int(cost or 0),
        "input_tokens": input_tokens(usage),
        "output_tokens": usage["output_tokens"],
        "unpriced": int(not unknown and (not settled or cost is None)),
        "unknown": int(unknown),
        "unknown_pico_usd": int(call.get("reserved_pico_usd", 0)) if unknown else 0,
    }
