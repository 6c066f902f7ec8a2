"""What was spent, for people, spreadsheets and programs."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from lambdallm._messages import PICO_USD
from lambdallm_cli.cost_sums import FIELDS, Beside, Row, add_up, total_of
from lambdallm_cli.figures import DECIMALS_MAX, counted, decimals_for, money, printable
from lambdallm_cli.terminal import WIDE_FROM, console
from lambdallm_wire.money import usd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from rich.console import Console

    from lambdallm_cli.cost_forecast import Forecast
    from lambdallm_cli.cost_sums import Amounts, Span

    _Write = Callable[[Row], str]

BAR_WIDTH = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets compute: such a name gets an apostrophe before it."""


class Report(NamedTuple):
    """All that is said."""

    by: str
    span: Span
    rows: Sequence[Row]
    total: Amounts
    beside: Beside
    forecast: Forecast | None

    @property
    def is_whole(self) -> bool:
        """Whether it has what is spent beside models, and knows whose it is."""
        return bool(self.beside.invocations) and self.by in ("day", "function")


def to_json(report: Report) -> str:
    """Write it on one line.

    Shape: {"by": "day", "first_day": "2026-11-01", "last_day": "2026-11-21", "rows": [{"name":
            "2026-11-01", "calls": 3, "cost_pico_usd": 14750000, "cost_usd": "0.00001475", …,
            "invocations": 2, "compute_usd": "0.00002", "overhead_usd": "0.000002", "total_usd":
            "0.00003675"}], "total": {…}, "overhead_usd": "0.000002", "forecast": {"month":
            "2026-11", "of": "total", "expected_usd": "0.5", "low_usd": "0.4", "high_usd": "0.6",
            "days_used": 14}}
    By anything but days and functions nobody knows what is beside models: rows do without. The
    forecast is of `total`, or, where Lambda told nothing, of `models`.
    """
    forecast = report.forecast and {
        "month": f"{report.span.today:%Y-%m}",
        "of": "total" if report.beside.invocations else "models",
        "expected_usd": usd(report.forecast.expected),
        "low_usd": usd(report.forecast.low),
        "high_usd": usd(report.forecast.high),
        "days_used": report.forecast.days_used,
    }
    return json.dumps(
        {
            "by": report.by,
            "first_day": report.span.first.isoformat(),
            "last_day": report.span.last.isoformat(),
            "rows": [
                {"name": row.name, **_with_usd(row.amounts), **_beside_usd(row)}
                for row in report.rows
            ],
            "total": {**_with_usd(report.total), **_beside_usd(_whole(report))},
            "overhead_usd": usd(report.beside.overhead_pico_usd),
            "forecast": forecast,
        },
        ensure_ascii=False,
    )


def write_csv(report: Report, file: TextIO) -> None:
    """Write a head and a row for each name; USD with all digits, nothing where nobody knows."""
    counts = [field for field in FIELDS if not field.endswith("_pico_usd")]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([report.by, *counts, "cost_usd", "unknown_usd", *_BESIDE])
    for row in report.rows:
        name, amounts = row.name, row.amounts
        safe = f"'{name}" if name.startswith(_FORMULA) else name
        money_of = (usd(amounts["cost_pico_usd"]), usd(amounts["unknown_pico_usd"]))
        beside = _beside_usd(row)
        further = (beside.get(field, "") for field in _BESIDE)
        writer.writerow([safe, *(amounts[field] for field in counts), *money_of, *further])


def show(report: Report, limit: int) -> None:
    """Write a table, its total, what is not in it, and the month's forecast."""
    screen = console()
    if not report.rows:
        screen.print("Nothing was spent, as far as this store knows.")
        return
    screen.print(_table(report, limit, wide=screen.width >= WIDE_FROM))
    unsure = _unsure(report.total)
    if unsure:
        screen.print(Text(unsure, style="yellow"))
    _show_beside(screen, report)
    if report.by == "session":
        screen.print("From the records of calls: those that were dropped are not in it.")
    _show_forecast(screen, report)


def _show_beside(screen: Console, report: Report) -> None:
    """Say what is beside models, and what of it is in the table."""
    beside = report.beside
    if not beside.invocations:
        if beside.overhead_pico_usd:
            screen.print(
                f"lambdallm itself: {money(beside.overhead_pico_usd)} for its store and log "
                "(prices of us-east-1), not in the table."
            )
        return
    billed = counted(beside.invocations, "invocation")
    if report.is_whole:
        screen.print(
            f"compute: {billed} as Lambda bills them, before free tier and savings plans, without "
            "what is paid by the hour. lambdallm: its store and log, prices of us-east-1."
        )
    else:
        screen.print(
            f"Not in the table: {money(beside.compute_pico_usd)} of Lambda for {billed}, "
            f"{money(beside.overhead_pico_usd)} for lambdallm's store and log."
        )


def _table(report: Report, limit: int, *, wide: bool) -> Table:
    rows, rest = [*report.rows[:limit]], report.rows[limit:]
    lines = [row._replace(name=printable(row.name)) for row in rows]
    if rest:
        others = f"{counted(len(rest), 'other')} together"
        beside = add_up(row.beside for row in rest)
        lines.append(Row(others, total_of(row.amounts for row in rest), beside))
    total = _whole(report)
    if not report.is_whole:
        total, lines = total._replace(beside=None), [row._replace(beside=None) for row in lines]
    whole, most = total.whole_pico_usd, max(row.whole_pico_usd for row in lines)
    columns = _columns(report, decimals_for(most), wide=wide)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column(report.by, "total", overflow="fold")
    for head, write in columns:
        cells = [head, write(total), *map(write, lines)]
        width = max(map(len, cells))
        table.add_column(head, cells[1], justify="right", no_wrap=True, min_width=width)
    table.add_column("", "", justify="right", no_wrap=True, min_width=len("100 %"))
    if wide:
        table.add_column("", "", no_wrap=True)
    for row in lines:
        cost = row.whole_pico_usd
        share = f"{cost * 100 / whole:.0f} %" if whole else ""
        bar = [Text(_bar(cost, most), style="cyan")] if wide else []
        table.add_row(row.name, *(write(row) for _, write in columns), share, *bar)
    return table


def _columns(report: Report, decimals: int, *, wide: bool) -> list[tuple[str, _Write]]:
    """Return what stands in each column; of what nobody knows there are some, where it is."""

    def number(field: str) -> _Write:
        return lambda row: f"{row.amounts[field]:,}" if wide else _short(row.amounts[field])

    unsure = [field for field in ("unpriced", "unknown") if wide and report.total[field]]
    tokens = [("input", number("input_tokens")), ("output", number("output_tokens"))]
    columns = [
        ("calls", number("calls")),
        *((field, number(field)) for field in unsure),
        *(tokens if wide or not report.is_whole else []),
    ]
    if not report.is_whole:
        return [*columns, ("cost", lambda row: money(row.amounts["cost_pico_usd"], decimals))]

    def beside(field: int) -> _Write:
        return lambda row: money((row.beside or Beside())[field], decimals)

    return [
        *columns,
        ("models", lambda row: money(row.amounts["cost_pico_usd"], decimals)),
        ("compute", beside(0)),
        ("lambdallm", beside(1)),
        ("total", lambda row: money(row.whole_pico_usd, decimals)),
    ]


def _short(number: int) -> str:
    """Write a number in three digits or so: 812, 13.6M."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= max(unit, 10**4):
            return f"{number / unit:.1f}{letter}"
    return f"{number:,}"


def _bar(part: int, whole: int) -> str:
    """Draw a share, in eighths of a character; what is above nothing is seen."""
    eighths = max(part * BAR_WIDTH * 8 // whole, 1) if part > 0 and whole else 0
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _unsure(total: Amounts) -> str:
    """Say what the sum does not hold, "" where it holds everything."""
    said = []
    if total["unpriced"]:
        said.append(f"{counted(total['unpriced'], 'call')} without a known price")
    if total["unknown"]:
        most = total["unknown_pico_usd"]
        bound = f" (up to {money(most)}, where a budget held it)" if most else ""
        said.append(f"{counted(total['unknown'], 'lost answer')}, perhaps billed{bound}")
    return f"Not in it: {', and '.join(said)}." if said else ""


def _show_forecast(screen: Console, report: Report) -> None:
    month = f"{report.span.today:%B %Y}"
    forecast = report.forecast
    if forecast is None:
        screen.print(f"{month}: too few days for a forecast.")
        return
    decimals = 2 if forecast.high >= PICO_USD else DECIMALS_MAX
    expected, low, high = (money(each, decimals) for each in forecast[:3])
    screen.print(
        Text.assemble(
            f"{month} will come to ",
            (expected, "bold"),
            f", between {low} and {high} (from the last {forecast.days_used} complete days).",
        )
    )


def _whole(report: Report) -> Row:
    known = report.by in ("day", "function")
    return Row("total", report.total, report.beside if known else None)


_BESIDE = ("invocations", "compute_usd", "overhead_usd", "total_usd")


def _beside_usd(row: Row) -> dict[str, Any]:
    """Return what is beside models, where somebody knows it, and all of it together."""
    if row.beside is None:
        return {}
    compute, overhead, invocations = row.beside
    known: dict[str, Any] = {"invocations": invocations, "overhead_usd": usd(overhead)}
    if invocations:
        known |= {"compute_usd": usd(compute), "total_usd": usd(row.whole_pico_usd)}
    return known


def _with_usd(amounts: Amounts) -> dict[str, Any]:
    return {**amounts, "cost_usd": usd(amounts["cost_pico_usd"])}
