"""What was spent, for people, spreadsheets and programs."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from lambdallm._messages import PICO_USD
from lambdallm_cli.cost_sums import FIELDS, total_of
from lambdallm_cli.figures import DECIMALS_MAX, counted, decimals_for, money, printable, usd
from lambdallm_cli.terminal import WIDE_FROM, console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from rich.console import Console

    from lambdallm_cli.cost_forecast import Forecast
    from lambdallm_cli.cost_sums import Amounts, Row, Span

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
    overhead_pico_usd: int
    forecast: Forecast | None


def to_json(report: Report) -> str:
    """Write it on one line.

    Shape: {"by": "day", "first_day": "2026-11-01", "last_day": "2026-11-21", "rows": [{"name":
            "2026-11-01", "calls": 3, "cost_pico_usd": 14750000, "cost_usd": "0.00001475", …}],
            "total": {…}, "overhead_usd": "0.000002", "forecast": {"month": "2026-11",
            "expected_usd": "0.5", "low_usd": "0.4", "high_usd": "0.6", "days_used": 14}}
    """
    forecast = report.forecast and {
        "month": f"{report.span.today:%Y-%m}",
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
            "rows": [{"name": row.name, **_with_usd(row.amounts)} for row in report.rows],
            "total": _with_usd(report.total),
            "overhead_usd": usd(report.overhead_pico_usd),
            "forecast": forecast,
        },
        ensure_ascii=False,
    )


def write_csv(report: Report, file: TextIO) -> None:
    """Write a head and a row for each name; USD with all digits."""
    counts = [field for field in FIELDS if not field.endswith("_pico_usd")]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([report.by, *counts, "cost_usd", "unknown_usd"])
    for name, amounts in report.rows:
        safe = f"'{name}" if name.startswith(_FORMULA) else name
        money_of = (usd(amounts["cost_pico_usd"]), usd(amounts["unknown_pico_usd"]))
        writer.writerow([safe, *(amounts[field] for field in counts), *money_of])


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
    if report.overhead_pico_usd:
        screen.print(
            f"lambdallm itself: {money(report.overhead_pico_usd)} for its store and log (prices of "
            "us-east-1), not in the table."
        )
    if report.by == "session":
        screen.print("From the records of calls: those that were dropped are not in it.")
    _show_forecast(screen, report)


def _table(report: Report, limit: int, *, wide: bool) -> Table:
    rows, rest = [*report.rows[:limit]], report.rows[limit:]
    lines = [(printable(row.name), row.amounts) for row in rows]
    if rest:
        others = f"{counted(len(rest), 'other')} together"
        lines.append((others, total_of(row.amounts for row in rest)))
    whole, most = report.total["cost_pico_usd"], max(each["cost_pico_usd"] for _, each in lines)
    columns = _columns(report.total, decimals_for(most), wide=wide)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column(report.by, "total", overflow="fold")
    for head, write in columns:
        cells = [head, write(report.total), *(write(amounts) for _, amounts in lines)]
        width = max(map(len, cells))
        table.add_column(head, cells[1], justify="right", no_wrap=True, min_width=width)
    table.add_column("", "", justify="right", no_wrap=True, min_width=len("100 %"))
    if wide:
        table.add_column("", "", no_wrap=True)
    for name, amounts in lines:
        cost = amounts["cost_pico_usd"]
        share = f"{cost * 100 / whole:.0f} %" if whole else ""
        bar = [Text(_bar(cost, most), style="cyan")] if wide else []
        table.add_row(name, *(write(amounts) for _, write in columns), share, *bar)
    return table


def _columns(
    total: Amounts, decimals: int, *, wide: bool
) -> list[tuple[str, Callable[[Amounts], str]]]:
    """Return what stands in each column; of what nobody knows there are some, where it is."""

    def number(field: str) -> Callable[[Amounts], str]:
        return lambda amounts: f"{amounts[field]:,}" if wide else _short(amounts[field])

    unsure = [field for field in ("unpriced", "unknown") if wide and total[field]]
    return [
        ("calls", number("calls")),
        *((field, number(field)) for field in unsure),
        ("input", number("input_tokens")),
        ("output", number("output_tokens")),
        ("cost", lambda amounts: money(amounts["cost_pico_usd"], decimals)),
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


def _with_usd(amounts: Amounts) -> dict[str, Any]:
    return {**amounts, "cost_usd": usd(amounts["cost_pico_usd"])}
