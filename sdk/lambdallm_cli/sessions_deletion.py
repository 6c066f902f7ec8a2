"""`lambdallm sessions delete`."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import click

from lambdallm_cli import options, sessions_asked, sessions_report

if TYPE_CHECKING:
    from lambdallm_cli.sessions_store import SessionStore


@click.command(
    "delete",
    epilog="Examples: lambdallm sessions delete ada; "
    "lambdallm sessions delete --owner lambda:user-7 --yes; "
    "lambdallm sessions delete --older-than 90d",
)
@click.argument("session_ids", metavar="[ID]...", nargs=-1)
@click.option("--owner", help="Of this owner; without an ID: all that he has.")
@sessions_asked.older
@sessions_asked.at_a_store
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
    with closing(sessions_asked.open_store(store, function, region)) as opened:
        doomed = [(session_id, owner or "") for session_id in session_ids]
        if not doomed:
            chosen = options.reached(lambda: sessions_asked.select(opened, owner, older_ms))
            doomed = [(session["session_id"], session["owner"]) for session in chosen]
        if doomed and not yes:
            click.confirm(f"Delete {_counted(doomed)} for good?", abort=True, err=True)
        _delete(opened, doomed, as_json=as_json)


def _delete(opened: SessionStore, doomed: list[tuple[str, str]], *, as_json: bool) -> None:
    deleted, items, calls = 0, 0, 0
    missing: list[tuple[str, str]] = []
    for number, (session_id, owner) in enumerate(doomed, start=1):
        done = sessions_asked.asked(partial(opened.delete, session_id, owner))
        deleted += done["found"]
        items += done["items"]
        calls += done["calls"]
        if not done["found"]:
            missing.append((session_id, owner))
        sessions_asked.progress(number, len(doomed))
    sessions_asked.progress_ends()
    if as_json:
        click.echo(json.dumps({"deleted": deleted, "items": items, "calls": calls}))
    else:
        counted = sessions_report.counted
        click.echo(
            f"{counted(deleted, 'session')} deleted: {counted(items, 'item')}, "
            f"{counted(calls, 'call record')}."
        )
    if missing:
        sessions_asked.leave_unknown(opened, *missing[0])


def _counted(doomed: list[tuple[str, str]]) -> str:
    if len(doomed) == 1:
        session_id, owner = doomed[0]
        return f"session {sessions_report.named({'session_id': session_id, 'owner': owner})}"
    return f"{len(doomed):,} sessions"
