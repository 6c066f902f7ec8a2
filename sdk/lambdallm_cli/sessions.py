"""`lambdallm sessions`: what is remembered, and of whom; taken out, put in, moved, deleted."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import click

from lambdallm_cli import options, sessions_asked, sessions_report
from lambdallm_cli.sessions_deletion import delete_sessions
from lambdallm_cli.sessions_export import export_sessions
from lambdallm_cli.sessions_import import import_sessions
from lambdallm_cli.sessions_move import move_session


@click.group()
def sessions() -> None:
    """See conversations, take them out and put them in, move them, and delete them for good.

    Exit codes: 0 done, 1 the answer is no (no such session, or not all of them), 2 used wrongly, 3
    something outside failed.
    """


@sessions.command(
    "list", epilog="Example: lambdallm sessions list --function chat --older-than 30d"
)
@sessions_asked.at_a_store
@sessions_asked.only_owner
@sessions_asked.older
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
    with closing(sessions_asked.open_store(store, function, region)) as opened:
        found = options.reached(lambda: sessions_asked.select(opened, owner, older_ms))
    found.sort(key=lambda session: session.get("last_epoch_ms") or 0, reverse=True)
    if as_json:
        click.echo(json.dumps({"found": len(found), "sessions": found[:limit]}))
    else:
        sessions_report.show_sessions(found[:limit], len(found))


@sessions.command("show", epilog="Example: lambdallm sessions show ada --owner lambda:user-7")
@click.argument("session_id", metavar="ID")
@sessions_asked.whose
@sessions_asked.at_a_store
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
    with closing(sessions_asked.open_store(store, function, region)) as opened:
        pages = opened.pages(session_id, owner or "", turns=True)
        first = sessions_asked.asked(lambda: next(pages))
        if first["session"] is None:
            sessions_asked.leave_unknown(opened, session_id, owner or "")
        show = _print_json if as_json else sessions_report.show_session
        turns = (turn for page in sessions_asked.further(first, pages) for turn in page["turns"])
        show(first["session"], turns)


def _print_json(session: dict[str, Any], turns: Any) -> None:
    """Print one object on one line, however long the session is."""
    click.echo(json.dumps(session)[:-1] + ', "turns": [', nl=False)
    for number, turn in enumerate(turns):
        click.echo((", " if number else "") + json.dumps(turn), nl=False)
    click.echo("]}")


for _command in (delete_sessions, export_sessions, import_sessions, move_session):
    sessions.add_command(_command)
