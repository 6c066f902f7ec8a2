"""Calls, for people: a table, and one in full."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from lambdallm._messages import PICO_USD
from lambdallm_wire.tokens import NO_USAGE, input_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = {"settled": "green", "failed": "red", "unknown": "magenta", "intent": "yellow"}

_HEADS = (
    "time (UTC)", "state", "model", "in", "out", "cached", "cost", "latency", "tries", "error",
)  # fmt: skip
_RIGHT = frozenset(("in", "out", "cached", "cost", "latency", "tries"))
_GAP = "  "


def show_calls(calls: Sequence[dict[str, Any]], found: int) -> None:
    """Write a table, the newest call first, and what they come to.

    Args:
        calls: Those to show.
        found: How many there are.
    """
    if not calls:
        click.echo("No such calls.")
        return
    rows = [_cells(call) for call in calls]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    click.echo(click.style(_line(_HEADS, widths), bold=True))
    for row in rows:
        line = _line(row, widths)
        state = row[1]
        styled = click.style(f"{state:<{widths[1]}}", fg=_COLOURS.get(state))
        start = widths[0] + len(_GAP)
        click.echo((line[:start] + styled + line[start + widths[1] :]).rstrip())
    click.echo(f"\n{_summary(calls, found)}")


def show_call(call: dict[str, Any]) -> None:
    """Write all that is known of one."""
    width = max(map(len, call)) + len(_GAP)
    for name, value in call.items():
        if name == "at":
            value = f"{value} ({_time(value)} UTC)"  # noqa: PLW2901 - only its form
        elif name == "cost_pico_usd":
            value = f"{value} ({_cost(call)})"  # noqa: PLW2901 - only its form
        click.echo(f"{click.style(f'{name:<{width}}', bold=True)}{value}")


def dollars(pico_usd: int) -> str:
    """Write money exactly, with six decimals at least.

    Shape: $0.000123, $0.0000012345
    """
    whole, part = divmod(pico_usd, PICO_USD)
    decimals = f"{part:012d}"
    return f"${whole}.{decimals[:6]}{decimals[6:].rstrip('0')}"


def _cells(call: dict[str, Any]) -> tuple[str, ...]:
    usage: Any = {kind: int(call.get(kind, 0)) for kind in NO_USAGE}
    settled = "output_tokens" in call
    latency = call.get("latency_ms")
    return (
        _time(call.get("at", 0)),
        str(call.get("state", "")),
        str(call.get("model", "")),
        f"{input_tokens(usage):,}" if settled else "",
        f"{usage['output_tokens']:,}" if settled else "",
        f"{usage['cache_read_tokens']:,}" if settled else "",
        _cost(call) if settled else "",
        "" if latency is None else f"{latency:,} ms",
        str(call.get("attempts", "")),
        str(call.get("error", "")),
    )


def _cost(call: dict[str, Any]) -> str:
    cost = call.get("cost_pico_usd")
    return "unknown" if cost is None else dollars(int(cost))


def _time(epoch_ms: int) -> str:
    moment = datetime.fromtimestamp(epoch_ms / 1_000, tz=timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    placed = [
        f"{cell:>{width}}" if head in _RIGHT else f"{cell:<{width}}"
        for head, cell, width in zip(_HEADS, cells, widths, strict=True)
    ]
    return _GAP.join(placed).rstrip()


def _summary(calls: Sequence[dict[str, Any]], found: int) -> str:
    states: dict[str, int] = {}
    for call in calls:
        states[str(call.get("state"))] = states.get(str(call.get("state")), 0) + 1
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    priced = [call for call in calls if "output_tokens" in call]
    costs = [call.get("cost_pico_usd") for call in priced]
    unknown = costs.count(None)
    total = dollars(sum(int(cost) for cost in costs if cost is not None))
    more = f" (the newest of {found:,})" if found > len(calls) else ""
    unpriced = f", and {unknown} without a known price" if unknown else ""
    return f"{len(calls)} calls{more}: {counted}. {total}{unpriced}."
