"""What the commands on runs share: which one is meant, and where; what is near an unknown one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

import click

from lambdallm_cli import options, sessions_asked
from lambdallm_cli.figures import printable
from lambdallm_cli.runs_store import RunStore

if TYPE_CHECKING:
    from collections.abc import Callable

NEAR_MAX = 5


def one_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the run that is meant, the store it is in, and --json."""
    for option in (
        options.as_json,
        options.region,
        options.function,
        options.store,
        sessions_asked.whose,
        click.argument("run_id", metavar="RUN"),
    ):
        command = option(command)
    return command


def open_store(store: str | None, function: str | None, region: str | None) -> RunStore:
    """Open the store that is meant, or exit."""
    variables = options.variables_of(store, function, region)
    return options.reached(lambda: RunStore(variables))


def every(opened: RunStore) -> list[dict[str, Any]]:
    """Return all runs."""
    if opened.is_read_whole:
        click.echo(sessions_asked.COST, err=True)
    found = options.reached(
        lambda: [*opened.runs(lambda done: sessions_asked.progress(done, None, "runs"))]
    )
    sessions_asked.progress_ends()
    return found


def read(opened: RunStore, run_id: str, owner: str, *, texts: bool = False) -> dict[str, Any]:
    """Return a run, or say what may have been meant, and exit."""
    run = sessions_asked.asked(lambda: opened.run(run_id, owner, texts=texts))
    if not run["found"]:
        leave_unknown(opened, run_id, owner)
    return run


def leave_unknown(opened: RunStore, run_id: str, owner: str) -> NoReturn:
    """Say that there is no such run, and which one may have been meant, and exit."""
    options.leave(
        options.NO, f"There is no run {named(run_id, owner)}. {_near(run_id, every(opened))}"
    )


def named(run_id: str, owner: str) -> str:
    """Name a run by id and owner."""
    return printable(f"{run_id} --owner {owner!r}" if owner else run_id)


def _near(run_id: str, runs: list[dict[str, Any]]) -> str:
    owners: dict[str, list[str]] = {}
    for run in runs:
        owners.setdefault(run["run_id"], []).append(run["owner"])
    similar = [run_id] if run_id in owners else []
    similar += [each for each in get_close_matches(run_id, owners, NEAR_MAX) if each != run_id]
    listed = [named(each, owner) for each in similar for owner in sorted(owners[each])]
    if listed:
        return f"There is {', '.join(listed[:NEAR_MAX])}."
    return f"The store has {len(runs):,} others." if runs else "There is none at all."
