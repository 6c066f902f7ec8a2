"""What a call would cost, with the row that says so. Loaded when somebody asks."""

from __future__ import annotations

from lambdallm_extension.price_book import Rates, cost_pico_usd
from lambdallm_wire.tokens import input_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.price_book import Book, Price
    from lambdallm_wire.chat import Usage
    from lambdallm_wire.prices import PriceReply, PriceRow

NEAR_MAX = 5
LIKENESS_MIN = 0.5
"""Of the pairs of letters in two names, that both have."""

PART_MIN = 3
"""Letters of a name that is looked for within others."""

_TIERS = ("standard", "batch", "flex", "priority", "fast", "ultrafast")


def quote(
    find: Callable[[str], Price | None], model: str, usage: Usage, *, tier: str, book: Book
) -> PriceReply:
    """Return what a call would cost; see `lambdallm_wire.prices`.

    Args:
        find: Returns the model's price on a tier.
        model: As it is asked.
        usage: What the call would use.
        tier: In the provider's own words, "" for the standard one.
        book: In which `find` looks.
    """
    price = find(tier)
    offered = [name for name in _TIERS if find(name) is not None]
    return {
        "model": model,
        "row": None if price is None else _row(price, usage),
        "cost_pico_usd": None if price is None else cost_pico_usd(price, usage),
        "tiers": offered,
        "near": [] if offered else near(model, book.keys()),
        "version": book.version,
    }


def near(model: str, keys: list[str]) -> list[str]:
    """Return the keys whose names are most like a model's, the nearest first.

    Those that it is a part of come first, then those that share the most pairs of letters with it.

    Args:
        model: As somebody wrote it.
        keys: All there are.
    """
    name = model.rpartition("/")[2].lower()
    wanted = _pairs(name)

    def likeness(key: str) -> float:
        there = _pairs(key.rpartition("/")[2])
        shared = 2 * len(wanted & there) / (len(wanted) + len(there) or 1)
        return shared + (len(name) >= PART_MIN and name in key)

    ranked = sorted(keys, key=lambda key: (-likeness(key), len(key), key))
    return [key for key in ranked[:NEAR_MAX] if likeness(key) >= LIKENESS_MIN]


def _pairs(text: str) -> set[str]:
    return {text[place : place + 2] for place in range(len(text) - 1)}


def _row(price: Price, usage: Usage) -> PriceRow:
    is_above = price.above_tokens is not None and input_tokens(usage) > price.above_tokens
    rates = (price.above if is_above else price.rates) or Rates()
    return {
        "key": price.key,
        "tier": price.tier,
        "begins": price.begins,
        "source": price.source,
        "as_of": price.as_of,
        "disputed": price.disputed,
        "rule": price.rule,
        "pico_usd_per_token": {
            kind: rate for kind, rate in rates._asdict().items() if rate is not None
        },
        "above_tokens": price.above_tokens,
        "is_above": is_above,
        "input_limit": price.input_limit,
        "output_limit": price.output_limit,
    }
