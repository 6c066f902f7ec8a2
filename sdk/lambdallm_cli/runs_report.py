"""Runs, for people: a table of them, and one with its steps, its calls, and what it has cost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from lambdallm_cli.figures import counted, moment, printable
from lambdallm_cli.runs_asked import named
from lambdallm_wire.money import dollars
from lambdallm_wire.tokens import NO_USAGE, input_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GAP = "  "
_RIGHT = frozenset(("attempt", "in", "out", "cost", "at most", "latency"))

MAY_HAVE_BEEN_BILLED = ("intent", "partial")
"""States of calls of which nobody knows what they have cost, unless it is told."""


def show_runs(runs: Sequence[Mapping[str, Any]], found: int) -> None:
    """Write a table.

    Args:
        runs: Those to show.
        found: How many there are.
    """
    if not runs:
        click.echo("No such runs.")
        return
    heads = ("run", "owner", "chain", "status", "attempt", "last (UTC)", "leased until (UTC)")
    _write(heads, [_cells(run) for run in runs])
    for run in runs:
        if not run["name"]:  # its head cannot be read
            click.echo(f"\n{named(run['run_id'], run['owner'])}: {printable(run['error'])}")
    more = f" of {found:,}, the ones opened or closed last" if found > len(runs) else ""
    click.echo(f"\n{counted(len(runs), 'run')}{more}.")


def show_run(run: Mapping[str, Any], *, texts: bool) -> None:
    """Write all that is known of one.

    Args:
        run: `lambdallm_wire.runs.StoredRun`.
        texts: Whether what users have said is written, too.
    """
    click.echo(click.style(named(run["run_id"], run["owner"]), bold=True))
    version = f" {run['version']}" if run["version"] else ""
    click.echo(
        printable(f"{run['name']}{version}: {run['status']}, attempt {run['attempt']}. ")
        + f"Begun {moment(run['begun_epoch_ms'])}, opened or closed last "
        f"{moment(run['at_epoch_ms'])}, kept until {moment(run['expires_epoch_ms'])} UTC."
    )
    if run["leased_until_epoch_ms"]:
        click.echo(f"Nobody else opens it before {moment(run['leased_until_epoch_ms'])} UTC.")
    if run.get("error"):
        click.echo(printable(f"Why: {run['error']}"))
    if texts:
        click.echo(_text("input", run["input"]))
    _show_steps(run["steps"], texts=texts)
    _show_waits(run, texts=texts)
    _show_calls(run["calls"])
    if texts and run["output"] != "null":
        click.echo(_text("\noutput", run["output"]))
    click.echo(f"\n{_total(run)}")


def waiting(run: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a run waits for."""
    done = {step["key"] for step in run["steps"]}
    return [wait for wait in run["waits"] if wait["step"] not in done]


def _show_steps(steps: Sequence[Mapping[str, Any]], *, texts: bool) -> None:
    if not steps:
        click.echo("\nNo step is finished.")
        return
    click.echo()
    heads = ("step", "attempt", "model", "in", "out", "cost", "latency")
    _write(heads, [_step_cells(step) for step in steps])
    if texts:
        click.echo()
        for step in steps:
            click.echo(_text(step["key"], step["output"]))


def _show_waits(run: Mapping[str, Any], *, texts: bool) -> None:
    for wait in waiting(run):
        until = wait.get("expires_epoch_ms")
        how = f" until {moment(until)} UTC" if until else ""
        said = f": {wait['message']}" if texts and wait["message"] else ""
        click.echo(printable(f"\nIt waits for {wait['step']} ({wait['kind']}){how}{said}"))


def _show_calls(calls: Sequence[Mapping[str, Any]]) -> None:
    if not calls:
        return
    click.echo()
    heads = ("call of", "attempt", "state", "model", "cost", "at most", "id")
    _write(heads, [_call_cells(call) for call in calls])
    unknown = [call for call in calls if _is_unknown(call)]
    if unknown:
        click.echo(
            f"\n{counted(len(unknown), 'call')} may have been billed, and nothing more is known: "
            "compare with what the provider bills (`lambdallm calls show ID`)."
        )


def _total(run: Mapping[str, Any]) -> str:
    """Say what a run has come to."""
    parts = [f"{dollars(run['cost_pico_usd'])} in {counted(run['attempt'], 'attempt')}"]
    if run["lost_pico_usd"]:
        parts.append(f"{dollars(run['lost_pico_usd'])} of it came to nothing, or may have")
    if run["unknown_calls"]:
        unknown = counted(run["unknown_calls"], "call")
        parts.append(f"{unknown} of unknown cost counted with the most that it can be")
    if run["regenerated"]:
        parts.append(f"{counted(run['regenerated'], 'generation')} made again")
    return "; ".join(parts) + "."


def _cells(run: Mapping[str, Any]) -> tuple[str, ...]:
    leased = run["leased_until_epoch_ms"]
    version = f" {run['version']}" if run["version"] else ""
    return (
        printable(run["run_id"]),
        printable(run["owner"]),
        printable(f"{run['name']}{version}") or "?",
        run["status"],
        str(run["attempt"]),
        moment(run["at_epoch_ms"]) if run["at_epoch_ms"] else "",
        moment(leased) if leased else "",
    )


def _step_cells(step: Mapping[str, Any]) -> tuple[str, ...]:
    usage: Any = {**NO_USAGE, **step.get("usage", {})}
    asked = bool(step.get("calls"))
    return (
        printable(step["key"]),
        str(step["attempt"]),
        "left out" if step.get("skipped") else printable(step.get("model", "")),
        f"{input_tokens(usage):,}" if asked else "",
        f"{usage['output_tokens']:,}" if asked else "",
        dollars(step.get("cost_pico_usd", 0)) if asked else "",
        f"{step['latency_ms']:,} ms" if step.get("latency_ms") else "",
    )


def _call_cells(call: Mapping[str, Any]) -> tuple[str, ...]:
    cost = call.get("cost_pico_usd")
    unknown = _is_unknown(call)
    return (
        printable(f"{call['step']}.{call['number']}" if call["number"] else call["step"]),
        str(call["attempt"]),
        call["state"],
        printable(call["model"]),
        "unknown" if unknown else "" if cost is None else dollars(cost),
        dollars(call["reserved_pico_usd"]) if unknown else "",
        call["call_id"],
    )


def _is_unknown(call: Mapping[str, Any]) -> bool:
    return call["state"] in MAY_HAVE_BEEN_BILLED and "cost_pico_usd" not in call


def _text(name: str, value: str) -> str:
    """Write JSON on one line: what users have said commands no terminal."""
    return printable(f"{name}: {json.dumps(json.loads(value), ensure_ascii=False)}")


def _write(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    click.echo(click.style(_line(heads, heads, widths), bold=True))
    for row in rows:
        click.echo(_line(heads, row, widths))


def _line(heads: Sequence[str], cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = [
        f"{cell:>{width}}" if head in _RIGHT else f"{cell:<{width}}"
        for head, cell, width in zip(heads, cells, widths, strict=True)
    ]
    return _GAP.join(placed).rstrip()
