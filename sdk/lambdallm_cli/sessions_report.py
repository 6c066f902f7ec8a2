"""Sessions, for people: a table, and one as it was said."""

from __future__ import annotations

from datetime import datetime, timezone
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from lambdallm._messages import flatten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_HEADS = ("session", "owner", "exchanges", "last (UTC)", "expires (UTC)")
_RIGHT = frozenset(("exchanges",))
_GAP = "  "
_COLOURS = {"user": "cyan", "assistant": "green", "system": "yellow"}

NEAR_MAX = 5


def show_sessions(sessions: Sequence[dict[str, Any]], found: int) -> None:
    """Write a table.

    Args:
        sessions: Those to show.
        found: How many there are.
    """
    if not sessions:
        click.echo("No such sessions.")
        return
    rows = [_cells(session) for session in sessions]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    click.echo(click.style(_line(_HEADS, widths), bold=True))
    for row in rows:
        click.echo(_line(row, widths))
    for session in sessions:
        if "fault" in session:
            click.echo(f"\n{named(session)}: {_printable(_fault_of(session))}")
    more = f" of {found:,}, the ones used last" if found > len(sessions) else ""
    click.echo(f"\n{counted(len(sessions), 'session')}{more}.")


def show_session(session: dict[str, Any], turns: Iterable[dict[str, Any]]) -> None:
    """Write a conversation as it was said, those of events that nobody answered too."""
    click.echo(click.style(named(session), bold=True))
    click.echo(
        f"{counted(session.get('exchanges', 0), 'exchange')}, the last one began "
        f"{_moment(session.get('last_epoch_ms')) or 'at an unknown time'} UTC; "
        f"expires {_moment(_ms(session['expires_at'])) or 'never'} UTC."
    )
    exchange = 0
    for turn in turns:
        if turn["exchange"] != exchange:
            exchange = turn["exchange"]
            click.echo(click.style(f"\n{exchange}  {_moment(turn['at_epoch_ms'])}", dim=True))
        text = flatten([{"role": turn["role"], "content": turn["content"]}])
        said = _printable(text.removeprefix(f"{turn['role']}: "))
        click.echo(f"{click.style(turn['role'], fg=_COLOURS.get(turn['role']))}: {said}")


def near(session_id: str, sessions: Iterable[dict[str, Any]]) -> str:
    """Return what may have been meant, in words: the same id of others, and similar ones."""
    known: dict[str, list[str]] = {}
    for session in sessions:
        known.setdefault(session["session_id"], []).append(session["owner"])
    similar = [session_id] if session_id in known else []
    similar += [
        found for found in get_close_matches(session_id, known, NEAR_MAX) if found != session_id
    ]
    if not similar:
        others = "another one" if len(known) == 1 else f"{len(known):,} others"
        return f"The store has {others}." if known else "There is none at all."
    listed = [
        named({"session_id": found, "owner": owner})
        for found in similar
        for owner in sorted(known[found])
    ]
    return f"There is {', '.join(listed[:NEAR_MAX])}."


def named(session: dict[str, Any]) -> str:
    """Name a session by id and owner."""
    owner = f" --owner {session['owner']!r}" if session["owner"] else ""
    return _printable(f"{session['session_id']}{owner}")


def counted(count: int, what: str) -> str:
    """Write a number of things."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _fault_of(session: dict[str, Any]) -> str:
    command = "`lambdallm sessions move` goes on with that, if nobody is at it."
    if "moved_to" in session:
        return f"It is being moved to {session['moved_to'] or 'nobody'}: {command}"
    if "moved_from" in session:
        return f"It is being moved here from {session['moved_from'] or 'nobody'}: {command}"
    fault: str = session["fault"]
    return fault


def _cells(session: dict[str, Any]) -> tuple[str, ...]:
    return (
        _printable(session["session_id"]),
        _printable(session["owner"]),
        f"{session['exchanges']:,}" if "exchanges" in session else "?",
        _moment(session.get("last_epoch_ms")),
        _moment(_ms(session["expires_at"])),
    )


def _printable(text: str) -> str:
    """Write out what would command a terminal, or cannot be encoded: users have said it."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text
    )


def _ms(epoch_seconds: int | None) -> int | None:
    return None if epoch_seconds is None else epoch_seconds * 1_000


def _moment(epoch_ms: int | None) -> str:
    if not epoch_ms:
        return ""  # nobody knows
    try:
        moment = datetime.fromtimestamp(epoch_ms / 1_000, tz=timezone.utc)
    except (ValueError, OverflowError, OSError):
        return "at no time"  # as it was imported, by an earlier version
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = [
        f"{cell:>{width}}" if head in _RIGHT else f"{cell:<{width}}"
        for head, cell, width in zip(_HEADS, cells, widths, strict=True)
    ]
    return _GAP.join(placed).rstrip()
