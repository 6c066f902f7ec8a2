"""`lambdallm calls`: what was asked, what it took, what it cost."""

from __future__ import annotations

import json
import sys

import click

from lambdallm import _settings
from lambdallm_cli import calls_read, calls_report, options
from lambdallm_wire import names

STATES = ("settled", "failed", "unknown", "intent", "unmetered")


@click.group()
def calls() -> None:
    """See the record of each model call."""


@calls.command(
    "list", epilog="Example: lambdallm calls list --since 1h --state unknown --function chat"
)
@options.store
@options.function
@options.region
@click.option("--since", "since_ms", callback=options.ago, help="Not older than that: 90m, 1h, 7d.")
@click.option("--state", type=click.Choice(STATES), help="Only those that ended so.")
@click.option("--model", default="", help="Only of models with this in their name.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@options.as_json
def list_calls(  # noqa: PLR0913, PLR0917 - one for each option
    store: str | None,
    function: str | None,
    region: str | None,
    since_ms: int,
    state: str | None,
    model: str,
    limit: int,
    as_json: bool,
) -> None:
    """List the newest calls: tokens, cost, latency, attempts, how they ended.

    `intent` is a call that nobody has settled: it is under way, or its environment has ended;
    the answer of an `unknown` one was lost, so that it may be billed. A table is read whole.
    """
    url = _url(store, function, region)
    since = _settings.epoch_ms() - since_ms if since_ms else 0
    wanted = calls_read.Filter(since, state or "", model)
    found = options.reached(lambda: calls_read.read_calls(url, wanted, _progress))
    if as_json:
        click.echo(json.dumps({"found": len(found), "calls": found[:limit]}, ensure_ascii=False))
    else:
        calls_report.show_calls(found[:limit], len(found))


@calls.command("show", epilog="Example: lambdallm calls show 3f0c9a… --json")
@click.argument("call_id", metavar="ID")
@options.store
@options.function
@options.region
@options.as_json
def show_call(
    call_id: str, store: str | None, function: str | None, region: str | None, as_json: bool
) -> None:
    """Show all that is recorded of one call.

    Exits with 1 when there is no record of it.
    """
    url = _url(store, function, region)
    found = options.reached(lambda: calls_read.read_call(url, call_id))
    if found is None:
        click.echo(f"There is no record of a call {call_id!r}.", err=True)
        sys.exit(options.NO)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        calls_report.show_call(found)


def _url(store: str | None, function: str | None, region: str | None) -> str:
    """Return which store is meant: the option's, the function's, or this machine's."""
    variables = options.variables_of(store, function, region)
    return variables.get(names.ENVIRONMENT_STORE, "").strip()


def _progress(records: int) -> None:
    """Say how far a table was read, on one line where somebody looks at it."""
    click.echo(f"\r{records:,} records read", nl=not sys.stderr.isatty(), err=True)
