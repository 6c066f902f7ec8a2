"""What the commands on sessions share: which ones are meant, and where; how failures are told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from lambdallm import _errors, _settings
from lambdallm_cli import options, sessions_report
from lambdallm_cli.sessions_store import RefusedError, SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

COST = (
    "The whole table is read for this: a read unit for each 4 KB in it, so that 1 GB costs about "
    "$0.03 on demand, and takes a minute."
)
"""Source: DynamoDB pricing, us-east-1, $0.125 for a million read request units, 2026-11."""

whose = click.option(
    "--owner", help="Whose it is, as `list` shows it; by default nobody's (no authorizer)."
)
only_owner = click.option("--owner", help='Only of this owner; "" for those of nobody.')
older = click.option(
    "--older-than", "older_ms", callback=options.ago, help="Only what was last used before: 30d."
)


def at_a_store(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which store is meant."""
    for option in (options.region, options.function, options.store):
        command = option(command)
    return command


def open_store(
    store: str | None, function: str | None, region: str | None, *, may_be_new: bool = False
) -> SessionStore:
    """Open the store that is meant, or exit."""
    variables = options.variables_of(store, function, region)
    return options.reached(lambda: SessionStore(variables, may_be_new=may_be_new))


def select(opened: SessionStore, owner: str | None, older_ms: int) -> list[dict[str, Any]]:
    """Return the sessions of an owner that were not used since; unknown times count as long ago."""
    if opened.is_read_whole:
        click.echo(COST, err=True)
    before = _settings.epoch_ms() - older_ms
    found = [
        session
        for session in opened.listed(owner, lambda found: progress(found, None))
        if not older_ms or (session.get("last_epoch_ms") or 0) < before
    ]
    progress_ends()
    return found


def asked(call: Callable[[], T]) -> T:
    """Ask the store for one session; what is no id is a wrong use of the command."""
    try:
        return options.reached(call)
    except _errors.InvalidRequestError as error:
        raise click.UsageError(error.detail) from error


def unless_refused(call: Callable[[], T]) -> T | RefusedError:
    """Ask the store for one of many sessions; return what it refuses of that one alone."""

    def ask() -> T | RefusedError:
        try:
            return call()
        except RefusedError as refusal:
            return refusal

    return options.reached(ask)


def further(first: dict[str, Any], pages: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a session's first page and the others; a failure to get one exits."""
    page: dict[str, Any] | None = first
    while page is not None:
        yield page
        page = asked(lambda: next(pages, None))


def leave_unknown(opened: SessionStore, session_id: str, owner: str) -> NoReturn:
    """Say that there is no such session, and which one may have been meant, and exit."""
    others = options.reached(lambda: sessions_report.near(session_id, select(opened, None, 0)))
    named = sessions_report.named({"session_id": session_id, "owner": owner})
    options.leave(options.NO, f"There is no session {named}. {others}")


def progress(done: int, of: int | None, what: str = "sessions") -> None:
    """Say how far it is, on one line, where somebody looks at it."""
    if sys.stderr.isatty():
        whole = "" if of is None else f" of {of:,}"
        click.echo(f"\r{done:,}{whole} {what}", nl=False, err=True)


def progress_ends() -> None:
    """Give the line to what is said next."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
