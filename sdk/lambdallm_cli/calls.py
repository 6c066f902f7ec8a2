"""`lambdallm calls`: what was asked, what it took, what it cost."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lambdallm import _settings
from lambdallm_cli import calls_read, calls_report
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

STATES = ("settled", "failed", "unknown", "intent", "unmetered")

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_NO, _OUTSIDE = 1, 3


def _since(_context: Any, _parameter: Any, value: str | None) -> int:
    """Return how many milliseconds a text like `90m` is long, 0 for none."""
    if value is None:
        return 0
    given = re.fullmatch(r"(\d+)([smhd])", value)
    if given is None:
        message = "write a number and s, m, h or d: 90m, 1h, 7d."
        raise click.BadParameter(message)
    return int(given[1]) * _UNITS_MS[given[2]]


_STORE = click.option("--store", help="The store's URL; by default LAMBDALLM_STORE.")
_FUNCTION = click.option("--function", metavar="NAME", help="The store of a deployed function.")
_REGION = click.option("--region", help="Where that function is.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one line for programs.")


@click.group()
def calls() -> None:
    """See the record of each model call."""


@calls.command(
    "list", epilog="Example: lambdallm calls list --since 1h --state unknown --function chat"
)
@_STORE
@_FUNCTION
@_REGION
@click.option("--since", "since_ms", callback=_since, help="Not older than that: 90m, 1h, 7d.")
@click.option("--state", type=click.Choice(STATES), help="Only those that ended so.")
@click.option("--model", default="", help="Only of models with this in their name.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@_JSON
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
    found = _read(lambda: calls_read.read_calls(url, wanted, _progress))
    if as_json:
        click.echo(json.dumps({"found": len(found), "calls": found[:limit]}, ensure_ascii=False))
    else:
        calls_report.show_calls(found[:limit], len(found))


@calls.command("show", epilog="Example: lambdallm calls show 3f0c9a… --json")
@click.argument("call_id", metavar="ID")
@_STORE
@_FUNCTION
@_REGION
@_JSON
def show_call(
    call_id: str, store: str | None, function: str | None, region: str | None, as_json: bool
) -> None:
    """Show all that is recorded of one call.

    Exits with 1 when there is no record of it.
    """
    url = _url(store, function, region)
    found = _read(lambda: calls_read.read_call(url, call_id))
    if found is None:
        click.echo(f"There is no record of a call {call_id!r}.", err=True)
        sys.exit(_NO)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        calls_report.show_call(found)


def _url(store: str | None, function: str | None, region: str | None) -> str:
    """Return which store is meant: the option's, the function's, or this machine's."""
    if store is not None and function is not None:
        message = "Give --store or --function, not both."
        raise click.UsageError(message)
    if function is None:
        return store or _settings.environ_with({}).get(names.ENVIRONMENT_STORE, "").strip()
    return _read(lambda: calls_read.store_of_function(function, region))


def _read(call: Callable[[], T]) -> T:
    """Read something outside, and exit with what its failure means."""
    try:
        return call()
    except calls_read.UsageError as error:
        raise click.UsageError(str(error)) from error
    except calls_read.UnreachableError as error:
        click.echo(str(error), err=True)
        sys.exit(_OUTSIDE)
    except ModuleNotFoundError as error:
        if error.name not in ("boto3", "botocore"):
            raise
        message = f"DynamoDB is read with {error.name}: pip install 'lambdallm[cli]'"
        raise click.UsageError(message) from error


def _progress(records: int) -> None:
    """Say how far a table was read, on one line where somebody looks at it."""
    click.echo(f"\r{records:,} records read", nl=not sys.stderr.isatty(), err=True)
