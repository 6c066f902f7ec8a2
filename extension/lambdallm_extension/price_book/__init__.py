"""What a token costs: effective-dated rows with their source, in whole pico-USD (1e-12 USD).

`prices.json` beside this file is made by `extension/generate_price_book.py` and read at the
first question. A model it does not know has no price: None, never 0 and never a guess.

    exact id ─► ARN: its region and the id in it ─► the highest of the model's geographies ─► None

    us.anthropic.claude-haiku-5-5          Bedrock: bare, or a profile with its geography
    us-gov-west-1/anthropic.claude-…       where a region has a price of its own
    mantle/openai.gpt-oss-120b             Bedrock's endpoint in the form of other APIs
    openai/…  anthropic/…  gemini/…        the vendors themselves
    us/anthropic/claude-haiku-5-5          Anthropic with `inference_geo`
"""

from __future__ import annotations

from time import gmtime, strftime

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain.token_kinds import counts
from lambdallm_extension.price_book.book import Book, built_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm_wire.chat import Usage

__all__ = ["STANDARD", "Book", "Price", "Rates", "built_in", "cost_pico_usd", "find", "tier_of"]

STANDARD = "standard"

_TIERS = {
    "": STANDARD, "default": STANDARD, "auto": STANDARD, "on_demand": STANDARD,
    "batches": "batch",
}  # fmt: skip
"""Other words for the book's; what stands neither here nor in a row has no price."""

_GEOGRAPHIES = ("us", "eu", "apac", "jp", "au", "ca", "in", "global")
_GOVERNMENT = "us-gov"
"""Its prices lie above all others, which therefore say nothing about them."""

_VENDORS = ("openai/", "anthropic/", "gemini/", "mantle/")


class Rates(NamedTuple):
    """Pico-USD for one token of each kind; None: that kind has no known price.

    Audio and images of None cost what text costs: a catalogue names them where they do not.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    cache_read_audio: int | None = None
    input_image: int | None = None
    output_image: int | None = None
    cache_read_image: int | None = None


class Price(NamedTuple):
    """A model's price at one time, on one tier.

    Attributes:
        rates: Of a call that is not long.
        source: Where it was read.
        as_of: The day it was read, `YYYY-MM-DD`.
        key: The book's id of it.
        begins: The first day that it holds on, "" for ever.
        tier: `standard`, `batch`, `flex`, `priority`, …
        above_tokens: A call whose whole input, cached tokens included, is longer than this is
            paid by `above` for all its tokens; None: there is no such step.
        disputed: Whether another catalogue names another price.
        rule: Why this row, where it is not the asked id's own, as a sentence.
        input_limit: Tokens that its model reads at most; None: the book does not say.
        output_limit: Tokens that it writes at most, in one answer.
    """

    rates: Rates
    source: str
    as_of: str
    key: str = ""
    begins: str = ""
    tier: str = STANDARD
    above_tokens: int | None = None
    above: Rates | None = None
    disputed: bool = False
    rule: str = ""
    input_limit: int | None = None
    output_limit: int | None = None


def find(
    model_id: str, epoch_ms: int, region: str = "", *, tier: str = "", book: Book | None = None
) -> Price | None:
    """Return the price of a model at an instant, or None when the book has none.

    Args:
        model_id: `provider/id`, a bare id of any vendor's (Bedrock's first), or an ARN;
            `scripted/…` is the one family whose price is known to be 0.
        epoch_ms: When it is asked.
        region: Where, for the few ids whose price depends on it; an ARN's own region wins.
        tier: In the provider's own words, "" for the standard one.
        book: Another edition than the one that was shipped.
    """
    at = _Asked(book or built_in(), strftime("%Y-%m-%d", gmtime(epoch_ms // 1000)), tier_of(tier))
    if model_id.startswith("scripted/"):
        return at.price("scripted/*")
    name = model_id.removeprefix("bedrock/")
    if name.startswith("arn:"):
        region, name = _from_arn(name)
        return at.first(f"{region}/{name}", name) or at.by_geography(name)
    name = name.replace("bedrock_mantle/", "mantle/", 1)
    if name.startswith("openai/ft:"):  # ft:MODEL:ORGANISATION:NAME:ID has the price of ft:MODEL
        name = ":".join(name.split(":")[:2])
    vendors = () if "/" in model_id else tuple(vendor + name for vendor in _VENDORS)
    if model_id.startswith("bedrock/"):
        vendors = (f"mantle/{name}",)
    return at.first(f"{region}/{name}", name, *vendors) or at.by_geography(name)


def cost_pico_usd(
    price: Price, usage: Usage, raw_usage: Mapping[str, Any] | None = None
) -> int | None:
    """Return what a call costs, exactly; None when it used a kind of token without a price.

    Args:
        price: On the tier that is billed.
        usage: In disjoint counts.
        raw_usage: The provider's own words, which say what of that was audio or images.
    """
    rates = price.rates
    used = counts(usage, raw_usage)
    if price.above_tokens is not None and used.input_tokens > price.above_tokens:
        if price.above is None:
            return None
        rates = price.above
    total = 0
    for kind, tokens in used.by_kind(rates):
        rate = getattr(rates, kind)
        if tokens and rate is None:
            return None
        total += (rate or 0) * tokens
    return total


def tier_of(service_tier: str) -> str:
    """Return the book's word for a provider's service tier."""
    return _TIERS.get(service_tier.lower(), service_tier.lower())


class _Asked(NamedTuple):
    """A question: which edition, which day, which tier."""

    book: Book
    day: str
    tier: str

    def first(self, *keys: str) -> Price | None:
        """Return the price of the first key that the book has."""
        for key in keys:
            if key and self.book.rows(key):
                return self.price(key)
        return None

    def price(self, key: str, rule: str = "") -> Price | None:
        """Return a key's price, None where it has none on that day or on that tier."""
        rows = self.book.rows(key)
        row = next((row for row in reversed(rows) if row["from"] <= self.day), None)
        if row is None:
            return None
        prices = row["prices"].get(self.tier)
        if prices is None and self.tier == "fast" and key.startswith("openai/"):  # its older word
            prices = row["prices"].get("priority")
        if prices is None:
            return None
        rates = dict(prices)
        above = dict(rates.pop("above", {}))
        reads, writes = rows[-1].get("limits", (None, None))
        return Price(
            above_tokens=above.pop("tokens", None),
            above=Rates(**above) if above else None,
            rates=Rates(**rates),
            source=self.book.source(row["source"]),
            as_of=row["as_of"],
            key=key,
            begins=row["from"],
            tier=self.tier,
            disputed=row.get("disputed", False),
            rule=rule,
            input_limit=reads,
            output_limit=writes,
        )

    def by_geography(self, name: str) -> Price | None:
        """Return the highest price that a model has in any geography, for one without a row."""
        geography, _, rest = name.partition(".")
        if geography == _GOVERNMENT or "/" in name:
            return None
        base = rest if geography in _GEOGRAPHIES else name
        keys = (base, *(f"{one}.{base}" for one in _GEOGRAPHIES))
        lacks = "price on this tier" if self.book.rows(name) else "row"
        rule = f"{name} has no {lacks}: the highest of its model's rows stands for it"
        known = [found for key in keys if base and (found := self.price(key, rule))]
        return max(known, key=lambda price: (price.rates.input or 0, price.key), default=None)


def _from_arn(arn: str) -> tuple[str, str]:
    """Return an ARN's region, and the id in it with its geography; "" where it names no model."""
    *_, region, _account, resource = ("", *arn.split(":", 5))[-3:]
    kind, _, model_id = resource.partition("/")
    known = kind in ("foundation-model", "inference-profile")
    return (region, model_id) if known else ("", "")
