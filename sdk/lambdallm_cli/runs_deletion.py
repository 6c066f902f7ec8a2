"""`lambdallm runs delete`."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial

import click

from lambdallm_cli import options, runs_asked, sessions_asked
from lambdallm_cli.figures import counted


@click.command("delete", epilog="Example: lambdallm runs delete report-17 --function report")
@click.argument("run_ids", metavar="RUN...", nargs=-1, required=True)
@sessions_asked.whose
@sessions_asked.at_a_store
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.as_json
def delete_runs(  # noqa: PLR0913, PLR0917 - one for each option
    run_ids: tuple[str, ...],
    owner: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete runs for good.

    With each go its input and outputs, its event, what was kept of answers, and the records of its
    model calls. An invocation that has it open is refused its next step. Interrupted and started
    again, it goes on. Exits with 1 when a RUN is not there.
    """
    with closing(runs_asked.open_store(store, function, region)) as opened:
        if not yes:
            click.confirm(f"Delete {counted(len(run_ids), 'run')} for good?", abort=True, err=True)
        deleted = items = calls = 0
        missing: list[str] = []
        for run_id in run_ids:
            done = sessions_asked.asked(partial(opened.delete_run, run_id, owner or ""))
            deleted += done["found"]
            items += done["items"]
            calls += done["calls"]
            if not done["found"]:
                missing.append(run_id)
        if as_json:
            click.echo(json.dumps({"deleted": deleted, "items": items, "calls": calls}))
        else:
            click.echo(
                f"{counted(deleted, 'run')} deleted: {counted(items, 'item')}, "
                f"{counted(calls, 'call record')}."
            )
        if missing:
            runs_asked.leave_unknown(opened, missing[0], owner or "")
