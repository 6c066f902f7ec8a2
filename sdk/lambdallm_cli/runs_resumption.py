"""`lambdallm runs stop` and `resume`: nobody goes on with a run, or somebody does now."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from lambdallm import _resumption, _settings
from lambdallm_cli import calls_read, options, runs_asked, runs_report, sessions_asked
from lambdallm_cli.figures import moment, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDED = ("completed", "stopped")
"""Nobody goes on with these."""

NOT_SAID = (
    "belongs to somebody, and the event that says so was not kept: he goes on with it, by asking "
    "again. Chain(resume=…) keeps events."
)


@click.command("stop", epilog="Example: lambdallm runs stop report-17 --function report")
@runs_asked.one_run
@click.option("--reason", default="by `lambdallm runs stop`", help="Kept with it.")
def stop_run(  # noqa: PLR0913, PLR0917 - one for each option
    run_id: str,
    owner: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
    reason: str,
) -> None:
    """Stop a run for good.

    Whoever has it open is refused its next step and its next model call; a call that is under way
    is finished. Nobody goes on with it. Exits with 1 when it is completed already.
    """
    with closing(runs_asked.open_store(store, function, region)) as opened:
        done = sessions_asked.asked(lambda: opened.stop_run(run_id, owner or "", reason))
        if not done["found"]:
            runs_asked.leave_unknown(opened, run_id, owner or "")
    if as_json:
        click.echo(json.dumps({"run_id": run_id, "status": done["status"]}))
    named = runs_asked.named(run_id, owner or "")
    if done["status"] != "stopped":
        options.leave(options.NO, f"Run {named} is {done['status']} already.")
    if not as_json:
        click.echo(f"Run {named} is stopped.")


@click.command("resume", epilog="Example: lambdallm runs resume report-17 --function report")
@click.argument("run_id", metavar="RUN")
@sessions_asked.whose
@click.option("--function", metavar="NAME", required=True, help="Who goes on with it.")
@options.region
@options.store
@options.as_json
def resume_run(
    run_id: str,
    owner: str | None,
    function: str,
    region: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Let a function go on with a run, by an asynchronous invocation.

    It gets the event that has begun the run, where that was kept (`Chain(resume=…)`), else one
    that names the run alone. Exits with 1 when the run has ended, waits for somebody, or is under
    way.
    """
    found_by = None if store else function
    with closing(runs_asked.open_store(store, found_by, region)) as opened:
        run = runs_asked.read(opened, run_id, owner or "", texts=True)
    why_not = _why_not(run)
    if why_not:
        named = runs_asked.named(run_id, owner or "")
        options.leave(options.NO, printable(f"Run {named} {why_not}"))
    invoke(function, region, run)
    if as_json:
        click.echo(json.dumps({"run_id": run_id, "invoked": function}))
    else:
        click.echo(told(function, run_id, owner))


def invoke(function: str, region: str | None, run: Mapping[str, Any]) -> None:
    """Invoke a function to go on with a run, or exit."""
    where = calls_read.region_of(function, region)
    options.reached(
        lambda: calls_read.ask(
            "lambda",
            where,
            "invoke",
            FunctionName=function,
            InvocationType="Event",
            Payload=event_of(run).encode("utf-8", "surrogatepass"),
        )
    )


def told(function: str, run_id: str, owner: str | None) -> str:
    """Say that a function goes on with a run, and how to see it."""
    whose = f" --owner {owner!r}" if owner else ""
    shown = f"lambdallm runs show {run_id}{whose} --function {function}"
    return printable(f"{function} goes on with it. See `{shown}`.")


def event_of(run: Mapping[str, Any]) -> str:
    """Return the event that goes on with a run: the one that has begun it, where it was kept."""
    event = json.loads(run.get("event", "null"))
    if not isinstance(event, dict):
        event = {}
    said = event.get(_resumption.RESUME)
    kept = said if isinstance(said, dict) else {}
    return json.dumps({**event, _resumption.RESUME: {**kept, "run_id": run["run_id"]}})


def says_whose(run: Mapping[str, Any]) -> bool:
    """Say whether a function that is invoked with a run's event finds that run."""
    return not run["owner"] or "event" in run


def _why_not(run: Mapping[str, Any]) -> str:
    """Say why nobody can go on with a run now, "" where somebody can."""
    if run["status"] in ENDED:
        why = f": {run['error']}" if run.get("error") else ""
        return f"is {run['status']}{why}."
    if not says_whose(run):
        return NOT_SAID
    now_ms = _settings.epoch_ms()
    leased_ms = run["leased_until_epoch_ms"]
    if run["status"] == "running" and leased_ms > now_ms:
        return f"is under way, until it ends or until {moment(leased_ms)} UTC at most."
    for wait in runs_report.waiting(run):
        if wait.get("expires_epoch_ms", now_ms + 1) > now_ms:
            return (
                f"waits for step {wait['step']} ({wait['kind']}): `lambdallm runs approve`, "
                "`reject` or `complete` finishes it."
            )
    return ""
