"""`lambdallm sessions import`."""

from __future__ import annotations

import json
import math
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambdallm import _errors, _settings
from lambdallm_cli import options, sessions_asked, sessions_files, sessions_report
from lambdallm_cli.sessions_store import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdallm_cli.sessions_store import SessionStore

REFUSALS_MAX = 5
"""Without one that the store took: then it is the store that refuses, and not single sessions."""

_BY_THE_STORE = ("written", "exists")

_HOURS_MAX = 876_000
"""A century: what is meant to stay longer has no expiry, which a session always has."""


def _hours(_context: Any, _parameter: Any, value: float | None) -> int | None:
    """Return hours as seconds."""
    if value is None:
        return None
    if not math.isfinite(value) or not 1 <= value * 3_600 <= 3_600 * _HOURS_MAX:
        message = f"a second (0.0003) to {_HOURS_MAX:,} hours."
        raise click.BadParameter(message)
    return round(value * 3_600)


@click.command(
    "import",
    epilog="Examples: lambdallm sessions import sessions.jsonl --store dynamodb://TABLE; "
    "lambdallm sessions import --from-legacy lambdallm-sessions --ttl-hours 24",
)
@click.argument(
    "path",
    metavar="[FILE]",
    required=False,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@click.option("--from-legacy", "table", metavar="TABLE", help="The earlier package's table.")
@click.option("--owner", help="Put all of them in for this owner.")
@click.option(
    "--ttl-hours", "ttl_seconds", type=float, callback=_hours, help="Expire so long from now."
)
@click.option("--overwrite", is_flag=True, help="Replace sessions that are there.")
@sessions_asked.at_a_store
@options.as_json
def import_sessions(  # noqa: PLR0913, PLR0917 - one for each option
    path: Path | None,
    table: str | None,
    owner: str | None,
    ttl_seconds: int | None,
    overwrite: bool,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Put sessions in, from FILE (- is standard input) or from the earlier package's table.

    Sessions that are there are left as they are, and what has expired is left out. Interrupted and
    started again, it goes on. What is no session is named and left out, and the others come in;
    it exits with 1 then.
    """
    if (path is None) == (table is None):
        message = "Give a FILE or --from-legacy TABLE."
        raise click.UsageError(message)
    lines = _lines(path) if path else sessions_files.lines_of_legacy(table or "", region)
    counts = {"written": 0, "exists": 0, "expired": 0, "faulty": 0}
    refusals = 0
    with closing(sessions_asked.open_store(store, function, region, may_be_new=True)) as opened:
        for number, line in enumerate(_reached(lines), start=1):
            outcome, fault = "faulty", line.fault
            if not fault:
                record = _changed(line.record, owner, ttl_seconds)
                put = partial(_put, opened, record, overwrite=overwrite)
                done = sessions_asked.unless_refused(put)
                if isinstance(done, RefusedError):
                    refusals, fault = refusals + 1, str(done)
                else:
                    outcome, fault = done
                    refusals = 0 if outcome in _BY_THE_STORE else refusals
            if refusals == REFUSALS_MAX:
                options.leave(options.OUTSIDE, fault)
            counts[outcome] += 1
            if fault:
                click.echo(f"{line.place}: {fault}", err=True)
            sessions_asked.progress(number, None)
    sessions_asked.progress_ends()
    _tell(counts, as_json=as_json)
    sys.exit(options.NO if counts["faulty"] else 0)


def _lines(path: Path) -> Iterator[sessions_files.Line]:
    with click.open_file(str(path), "rb") as file:
        yield from sessions_files.lines_of(file)


def _reached(lines: Iterator[sessions_files.Line]) -> Iterator[sessions_files.Line]:
    """Read lines from outside, and exit with what a failure means."""
    while True:
        try:
            line = options.reached(lambda: next(lines, None))
        except OSError as error:
            options.leave(options.OUTSIDE, f"{error.filename}: {error.strerror}")
        if line is None:
            return
        yield line


def _changed(record: dict[str, Any], owner: str | None, ttl_seconds: int | None) -> dict[str, Any]:
    """Return a session for this owner, to expire so long from now, and what hangs on it later."""
    record = dict(record)
    if owner is not None:
        record["owner"] = owner
    if ttl_seconds is None:
        return record
    now = _settings.epoch_ms() // 1_000
    record["expires_at"] = now + ttl_seconds
    items = record.get("items")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            item["expires_at"] = now + ttl_seconds * (1 if item.get("sk") == "HEAD" else 2)
    return record


def _put(opened: SessionStore, record: dict[str, Any], *, overwrite: bool) -> tuple[str, str]:
    """Put a session in; return what came of it, and what is wrong with it.

    Raises:
        RefusedError: The store does not take it.
    """
    try:
        outcome = opened.write(record)
        if outcome == "exists" and overwrite:
            opened.check(record)
            opened.delete(record["session_id"], record.get("owner", ""), keep_records=True)
            outcome = opened.write(record)
    except _errors.InvalidRequestError as error:
        return "faulty", error.detail
    except ValueError as error:
        return "faulty", f"It holds what JSON does not know: {error}"
    return outcome, ""


def _tell(counts: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(counts))
    else:
        click.echo(
            f"{sessions_report.counted(counts['written'], 'session')} written. Left as they were, "
            f"because they are there: {counts['exists']:,}; expired: {counts['expired']:,}; no "
            f"sessions: {counts['faulty']:,}."
        )
