"""`lambdallm sessions move`."""

from __future__ import annotations

import json
from contextlib import closing

import click

from lambdallm_cli import options, sessions_asked

_BUSY = "Somebody else has begun to move it at the same time, and goes on. Nothing is lost."
_ELSEWHERE = (
    "It is being moved, from or to {}. If nobody is at it any more, the same command as then "
    "ends it."
)


@click.command(
    "move", epilog="Example: lambdallm sessions move ada --to lambda:user-7 --function chat"
)
@click.argument("session_id", metavar="ID")
@sessions_asked.whose
@click.option("--to", "to_owner", required=True, help='Whose it is from now on; "" for nobody.')
@sessions_asked.at_a_store
@options.as_json
def move_session(  # noqa: PLR0913, PLR0917 - one for each option
    session_id: str,
    owner: str | None,
    to_owner: str,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Give a session to another owner, as when an authorizer comes before a function.

    As long as it takes, events of either owner in this session are refused and may come again;
    nothing that was acknowledged is lost. Interrupted, the same command goes on. Exits with 1 when
    there is none, when the new owner has one of that id already, or when somebody else moves it.
    """
    if (owner or "") == to_owner:
        message = "It is that owner's already."
        raise click.UsageError(message)
    with closing(sessions_asked.open_store(store, function, region)) as opened:
        moved = sessions_asked.asked(
            lambda: opened.move(
                session_id,
                owner or "",
                to_owner,
                lambda pages: sessions_asked.progress(pages, None, "pages of 1 MB"),
            )
        )
        sessions_asked.progress_ends()
        outcome, other = moved["outcome"], moved["other"]
        if as_json:
            click.echo(json.dumps({"outcome": outcome, "other": other}))
        if outcome == "absent":
            sessions_asked.leave_unknown(opened, session_id, owner or "")
    if outcome == "exists":
        message = f"{_person(to_owner)} has a session {session_id!r} already. Nothing was moved."
        options.leave(options.NO, message)
    if outcome == "busy":
        options.leave(options.NO, _BUSY if other is None else _ELSEWHERE.format(_person(other)))
    if not as_json:
        click.echo(f"{session_id} belongs to {_person(to_owner)} now.")


def _person(owner: str) -> str:
    return repr(owner) if owner else "nobody"
