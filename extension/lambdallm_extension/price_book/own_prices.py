"""Prices that the user knows better than the book: `cost.prices` of `lambdallm.yaml`.

    cost:
      prices:
        'openai/gpt-5-mini': {input: '0.20', output: '1.60', cache_read: '0.02'}
        'arn:aws:bedrock:…:application-inference-profile/abc': {like: us.amazon.nova-lite-v1:0}

They hold on every day and every tier. A kind that is not named is unknown, as in the book.
`max_input_tokens` and `max_output_tokens` say what the model reads and writes at most.
"""

from __future__ import annotations

from lambdallm_extension.price_book import Price, Rates, tier_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = "cost.prices of lambdallm.yaml"

_LIMITS = ("max_input_tokens", "max_output_tokens")

_DECIMALS = 6
"""USD for a million tokens is micro-USD for one; pico-USD are a million times finer."""


def canonical(name: str) -> str:
    """Return a model's name as it is compared: an id of Bedrock's stands alone."""
    return name.removeprefix("bedrock/")


class OwnPrices:
    """All of them, by the name that the user gave."""

    def __init__(self, configured: Mapping[str, Mapping[str, str | int]]) -> None:
        """Take what the configuration holds, which was checked when it was read."""
        self._configured = {canonical(name): prices for name, prices in configured.items()}

    def find(self, names: tuple[str, ...], tier: str) -> Price | str | None:
        """Return the first name's price, or the name of the model whose price it has.

        Args:
            names: What the model is called, the most exact name first.
            tier: In the provider's own words.
        """
        for name in names:
            prices = self._configured.get(canonical(name))
            if prices is None:
                continue
            if "like" in prices:
                return str(prices["like"])
            rates = {kind: pico_usd(text) for kind, text in prices.items() if type(text) is str}
            reads, writes = (prices.get(limit) for limit in _LIMITS)
            return Price(
                Rates(**rates),
                source=SOURCE,
                as_of="",
                key=name,
                tier=tier_of(tier),
                input_limit=reads if type(reads) is int else None,
                output_limit=writes if type(writes) is int else None,
            )
        return None


def pico_usd(usd_per_million: str) -> int:
    """Return pico-USD for one token of a decimal of USD for a million, exactly.

    Shape: "0.25" is 250000
    """
    whole, _, decimals = usd_per_million.partition(".")
    return int(f"{whole or '0'}{decimals.rstrip('0').ljust(_DECIMALS, '0')}")
