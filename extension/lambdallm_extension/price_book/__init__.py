"""What a token costs: effective-dated rows with their source, in whole pico-USD (1e-12 USD).

`prices.json` beside this file is made by `extension/generate_price_book.py` and read at the
first question. A model it does not know has no price: None, never 0 and never a guess.

Shape of prices.json:
    {"sources": ["…"], "models": {"us.amazon.nova-micro-v1:0": [
        {"from": "", "input": 35000, "output": 140000, "cache_read": 8750,
         "cache_write_5m": null, "cache_write_1h": null,
         "above_tokens": null, "above": null, "source": 0, "as_of": "2026-11-21"}]}}

Each source and each model stands on a line of its own, and a question reads one line: the
whole book would take 2 ms of the start and half a megabyte.

A key is a model's id, or `region/id` where a region has its own price. `from` is the first day
(UTC) of a row, "" for ever; `disputed` marks a row whose two catalogues disagree (the higher
price stands in it).
"""

from __future__ import annotations

from time import gmtime, strftime

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import Usage

__all__ = ["Price", "Rates", "cost_pico_usd", "find"]


class Rates(NamedTuple):
    """Pico-USD for one token of each kind; None: that kind has no known price."""

    input: int | None
    output: int | None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None


class Price(NamedTuple):
    """A model's price at one time, in pico-USD for a token.

    Attributes:
        source: Where it was read.
        as_of: The day it was read, `YYYY-MM-DD`.
        above_tokens: A call whose whole input, cached tokens included, is longer than this is
            paid by `above` for all its tokens; None: there is no such step.
        disputed: Whether another catalogue names another price.
    """

    input: int | None
    output: int | None
    cache_read: int | None
    cache_write_5m: int | None
    cache_write_1h: int | None
    source: str
    as_of: str
    above_tokens: int | None = None
    above: Rates | None = None
    disputed: bool = False


def find(model_id: str, epoch_ms: int, region: str = "") -> Price | None:
    """Return the price of a model at an instant, or None when the book has none.

    Args:
        model_id: A provider's id, with or without `bedrock/` before it, or an ARN; `scripted/…`
            is the one family whose price is known to be 0.
        epoch_ms: When it is asked.
        region: Where, for the few ids whose price depends on it; an ARN's own region wins.
    """
    if model_id.startswith("scripted/"):
        return _at(_rows("scripted/*"), epoch_ms)
    model_id = model_id.removeprefix("bedrock/")
    if model_id.startswith("arn:"):
        region, model_id = _from_arn(model_id)
    return _at(_rows(f"{region}/{model_id}") or _rows(model_id), epoch_ms)


def cost_pico_usd(price: Price, usage: Usage) -> int | None:
    """Return what a call costs, exactly; None when it used a kind of token without a price."""
    counts = (
        usage["uncached_input_tokens"],
        usage["output_tokens"],
        usage["cache_read_tokens"],
        usage["cache_write_5m_tokens"],
        usage["cache_write_1h_tokens"],
    )
    rates: tuple[int | None, ...] = price[:5]
    if price.above_tokens is not None and sum(counts) - counts[1] > price.above_tokens:
        if price.above is None:
            return None
        rates = price.above
    total = 0
    for rate, tokens in zip(rates, counts, strict=True):
        if tokens and rate is None:
            return None
        total += (rate or 0) * tokens
    return total


def _from_arn(arn: str) -> tuple[str, str]:
    """Return an ARN's region, and the id in it with its geography; "" where it names no model."""
    *_, region, _account, resource = ("", *arn.split(":", 5))[-3:]
    kind, _, model_id = resource.partition("/")
    known = kind in ("foundation-model", "inference-profile")
    return (region, model_id) if known else ("", "")


def _at(rows: list[dict[str, Any]], epoch_ms: int) -> Price | None:
    day = strftime("%Y-%m-%d", gmtime(epoch_ms // 1000))
    row = next((row for row in reversed(rows) if row["from"] <= day), None)
    if row is None:
        return None
    return Price(
        row["input"],
        row["output"],
        row["cache_read"],
        row["cache_write_5m"],
        row["cache_write_1h"],
        source=_source(row["source"]),
        as_of=row["as_of"],
        above_tokens=row["above_tokens"],
        above=Rates(*row["above"]) if row["above"] else None,
        disputed=row.get("disputed", False),
    )


def _rows(key: str) -> list[dict[str, Any]]:
    """Return a key's rows, read from its line; none where the book does not have it."""
    book = _book()
    line = f"\n{plain_json.dumps(key, ensure_ascii=True)}:["
    begin = book.find(line)
    if begin < 0:
        return []
    begin += len(line) - 1
    rows: list[dict[str, Any]] = plain_json.loads(book[begin : book.index("\n", begin)].rstrip(","))
    return rows


def _source(number: int) -> str:
    line = _book().split("\n", number + 2)[number + 1]  # behind the line that opens the list
    source: str = plain_json.loads(line.rstrip(","))
    return source


def _book() -> str:
    """Return the book, read once. Two threads that begin together both read it: no harm."""
    if not _READ:
        path = f"{__file__.rpartition('/')[0]}/prices.json"
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 8 ms of a cold start
            _READ.append(file.read().decode())
    return _READ[0]


_READ: list[str] = []
