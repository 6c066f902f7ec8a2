"""`lambdallm bench models`: how fast models answer one prompt, and what that costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from lambdallm import _errors, _settings
from lambdallm_cli.calls_report import dollars

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HEADS = ("model", "answers", "first token", "whole", "tokens/s", "in", "out", "cost of one")
_GAP = "  "
_OUTSIDE = 3


class Answer(NamedTuple):
    """One answer.

    Attributes:
        first_ms: Until the first piece of any kind had come.
        whole_ms: Until the last one.
        cost_pico_usd: None where no price is known.
    """

    first_ms: float
    whole_ms: float
    input_tokens: int
    output_tokens: int
    cost_pico_usd: int | None

    @property
    def tokens_per_second(self) -> float:
        """How fast the rest came, once the first piece was there; 0 where all came at once."""
        seconds = (self.whole_ms - self.first_ms) / 1_000
        return self.output_tokens / seconds if seconds > 0 else 0.0


class Measured:
    """What came of one model."""

    def __init__(self, model: str) -> None:
        """Begin with nothing."""
        self.model = model
        self.answers: list[Answer] = []
        self.errors: list[str] = []

    def median(self, of: Callable[[Answer], float]) -> float | None:
        """Return the median of something, None without an answer."""
        return median(map(of, self.answers)) if self.answers else None

    @property
    def cost_pico_usd(self) -> int | None:
        """Of one answer in the middle; None where no price is known."""
        costs = sorted(
            answer.cost_pico_usd for answer in self.answers if answer.cost_pico_usd is not None
        )
        return costs[len(costs) // 2] if costs else None

    def to_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "model": self.model,
            "answers": len(self.answers),
            "first_token_ms": self.median(lambda answer: answer.first_ms),
            "whole_ms": self.median(lambda answer: answer.whole_ms),
            "tokens_per_second": self.median(lambda answer: answer.tokens_per_second),
            "input_tokens": self.median(lambda answer: answer.input_tokens),
            "output_tokens": self.median(lambda answer: answer.output_tokens),
            "cost_pico_usd": self.cost_pico_usd,
            "errors": self.errors,
            "runs": [answer._asdict() for answer in self.answers],
        }


@click.group()
def bench() -> None:
    """Measure what one decides by."""


@bench.command(
    epilog="Example: lambdallm bench models --prompt question.txt --runs 5 "
    "bedrock/us.amazon.nova-micro-v1:0 openai/gpt-5-mini"
)
@click.argument("model", nargs=-1, required=True)
@click.option(
    "--prompt",
    "prompt_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text file: what every model is asked.",
)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--max-tokens", type=click.IntRange(1), default=1_024, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line for programs.")
def models(
    model: tuple[str, ...], prompt_file: Path, runs: int, max_tokens: int, as_json: bool
) -> None:
    """Ask each MODEL the same, and show medians: first token, whole answer, speed, cost.

    The models are asked in turns, one call at a time, from this machine, without retries, with
    the configuration that lies here. It costs what the answers cost; each call is recorded.

    Exits with 3 when a model has not answered at all.
    """
    prompt = prompt_file.read_text(encoding="utf-8")
    if not prompt.strip():
        message = f"{prompt_file} is empty."
        raise click.UsageError(message)
    measured = measure(list(dict.fromkeys(model)), prompt, runs, max_tokens, _progress)
    if as_json:
        results = [each.to_json() for each in measured]
        click.echo(json.dumps({"runs": runs, "models": results}, ensure_ascii=False))
    else:
        _show(measured)
    sys.exit(0 if all(each.answers for each in measured) else _OUTSIDE)


def measure(
    models: Sequence[str],
    prompt: str,
    runs: int,
    max_tokens: int,
    progress: Callable[[str], None],
) -> list[Measured]:
    """Ask the models in turns, so that whatever else changes meanwhile meets all of them."""
    measured = [Measured(model) for model in models]
    for run in range(1, runs + 1):
        for each in measured:
            progress(f"run {run} of {runs}: {each.model}")
            try:
                each.answers.append(_ask(each.model, prompt, max_tokens))
            except _errors.LambdaLLMError as error:
                each.errors.append(error.detail)
    return measured


def _ask(model: str, prompt: str, max_tokens: int) -> Answer:
    from lambdallm._context import LambdaLLMContext

    context = LambdaLLMContext(None, "fail-fast", 0.0, 0, None, None, [])
    outcome, first = "error", 0.0
    started = _settings.monotonic()
    try:
        stream = context.stream(prompt, model=model, max_tokens=max_tokens)
        for _ in stream.events():
            first = first or _settings.monotonic()
        ended = _settings.monotonic()
        outcome = "ok"
    finally:
        context.work.end(outcome, "", 0.0)
    response = stream.response
    assert response is not None  # noqa: S101 - a stream that ends has one, or raises
    return Answer(
        ((first or ended) - started) * 1_000,
        (ended - started) * 1_000,
        response.input_tokens,
        response.output_tokens,
        response.cost_pico_usd,
    )


def _progress(what: str) -> None:
    click.echo(what, err=True)


def _show(measured: Sequence[Measured]) -> None:
    rows = [_cells(each) for each in measured]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    click.echo(click.style(_line(_HEADS, widths), bold=True))
    for row in rows:
        click.echo(_line(row, widths))
    for each in measured:
        for error in dict.fromkeys(each.errors):
            click.echo(f"\n{click.style(each.model, fg='red')}: {error}")


def _cells(each: Measured) -> tuple[str, ...]:
    if not each.answers:
        return (each.model, "none", *("",) * (len(_HEADS) - 2))
    facts = each.to_json()
    cost = facts["cost_pico_usd"]
    return (
        each.model,
        f"{len(each.answers)} of {len(each.answers) + len(each.errors)}",
        f"{facts['first_token_ms']:,.0f} ms",
        f"{facts['whole_ms']:,.0f} ms",
        f"{facts['tokens_per_second']:,.0f}" if facts["tokens_per_second"] else "at once",
        f"{facts['input_tokens']:,.0f}",
        f"{facts['output_tokens']:,.0f}",
        "unknown" if cost is None else dollars(cost),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = cells
    placed = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
    return _GAP.join([f"{first:<{widths[0]}}", *placed]).rstrip()
