"""What the demo shows: on a terminal with colour, elsewhere (or with NO_COLOR) as plain text."""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from demo import Turn

WIDTH_MAX = 96
PLAIN_WIDTH = 88
SECONDS_PER_HOUR = 3600


class Screen:
    """Prints the parts of the demo, top to bottom."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
        self._console = Console(
            force_terminal=False if plain else None, no_color=plain, highlight=False
        )
        self._console.width = PLAIN_WIDTH if plain else min(self._console.width, WIDTH_MAX)

    def title(self, model: str) -> None:
        """Say what is about to be seen."""
        self._print()
        self._print(f"[bold]lambdallm[/] · a chat that remembers, with {escape(model)}")
        self._print()

    @contextlib.contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show on a terminal that something is under way."""
        with self._console.status(escape(what)):
            yield

    def fact(self, name: str, what: str) -> None:
        """Show one line of the setting."""
        self._print(f"  [dim]{name:<9}[/] {escape(what)}")

    def environment(self, name: str, *, first: bool) -> None:
        """Open the part of one execution environment."""
        what = "a cold start" if first else "a new one; no process of the first is left"
        self._part(f"Execution environment {name}", what)

    def scene(self, title: str, remark: str) -> None:
        """Open a part about something else."""
        self._part(title, remark)
        self._print()

    def call(self, name: str, what: str) -> None:
        """Show what became of one call, or of several."""
        line = Table.grid(padding=(0, 2), pad_edge=False)
        line.add_column(width=8, justify="right", style="dim")
        line.add_column(overflow="fold")
        line.add_row(name, escape(what))
        self._print(line)

    def turn(self, number: int, turn: Turn) -> None:
        """Show a question, its answer, and what is known about it."""
        lines = Table.grid(padding=(0, 2), pad_edge=False)
        lines.add_column(width=8, justify="right", style="dim")
        lines.add_column(overflow="fold")
        lines.add_row(f"{number} you", f"[bold]{escape(turn.question)}[/]")
        lines.add_row("model", f"[cyan]{escape(turn.reply)}[/]")
        lines.add_row("", f"[dim]{' · '.join(_facts(turn))}[/]")
        self._print()
        self._print(lines)

    def totals(self, turns: Sequence[Turn]) -> None:
        """Sum up, each environment and both."""
        table = Table(box=SIMPLE, pad_edge=False)
        table.add_column("", no_wrap=True)
        for name in ("Turns", "Tokens in", "Tokens out", "Cost", "Cold start", "Warm"):
            table.add_column(name, justify="right")
        names = list(dict.fromkeys(turn.environment for turn in turns))
        for name in names:
            part = [turn for turn in turns if turn.environment == name]
            table.add_row(f"Environment {name}", *_sums(part))
        table.add_section()
        table.add_row("[bold]Together[/]", *_sums(turns))
        self._part("Totals")
        self._print(table)

    def items(self, table_name: str, items: Sequence[dict[str, Any]]) -> None:
        """Show what the store holds at the end."""
        table = Table(box=SIMPLE, pad_edge=False)
        for name, width in (("pk", 13), ("sk", 16), ("expires in", 10)):
            table.add_column(name, no_wrap=True, min_width=width, max_width=width)
        table.add_column("holds", overflow="ellipsis", no_wrap=True)
        now = time.time()
        for item in items:
            hours = f"{(int(item['expires_at']) - now) / SECONDS_PER_HOUR:,.0f} h"
            table.add_row(escape(item["pk"]), escape(item["sk"]), hours, escape(_content(item)))
        self._part(f"{len(items)} items in the table {table_name}")
        self._print(table)

    def ending(self, *, bedrock: bool) -> None:
        """Say what to try next."""
        self._part("Next")
        again = "./build.sh demo" if bedrock else "./build.sh demo --bedrock"
        for command, what in (
            (again, "with a scripted model" if bedrock else "the same with a real model"),
            ("examples/chat/app.py", "the function that you have just seen"),
            ("examples/report/app.py", "a chain that waits, over three environments"),
            ("examples/async_chat/app.py", "two questions at once, in a coroutine"),
            ("./build.sh layer", "the layer, for `sam deploy --guided` with template.yaml"),
            ("./build.sh test", "every promise of RELIABILITY.md, checked"),
        ):
            self._print(f"  [bold]{command:<28}[/] [dim]{what}[/]")
        self._print()

    def _part(self, title: str, remark: str = "") -> None:
        text = f"[bold]{escape(title)}[/]" + (f" · {remark}" if remark else "")
        self._print()
        self._print(Rule(text, align="left", style="dim"))

    def _print(self, *what: RenderableType) -> None:
        """Print without the blanks that tables leave at the ends of lines."""
        with self._console.capture() as captured:
            self._console.print(*what)
        for line in captured.get().splitlines():
            self._console.file.write(line.rstrip() + "\n")
        self._console.file.flush()


def _facts(turn: Turn) -> list[str]:
    if turn.init_ms is None:
        took = f"warm, {turn.duration_ms:.0f} ms"
    else:
        took = f"cold, {turn.init_ms:.0f} + {turn.duration_ms:.0f} ms"
    return [
        f"{turn.remembered} turns remembered",
        f"{turn.input_tokens} tokens in, {turn.output_tokens} out",
        _usd(turn.cost_usd),
        took,
    ]


def _sums(turns: Sequence[Turn]) -> list[str]:
    known = [turn.cost_usd for turn in turns if turn.cost_usd is not None]
    cost = sum(known, Decimal(0)) if len(known) == len(turns) else None
    cold = [turn.init_ms + turn.duration_ms for turn in turns if turn.init_ms is not None]
    warm = [turn.duration_ms for turn in turns if turn.init_ms is None]
    return [
        str(len(turns)),
        str(sum(turn.input_tokens for turn in turns)),
        str(sum(turn.output_tokens for turn in turns)),
        _usd(cost),
        f"{statistics.mean(cold):.0f} ms" if cold else "-",
        f"{statistics.median(warm):.0f} ms" if warm else "-",
    ]


def _usd(cost: Decimal | None) -> str:
    return "cost unknown" if cost is None else f"${cost.normalize():f}"


def _content(item: dict[str, Any]) -> str:
    """Word an item of the store for a reader."""
    if item["sk"] == "HEAD":
        return f"{item['exchanges']} exchanges"
    if item["sk"].startswith("TURN#"):
        content = json.loads(item["content"])
        return f"{item['role']}: {content}"
    if item["pk"].startswith("CALL#"):
        cost = item.get("cost_pico_usd")
        exact = None if cost is None else Decimal(cost).scaleb(-12)
        tokens = sum(int(value) for name, value in item.items() if name.endswith("_tokens"))
        return f"{item['state']}, {tokens} tokens, {_usd(exact)}"
    if item["pk"].startswith("SPEND#"):
        return "what one environment has spent on this day, for `lambdallm cost`"
    return f"number {item['number']}, {item['turns']} turns"
