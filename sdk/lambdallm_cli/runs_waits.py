"""`lambdallm runs approve`, `reject` and `complete`: finishing steps that wait."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from lambdallm_cli import options, runs_asked, runs_report, runs_resumption, sessions_asked
from lambdallm_cli.figures import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WHY_NOT = {
    "already": "is finished already: somebody was first.",
    "expired": "waits no more: its time is over, or the run was stopped.",
    "unknown": "is not there any more.",
}


def _step(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the run, its step, where they are, and whether it is gone on with."""
    resumes = click.option(
        "--resume", "resumes", is_flag=True, help="Let --function go on with the run now."
    )
    step = click.argument("step", metavar="STEP")
    return runs_asked.one_run(step(resumes(command)))


def _answer(command: Callable[..., Any]) -> Callable[..., Any]:
    by = click.option("--by", default="", help="Who says it; kept in the step's output.")
    comment = click.option("--comment", default="", help="Kept there, too.")
    return by(comment(command))


@click.command(
    "approve", epilog="Example: lambdallm runs approve refund-17 manager --by ada --function refund"
)
@_step
@_answer
def approve(by: str, comment: str, **where: Any) -> None:
    """Say yes to a step that waits for a person.

    The run goes on when it is opened again: by its next event, by a request that names it, or by
    --resume. Exits with 1 when somebody was first, or its time is over.
    """
    _finish("approval", {"approved": True, "by": by, "comment": comment}, **where)


@click.command(
    "reject",
    epilog="Example: lambdallm runs reject refund-17 manager --by ada --comment 'Too much.'",
)
@_step
@_answer
def reject(by: str, comment: str, **where: Any) -> None:
    """Say no to a step that waits for a person; otherwise as `approve`."""
    _finish("approval", {"approved": False, "by": by, "comment": comment}, **where)


@click.command(
    "complete", epilog="Example: lambdallm runs complete order-17 payment '{\"paid\": true}'"
)
@_step
@click.argument("output", metavar="OUTPUT_JSON")
def complete(output: str, **where: Any) -> None:
    """Finish a step that waits for a callback, in the place of whoever has its token.

    OUTPUT_JSON becomes the step's output. Otherwise as `approve`.
    """
    try:
        value = json.loads(output)
    except ValueError as error:
        message = f"OUTPUT_JSON is not JSON: {error}"
        raise click.UsageError(message) from error
    _finish("callback", value, **where)


def _finish(  # noqa: PLR0913 - one for each option
    kind: str,
    output: Any,
    *,
    run_id: str,
    step: str,
    owner: str | None,
    store: str | None,
    function: str | None,
    region: str | None,
    as_json: bool,
    resumes: bool,
) -> None:
    if resumes and function is None:
        message = "--resume needs --function: who goes on with it."
        raise click.UsageError(message)
    with closing(runs_asked.open_store(store, function, region)) as opened:
        run = runs_asked.read(opened, run_id, owner or "", texts=resumes)
        _refuse_other(run, step, kind)
        if resumes and not runs_resumption.says_whose(run):
            named = runs_asked.named(run_id, owner or "")
            options.leave(options.NO, f"Run {named} {runs_resumption.NOT_SAID}")
        text = json.dumps(output)
        outcome = sessions_asked.asked(lambda: opened.finish_step(run_id, owner or "", step, text))
    if as_json:
        click.echo(json.dumps({"run_id": run_id, "step": step, "outcome": outcome}))
    if outcome != "finished":
        options.leave(options.NO, printable(f"Step {step} of run {run_id} {_WHY_NOT[outcome]}"))
    if resumes and function is not None:
        runs_resumption.invoke(function, region, run)
    if not as_json:
        goes_on = "Its run goes on when it is opened again."
        if resumes and function is not None:
            goes_on = runs_resumption.told(function, run_id, owner)
        click.echo(printable(f"Step {step} of run {run_id} is finished. {goes_on}"))


def _refuse_other(run: Mapping[str, Any], step: str, kind: str) -> None:
    """Exit where a run does not wait for this step, or for something else in it."""
    named = runs_asked.named(run["run_id"], run["owner"])
    wait = next((wait for wait in run["waits"] if wait["step"] == step), None)
    if wait is None:
        open_waits = [f"{each['step']} ({each['kind']})" for each in runs_report.waiting(run)]
        others = f"It waits for {', '.join(open_waits)}." if open_waits else "It waits for nothing."
        options.leave(options.NO, printable(f"Run {named} has no step {step} that waits. {others}"))
    if wait["kind"] != kind:
        verb = "complete" if kind == "approval" else "approve` or `lambdallm runs reject"
        options.leave(
            options.NO, printable(f"Step {step} is a {wait['kind']}: use `lambdallm runs {verb}`.")
        )
