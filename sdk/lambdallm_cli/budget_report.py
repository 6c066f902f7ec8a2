"""Budgets, for people: a table of how they stand, a sentence of what was changed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from lambdallm_cli.figures import moment, money, printable
from lambdallm_cli.terminal import WIDE_FROM, console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HEADS = (
    "budget", "of", "window", "limit", "spent", "leased", "stranded", "unknown", "%", "ends (UTC)",
)  # fmt: skip
_LEFT = ("budget", "of", "window", "ends (UTC)")
_WIDE = ("window", "unknown", "ends (UTC)")

FULL, NEARLY = 100, 80
"""Percent: nothing fits any more; cheaper models are asked, where that is wanted."""


def show(
    rules: Sequence[Mapping[str, Any]], accounts: Sequence[Mapping[str, Any]], found: int
) -> None:
    """Write a table, and below it what is stopped.

    Args:
        rules: All that hold.
        accounts: Those to show.
        found: How many there are.
    """
    by_name = {rule["name"]: rule for rule in rules}
    screen = console()
    if accounts:
        rows = [_cells(account, by_name[account["name"]]) for account in accounts]
        screen.print(_table(rows, wide=screen.width >= WIDE_FROM))
    seen = {account["name"] for account in accounts}
    for rule in rules:
        if rule["name"] not in seen and rule["limit_pico_usd"] is not None:
            screen.print(f"{_called(rule)}: nothing is leased of it in this window.")
        if rule["stopped"]:
            screen.print(Text.assemble(("Stopped: ", "bold red"), _stopped(rule)))
    if found > len(accounts):
        screen.print(f"{len(accounts):,} of {found:,} accounts, the fullest.")


def _table(rows: Sequence[Sequence[Text]], *, wide: bool) -> Table:
    shown = [number for number, head in enumerate(_HEADS) if wide or head not in _WIDE]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number in shown:
        head = _HEADS[number]
        width = max(len(head), *(len(row[number]) for row in rows))
        table.add_column(
            head,
            justify="left" if head in _LEFT else "right",
            min_width=len(head) if head == "of" else width,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(row[number] for number in shown))
    return table


def told(change: Mapping[str, Any], rule: Mapping[str, Any] | None) -> str:
    """Say in a sentence what was changed."""
    action, scope_id = change["action"], change.get("id", "")
    if "name" not in change:
        whose = f"{change['scope']} {scope_id}".rstrip()
        return f"Spending of {printable(whose)} {'is stopped' if action == 'stop' else 'goes on'}."
    if rule is None:
        return f"The budget {change['name']} is changed where a function has it configured."
    if action in ("stop", "go"):
        return f"Spending of {_called(rule)} {'is stopped' if rule['stopped'] else 'goes on'}."
    if scope_id and scope_id in rule["limits"]:
        limit = money(rule["limits"][scope_id])
        return f"{_called(rule)}: {limit} {_each(rule)} for {printable(scope_id)}."
    at_limit = {"block": "then calls are refused", "warn": "then the log says so"}
    reaction = at_limit.get(rule["on_exceeded"], "a cheaper model from 80 % on, then refused")
    stopped = " It is stopped." if rule["stopped"] else ""
    limit = rule["limit_pico_usd"]
    amount = "no limit" if limit is None else money(limit)
    zone = "" if rule["window"] == "all" else f", windows begin in {rule['time_zone']}"
    return f"{_called(rule)}: {amount} {_each(rule)}, {reaction}{zone}.{stopped}"


def _cells(account: Mapping[str, Any], rule: Mapping[str, Any]) -> list[Text]:
    limit, percent = account["limit_pico_usd"], account["percent"]
    style = "red" if percent >= FULL else "yellow" if percent >= NEARLY else ""
    ends = account["ends_epoch_ms"]
    whose = f"{rule['scope']} {account['id']}".rstrip()
    cells = [
        printable(whose),
        account["window"],
        "" if limit is None else money(limit),
        money(account["spent_pico_usd"]),
        money(account["leased_pico_usd"]),
        _or_nothing(account["stranded_pico_usd"]),
        _or_nothing(account["unknown_pico_usd"]),
    ]
    return [
        Text(account["name"], style="bold"),
        *map(Text, cells),
        Text(f"{percent}", style=style),
        Text("never" if ends is None else moment(ends)),
    ]


def _or_nothing(pico_usd: int) -> str:
    return money(pico_usd) if pico_usd else "–"


def _stopped(rule: Mapping[str, Any]) -> str:
    if rule["why"]:
        return str(rule["why"])
    if rule["limit_pico_usd"] is not None:
        return f"{_called(rule)}. `lambdallm budget go {rule['name']}` opens it."
    whose = f"--id {shlex.quote(printable(rule['only']))}" if rule["only"] else ""
    opens = f"lambdallm budget go --scope {rule['scope']} {whose}".rstrip()
    return f"{printable(rule['scope'] + ' ' + rule['only']).rstrip()}. `{opens}` opens it."


def _called(rule: Mapping[str, Any]) -> str:
    each = "each " if rule["scope"] != "organisation" and not rule["only"] else ""
    whose = f"{each}{rule['scope']} {rule['only']}".rstrip()
    return f"{rule['name']} ({printable(whose)})"


def _each(rule: Mapping[str, Any]) -> str:
    return "for ever" if rule["window"] == "all" else f"a {rule['window']}"
