"""`lambdallm runs`: what chains have done and cost; stopping them, and going on with them."""

from __future__ import annotations

import json
from contextlib import closing
from typing import get_args

import click

from lambdallm_cli import options, runs_asked, runs_report, sessions_asked
from lambdallm_cli.runs_deletion import delete_runs
from lambdallm_cli.runs_resumption import resume_run, stop_run
from lambdallm_cli.runs_waits import approve, complete, reject
from lambdallm_wire.runs import RunStatus


@click.group()
def runs() -> None:
    """See runs of chains, stop them, go on with them, and finish steps that wait.

    Exit codes: 0 done, 1 the answer is no (no such run, or it has ended), 2 used wrongly, 3
    something outside failed.
    """


@runs.command("list", epilog="Example: lambdallm runs list --function report --status interrupted")
@click.option("--status", type=click.Choice(get_args(RunStatus)), help="Only those.")
@click.option("--chain", help="Only runs of the chain of this name.")
@sessions_asked.only_owner
@sessions_asked.at_a_store
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@options.as_json
def list_runs(  # noqa: PLR0913, PLR0917 - one for each option
    status: str | None,
    chain: str | None,
    owner: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the runs, the ones opened or closed last first.

    Those that have expired are left out. A DynamoDB table is read whole, of Redis all its keys.
    """
    with closing(runs_asked.open_store(store, function, region)) as opened:
        found = [
            run
            for run in runs_asked.every(opened)
            if status in (None, run["status"])
            and chain in (None, run["name"])
            and owner in (None, run["owner"])
        ]
    found.sort(key=lambda run: run["at_epoch_ms"], reverse=True)
    if as_json:
        click.echo(json.dumps({"found": len(found), "runs": found[:limit]}))
    else:
        runs_report.show_runs(found[:limit], len(found))


@runs.command("show", epilog="Example: lambdallm runs show report-17 --function report")
@runs_asked.one_run
@click.option(
    "--outputs", is_flag=True, help="What users have said, too: input, outputs, messages."
)
def show_run(  # noqa: PLR0913, PLR0917 - one for each option
    run_id: str,
    owner: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
    outputs: bool,
) -> None:
    """Show a run: its steps, its model calls with their states, and what it has come to.

    A call whose state is `intent` or `partial` and whose cost is unknown may have been billed: the
    sidecar that made it was killed. The sum has the most in it that such a call can have cost.
    """
    with closing(runs_asked.open_store(store, function, region)) as opened:
        run = runs_asked.read(opened, run_id, owner or "", texts=outputs)
    if as_json:
        click.echo(json.dumps(run))
    else:
        runs_report.show_run(run, texts=outputs)


for _command in (stop_run, resume_run, approve, reject, complete, delete_runs):
    runs.add_command(_command)
