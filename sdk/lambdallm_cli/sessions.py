"""`lambdallm sessions`: what is remembered, and of whom; taken out, put in, deleted."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lambdallm import _errors, _settings
from lambdallm_cli import options, sessions_files, sessions_report
from lambdallm_cli.sessions_store import SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_COST = (
    "The whole table is read for this: a read unit for each 4 KB in it, so that 1 GB costs about "
    "$0.03 on demand, and takes a minute."
)
"""Source: DynamoDB pricing, us-east-1, $0.125 for a million read request units, 2026-11."""

_OWNER = click.option(
    "--owner", help="Whose it is, as `list` shows it; by default nobody's (no authorizer)."
)
_ONLY_OWNER = click.option("--owner", help='Only of this owner; "" for those of nobody.')
_OLDER = click.option(
    "--older-than", "older_ms", callback=options.ago, help="Only what was last used before: 30d."
)


@click.group()
def sessions() -> None:
    """See conversations, take them out and put them in, and delete them for good."""


def _at_a_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which store is meant."""
    for option in (options.region, options.function, options.store):
        command = option(command)
    return command


@sessions.command(
    "list", epilog="Example: lambdallm sessions list --function chat --older-than 30d"
)
@_at_a_store
@_ONLY_OWNER
@_OLDER
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@options.as_json
def list_sessions(  # noqa: PLR0913, PLR0917 - one for each option
    store: str | None,
    function: str | None,
    region: str | None,
    owner: str | None,
    older_ms: int,
    limit: int,
    as_json: bool,
) -> None:
    """List the sessions, the ones used last first.

    Those that have expired are left out. A DynamoDB table is read whole, of Redis all its keys.
    """
    with closing(_open(store, function, region)) as opened:
        found = options.reached(lambda: _select(opened, owner, older_ms))
    found.sort(key=lambda session: session.get("last_epoch_ms") or 0, reverse=True)
    if as_json:
        click.echo(json.dumps({"found": len(found), "sessions": found[:limit]}))
    else:
        sessions_report.show_sessions(found[:limit], len(found))


@sessions.command("show", epilog="Example: lambdallm sessions show ada --owner lambda:user-7")
@click.argument("session_id", metavar="ID")
@_OWNER
@_at_a_store
@options.as_json
def show_session(
    session_id: str,
    owner: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Show one conversation as it was said.

    Exits with 1 when there is none of that id and owner, and says what is near.
    """
    with closing(_open(store, function, region)) as opened:
        read = _found(opened, session_id, owner or "")
    if as_json:
        click.echo(json.dumps({**read["session"], "turns": read["turns"]}))
    else:
        sessions_report.show_session(read["session"], read["turns"])


@sessions.command(
    "delete",
    epilog="Examples: lambdallm sessions delete ada; "
    "lambdallm sessions delete --owner lambda:user-7 --yes; "
    "lambdallm sessions delete --older-than 90d",
)
@click.argument("session_ids", metavar="[ID]...", nargs=-1)
@click.option("--owner", help="Of this owner; without an ID: all that he has.")
@_OLDER
@_at_a_store
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.as_json
def delete_sessions(  # noqa: PLR0913, PLR0917 - one for each option
    session_ids: tuple[str, ...],
    owner: str | None,
    older_ms: int,
    store: str | None,
    function: str | None,
    region: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete sessions for good.

    With each go its messages, large values, summary, vectors, and the records of the model calls
    that led to it. Events that are writing in it just then are refused, or begin a new session.
    Interrupted and started again, it goes on. Exits with 1 when an ID is not there.
    """
    if not session_ids and owner is None and not older_ms:
        message = "Name sessions, or give --owner or --older-than."
        raise click.UsageError(message)
    if session_ids and older_ms:
        message = "Give IDs or --older-than, not both."
        raise click.UsageError(message)
    with closing(_open(store, function, region)) as opened:
        doomed = [(session_id, owner or "") for session_id in session_ids]
        if not doomed:
            chosen = options.reached(lambda: _select(opened, owner, older_ms))
            doomed = [(session["session_id"], session["owner"]) for session in chosen]
        if doomed and not yes:
            click.confirm(f"Delete {_counted(doomed)} for good?", abort=True, err=True)
        _delete(opened, doomed, as_json=as_json)


def _delete(opened: SessionStore, doomed: list[tuple[str, str]], *, as_json: bool) -> None:
    deleted, items, calls = 0, 0, 0
    missing: list[tuple[str, str]] = []
    for number, (session_id, owner) in enumerate(doomed, start=1):
        done = _asked(opened.delete, session_id, owner)
        deleted, items, calls = (
            deleted + done["found"],
            items + done["items"],
            calls + done["calls"],
        )
        if not done["found"]:
            missing.append((session_id, owner))
        _progress(number, len(doomed))
    if as_json:
        click.echo(json.dumps({"deleted": deleted, "items": items, "calls": calls}))
    else:
        counted = sessions_report.counted
        click.echo(
            f"{counted(deleted, 'session')} deleted: {counted(items, 'item')}, "
            f"{counted(calls, 'call record')}."
        )
    if missing:
        _leave_unknown(opened, *missing[0])


@sessions.command(
    "export", epilog="Example: lambdallm sessions export sessions.jsonl --function chat"
)
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@_ONLY_OWNER
@_OLDER
@click.option("--resume", is_flag=True, help="Go on with a file that was not finished.")
@click.option("--overwrite", is_flag=True, help="Begin a file anew that is there.")
@_at_a_store
@options.as_json
def export_sessions(  # noqa: PLR0913, PLR0917 - one for each option
    path: Path,
    owner: str | None,
    older_ms: int,
    resume: bool,
    overwrite: bool,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Write sessions into FILE, one line of JSON each; `import` reads it.

    Everything of a session is in its line. FILE is as secret as what was said; it is FILE.part
    until it is whole.
    """
    part = sessions_files.part_of(path)
    if (path.exists() or part.exists()) and resume == overwrite:
        message = f"{path} is there: --resume goes on with it, --overwrite begins it anew."
        raise click.UsageError(message)
    part = path if resume and not part.exists() else part
    done = options.reached(lambda: sessions_files.written_before(part)) if resume else set()
    written = 0
    with closing(_open(store, function, region)) as opened:
        chosen = options.reached(lambda: _select(opened, owner, older_ms))
        if not resume:
            sessions_files.begin(part)
        for number, session in enumerate(chosen, start=1):
            _progress(number, len(chosen))
            if (session["session_id"], session["owner"]) in done:
                continue
            record = _asked(opened.read, session["session_id"], session["owner"])["record"]
            if record is not None:  # it may have been deleted since
                sessions_files.append(part, record)
                written += 1
    part.replace(path)
    if as_json:
        click.echo(json.dumps({"written": written, "before": len(done)}))
    else:
        before = f", {len(done):,} were there before" if done else ""
        click.echo(f"{sessions_report.counted(written, 'session')} written to {path}{before}.")


@sessions.command(
    "import",
    epilog="Examples: lambdallm sessions import sessions.jsonl --store dynamodb://TABLE; "
    "lambdallm sessions import --from-legacy lambdallm-sessions --ttl-hours 24",
)
@click.argument(
    "path",
    metavar="[FILE]",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--from-legacy", "table", metavar="TABLE", help="The earlier package's table.")
@click.option("--owner", help="Put all of them in for this owner.")
@click.option(
    "--ttl-hours", type=click.FloatRange(0, min_open=True), help="Expire so long from now."
)
@click.option("--overwrite", is_flag=True, help="Replace sessions that are there.")
@_at_a_store
@options.as_json
def import_sessions(  # noqa: PLR0913, PLR0917 - one for each option
    path: Path | None,
    table: str | None,
    owner: str | None,
    ttl_hours: float | None,
    overwrite: bool,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Put sessions in, from FILE or from the earlier package's table.

    Sessions that are there are left as they are, and what has expired is left out. Interrupted and
    started again, it goes on. Exits with 1 when something in the source is no session.
    """
    if (path is None) == (table is None):
        message = "Give a FILE or --from-legacy TABLE."
        raise click.UsageError(message)
    if path is not None:
        lines = sessions_files.lines_of(path)
    else:
        lines = sessions_files.lines_of_legacy(table or "", region)
    counts = {"written": 0, "exists": 0, "expired": 0, "faulty": 0}
    with closing(_open(store, function, region, may_be_new=True)) as opened:
        for number, line in enumerate(_reached_lines(lines), start=1):
            record = dict(line.record)
            if owner is not None:
                record["owner"] = owner
            if ttl_hours is not None:
                _renew(record, round(ttl_hours * 3_600))
            outcome, fault = (
                ("faulty", line.fault) if line.fault else _put(opened, record, overwrite)
            )
            counts[outcome] += 1
            if fault:
                click.echo(f"{line.place}: {fault}", err=True)
            _progress(number, None)
    if as_json:
        click.echo(json.dumps(counts))
    else:
        click.echo(
            f"{sessions_report.counted(counts['written'], 'session')} written. Left as they were, "
            f"because they are there: {counts['exists']:,}; expired: {counts['expired']:,}; no "
            f"sessions: {counts['faulty']:,}."
        )
    sys.exit(options.NO if counts["faulty"] else 0)


@sessions.command(
    "move", epilog="Example: lambdallm sessions move ada --to lambda:user-7 --function chat"
)
@click.argument("session_id", metavar="ID")
@_OWNER
@click.option("--to", "to_owner", required=True, help='Whose it is from now on; "" for nobody.')
@_at_a_store
def move_session(
    session_id: str,
    owner: str | None,
    to_owner: str,
    store: str | None,
    function: str | None,
    region: str | None,
) -> None:
    """Give a session to another owner, as when an authorizer comes before a function.

    Exits with 1 when there is none, or when he has one of that id already.
    """
    if (owner or "") == to_owner:
        message = "It is that owner's already."
        raise click.UsageError(message)
    with closing(_open(store, function, region)) as opened:
        record = _found(opened, session_id, owner or "")["record"]
        if _asked(opened.write, {**record, "owner": to_owner}) != "written":
            options.leave(options.NO, f"{to_owner!r} has a session {session_id!r} already.")
        options.reached(lambda: opened.delete(session_id, owner or "", keep_records=True))
    click.echo(f"{session_id} belongs to {to_owner!r} now.")


def _open(
    store: str | None, function: str | None, region: str | None, *, may_be_new: bool = False
) -> SessionStore:
    variables = options.variables_of(store, function, region)
    return options.reached(lambda: SessionStore(variables, may_be_new=may_be_new))


def _select(opened: SessionStore, owner: str | None, older_ms: int) -> list[dict[str, Any]]:
    """Return the sessions of an owner that were not used since; unknown times count as long ago."""
    if opened.is_read_whole:
        click.echo(_COST, err=True)
    before = _settings.epoch_ms() - older_ms
    return [
        session
        for session in opened.listed(owner, lambda found: _progress(found, None))
        if not older_ms or (session.get("last_epoch_ms") or 0) < before
    ]


def _found(opened: SessionStore, session_id: str, owner: str) -> dict[str, Any]:
    read: dict[str, Any] = _asked(opened.read, session_id, owner)
    if read["session"] is None:
        _leave_unknown(opened, session_id, owner)
    return read


def _leave_unknown(opened: SessionStore, session_id: str, owner: str) -> None:
    others = options.reached(lambda: sessions_report.near(session_id, _select(opened, None, 0)))
    named = sessions_report.named({"session_id": session_id, "owner": owner})
    options.leave(options.NO, f"There is no session {named}. {others}")


def _asked(call: Callable[..., Any], *arguments: Any) -> Any:
    """Ask the store for one session; what is no id is a wrong use of the command."""
    try:
        return options.reached(lambda: call(*arguments))
    except _errors.InvalidRequestError as error:
        raise click.UsageError(error.detail) from error


def _put(opened: SessionStore, record: dict[str, Any], overwrite: bool) -> tuple[str, str]:
    """Put a session in; return what came of it, and what is wrong with it."""
    try:
        outcome = options.reached(lambda: opened.write(record))
        if outcome == "exists" and overwrite:
            owner = record.get("owner", "")
            options.reached(lambda: opened.delete(record["session_id"], owner, keep_records=True))
            outcome = options.reached(lambda: opened.write(record))
    except _errors.InvalidRequestError as error:
        return "faulty", error.detail
    return outcome, ""


def _renew(record: dict[str, Any], seconds: int) -> None:
    """Let a session expire so long from now, and what hangs on it when twice that is over."""
    now = _settings.epoch_ms() // 1_000
    record["expires_at"] = now + seconds
    for item in record.get("items") or ():
        item["expires_at"] = now + (seconds if item.get("sk") == "HEAD" else 2 * seconds)


def _reached_lines(lines: Iterator[sessions_files.Line]) -> Iterator[sessions_files.Line]:
    """Read lines from outside, and exit with what a failure means."""
    while (line := options.reached(lambda: next(lines, None))) is not None:
        yield line


def _counted(doomed: list[tuple[str, str]]) -> str:
    if len(doomed) == 1:
        session_id, owner = doomed[0]
        return f"session {sessions_report.named({'session_id': session_id, 'owner': owner})}"
    return f"{len(doomed):,} sessions"


def _progress(done: int, of: int | None) -> None:
    """Say how far it is, on one line, where somebody looks at it."""
    if sys.stderr.isatty():
        whole = "" if of is None else f" of {of:,}"
        click.echo(f"\r{done:,}{whole} sessions", nl=done == of, err=True)
