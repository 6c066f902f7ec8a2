"""`lambdallm cost`: what was spent, on what, and what the month will come to."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from lambdallm import _errors, _settings
from lambdallm_cli import calls_read, cost_sums, options
from lambdallm_cli.account_store import AccountStore
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_cli.cost_sums import Row, Span

RECORD_DAYS = 35
"""So long calls' records are kept, which say their sessions."""

_NAMED = ("model", "function", "tenant", "user")


@click.command(
    epilog="Examples: lambdallm cost; lambdallm cost --month --by model; "
    "lambdallm cost --days 7 --by tag:team --csv > teams.csv"
)
@click.option("--days", type=click.IntRange(1, 365), default=30, show_default=True,
              help="Up to today, in UTC.")  # fmt: skip
@click.option("--month", is_flag=True, help="This month, in the place of --days.")
@click.option("--by", default="day", show_default=True,
              help="day, model, function, tenant, user, session or tag:NAME.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), default=40, show_default=True,
              help="Rows of the table, the dearest; of days all are shown.")  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV.")
@options.store
@options.function
@options.region
@options.as_json
def cost(  # noqa: PLR0913, PLR0917 - one for each option
    days: int,
    month: bool,
    by: str,
    limit: int,
    as_csv: bool,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Say what was spent.

    Days are UTC's. Calls without a known price are counted as unpriced, and those whose answers
    were lost as unknown: they may have been billed. `--by session` reads all calls' records, which
    are kept for 35 days.
    """
    if as_csv and as_json:
        message = "Give --csv or --json, not both."
        raise click.UsageError(message)
    if by not in ("day", "session", *_NAMED) and not (by.startswith("tag:") and by != "tag:"):
        message = f"--by is day, {', '.join(_NAMED)}, session or tag:NAME, not {by!r}."
        raise click.UsageError(message)
    report = options.tables("cost_report")
    variables = options.variables_of(store, function, region)
    span = _span(days, month=month)
    known = _read(variables, span)
    shown = [day for day in known if day["day"] >= span.first.isoformat()]
    if by == "session":
        rows = _sessions(variables, span)
    else:
        rows = cost_sums.by_day(shown, span) if by == "day" else cost_sums.by_name(shown, by)
    beside = cost_sums.add_up(map(cost_sums.beside_of, shown))
    found = report.Report(
        by=by,
        span=span,
        rows=rows,
        total=cost_sums.total_of(row.amounts for row in rows),
        beside=beside,
        forecast=cost_sums.month_forecast(known, span.today, whole=bool(beside.invocations)),
    )
    if as_json:
        click.echo(report.to_json(found))
    elif as_csv:
        report.write_csv(found, sys.stdout)
    else:
        report.show(found, limit if by != "day" else len(rows))


def _span(days: int, *, month: bool) -> Span:
    today = datetime.fromtimestamp(_settings.epoch_ms() / 1_000, tz=timezone.utc).date()
    first = today.replace(day=1) if month else today - timedelta(days=days - 1)
    return cost_sums.Span(first, today, today)


def _read(variables: dict[str, str], span: Span) -> list[dict[str, Any]]:
    with closing(options.reached(lambda: AccountStore(variables))) as opened:
        first, last = span.needed_from.isoformat(), span.last.isoformat()
        try:
            return options.reached(lambda: opened.spending(first, last))
        except _errors.InvalidRequestError as error:
            raise click.UsageError(error.detail) from error


def _sessions(variables: dict[str, str], span: Span) -> Sequence[Row]:
    kept_from = span.today - timedelta(days=RECORD_DAYS)
    if span.first < kept_from:
        click.echo(f"Records of calls go back to {_iso(kept_from)}, no further.", err=True)
    url = variables.get(names.ENVIRONMENT_STORE, "").strip()
    wanted = calls_read.Filter(span.first_epoch_ms)
    calls = options.reached(lambda: calls_read.read_calls(url, wanted, _progress))
    return cost_sums.by_session(calls)


def _progress(records: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{records:,} records read", nl=False, err=True)


def _iso(day: date) -> str:
    return day.isoformat()
