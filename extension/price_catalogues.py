"""What two community catalogues say a token costs, in one shape and in whole pico-USD.

`litellm`'s wheel is opened and its JSON read; its code is never imported. `genai-prices` is
imported from its wheel and asked. Both are under the MIT licence, checked in 2026-11.

Shape of a quote, by tier; a kind that a catalogue does not name is left out:
    {"standard": {"input": 250000, "output": 2000000, "cache_read": 25000,
                  "above": {"tokens": 272000, "input": 500000, …}},
     "flex": {"input": 125000, …}}
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

LITELLM = "litellm==1.109.1"
LITELLM_RETIRED = "litellm==1.72.0"
"""The last series that still lists Claude 3 Haiku and Sonnet, GPT-4.5, o1-mini and Gemini 1.5."""
GENAI_PRICES = "genai-prices==0.2.3"
PACKAGES = (LITELLM, LITELLM_RETIRED, GENAI_PRICES)

LITELLM_JSON = "litellm/model_prices_and_context_window_backup.json"
LITELLM_FAMILIES = {
    "bedrock": "",
    "bedrock_converse": "",
    "bedrock_mantle": "mantle/",
    "openai": "openai/",
    "text-completion-openai": "openai/",
    "anthropic": "anthropic/",
    "gemini": "gemini/",
}
"""`litellm_provider` to what the book's keys of it begin with."""

GENAI_PROVIDERS = {"": "aws", "mantle/": "aws"} | {
    f"{name}/": provider
    for name, provider in (("openai", "openai"), ("anthropic", "anthropic"), ("gemini", "google"))
}

GEOGRAPHIES = ("us", "us-gov", "eu", "apac", "jp", "au", "ca", "in", "global")

KINDS = {
    "input": ("input_cost_per_token", "input_mtok"),
    "output": ("output_cost_per_token", "output_mtok"),
    "cache_read": ("cache_read_input_token_cost", "cache_read_mtok"),
    "cache_write_5m": ("cache_creation_input_token_cost", "cache_write_mtok"),
    "cache_write_1h": ("cache_creation_input_token_cost_above_1hr", "cache_write_1h_mtok"),
    "input_audio": ("input_cost_per_audio_token", "input_audio_mtok"),
    "output_audio": ("output_cost_per_audio_token", "output_audio_mtok"),
    "cache_read_audio": ("cache_read_input_audio_token_cost", "cache_audio_read_mtok"),
    "input_image": ("input_cost_per_image_token", "input_image_mtok"),
    "output_image": ("output_cost_per_image_token", "output_image_mtok"),
    "cache_read_image": ("cache_read_input_image_token_cost", "cache_image_read_mtok"),
}
"""The book's kinds, and what the catalogues call them."""

TWELVE_HOURS = "cache_creation_input_token_cost_above_12hr"
"""OpenAI's longer cache, which usage counts under `cache_write_1h_tokens`."""

TIERS = {"": "standard", "_batches": "batch"} | {
    f"_{name}": name for name in ("flex", "priority", "ultrafast")
}
"""What stands behind a kind in litellm's JSON, and the tier that it is the price of."""

VARIANTS = {
    ("processing", "batch"): "batch",
    ("service_tier", "flex"): "flex",
    ("service_tier", "priority"): "priority",
    ("speed", "fast"): "fast",
}
"""The same of genai-prices. OpenAI's `fast` is its `priority` under an older name."""

_STEP = re.compile(r"_above_(\d+)k_tokens")

_OTHERS_SPELLING = re.compile(
    r"gpt-(\d-\d(\D|$)|35|oss)|.*:(extended|thinking)|gemini-(flash|pro)-1"
)
"""Ids of resellers, which genai-prices lists beside the vendor's own."""

PICO_PER_USD = 10**12
TOKENS_PER_MTOK = 10**6

Quote = dict[str, dict[str, Any]]


class Litellm:
    """One release's JSON."""

    def __init__(self, wheels: Path, package: str) -> None:
        """Read it, numbers as the text they are written in."""
        name, _, version = package.partition("==")
        wheel = next(iter(sorted(wheels.glob(f"{name}-{version}-*.whl"))))
        self.name = package.replace("==", " ")
        listed = json.loads(zipfile.ZipFile(wheel).read(LITELLM_JSON), parse_float=str)
        self.entries: dict[str, dict[str, Any]] = {}
        self.listed: dict[str, dict[str, Any]] = listed
        for model_id, entry in sorted(listed.items()):
            key = _key(model_id, str(entry.get("litellm_provider", "")))
            if key:
                self.entries.setdefault(key, entry)

    def quotes(self) -> dict[str, Quote]:
        """Return what is charged by the token, by the book's keys."""
        found = {}
        for key, entry in self.entries.items():
            quote = litellm_quote(entry)
            if quote:
                found[key] = quote
                us = (entry.get("provider_specific_entry") or {}).get("us")
                if us and key.startswith("anthropic/"):  # `inference_geo`
                    found[f"us/{key}"] = _times(quote, Decimal(str(us)))
        return found

    def page(self, key: str) -> str:
        """Return the vendor's page that an entry names, "" where it names none."""
        entry = self.entries.get(key) or self.entries.get(key.removeprefix("us/")) or {}
        return str(entry.get("source", ""))


class GenaiPrices:
    """The other catalogue, asked for one day."""

    name = GENAI_PRICES.replace("==", " ")

    def __init__(self, wheels: Path) -> None:
        """Import it from its wheel."""
        package, _, version = GENAI_PRICES.partition("==")
        wheel = next(iter(wheels.glob(f"{package.replace('-', '_')}-{version}-*.whl")))
        sys.path.insert(0, str(wheel))
        from genai_prices import data_snapshot  # type: ignore[import-not-found]  # of the wheel

        providers = {item.id: item for item in data_snapshot.get_snapshot().providers}
        self._providers = {
            beginning: providers[name] for beginning, name in GENAI_PROVIDERS.items()
        }

    def quotes(self, key: str, day: str) -> dict[str, Quote]:
        """Return what is charged on a day, and what is announced from later days on.

        Args:
            key: Of the book.
            day: `YYYY-MM-DD`.

        Returns:
            By first day, "" for the one that `day` lies in; a day before it is history.
        """
        region, beginning, model_id = _parts(key)
        model = None if region else self._providers[beginning].find_model(model_id)
        if model is None:
            return {}
        begins = {""} | {str(start) for start in _starts(model)}
        current = max((begin for begin in begins if begin <= day), default="")
        quotes = {}
        for begin in sorted(begins):
            at = date.fromisoformat(begin or "2000-01-01")
            quote = _genai_quote(model, date.fromisoformat(day) if begin == current else at)
            if quote:
                quotes["" if begin == current else begin or "0000"] = quote
        if current and "0000" in quotes:
            quotes[f"<{current}"] = quotes.pop("0000")
        return {begin: quote for begin, quote in quotes.items() if _is_told(begin, day)}

    def window(self, key: str) -> int:
        """Return how many tokens a model reads and writes together, 0 where it does not say."""
        region, beginning, model_id = _parts(key)
        provider = None if region else self._providers.get(beginning)
        model = provider.find_model(model_id) if provider else None
        return int(getattr(model, "context_window", None) or 0)

    def exact_ids(self) -> set[str]:
        """Return the keys of ids that it knows by their whole name; others it guesses by parts."""
        found: set[str] = set()
        for beginning in ("", "openai/", "anthropic/", "gemini/"):
            for model in self._providers[beginning].models:
                ids = {clause.equals for clause in _equal_clauses(model.match)}
                if beginning == "" and not model.id.endswith("-v1:0"):
                    ids.add(model.id)
                found |= {beginning + one for one in ids if _belongs(beginning, one)}
        return found


def download(folder: Path) -> Path:
    """Fetch the three wheels from the package index, those that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        name = package.replace("-", "_").replace("==", "-")
        if not list(folder.glob(f"{name}-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary", ":all:", "--dest", str(folder), package]
            subprocess.run(command, check=True)
    return folder


def litellm_quote(entry: dict[str, Any]) -> Quote:
    """Take one entry apart; {} where it is not charged by the token, or is free of charge."""
    quote: Quote = {}
    embeds = entry.get("mode") == "embedding"
    names = [*((kind, name) for kind, (name, _) in KINDS.items()), ("cache_write_1h", TWELVE_HOURS)]
    for kind, name in names:
        for field, price in entry.items():
            rest = field.removeprefix(name) if field.startswith(name) else None
            if rest is None or isinstance(price, dict) or price is None:
                continue
            step = _STEP.match(rest)
            tier = TIERS.get(rest[step.end() :] if step else rest)
            if tier is None or (embeds and kind == "output"):
                continue
            rates = quote.setdefault(tier, {})
            if step:
                rates = rates.setdefault("above", {"tokens": int(step[1]) * 1_000})
                if rates["tokens"] != int(step[1]) * 1_000:
                    message = f"{field}: a second step; the book has room for one"
                    raise ValueError(message)
            rates[kind] = max(pico(price, 1), rates.get(kind, 0))
    fast = (entry.get("provider_specific_entry") or {}).get("fast")
    if fast and "standard" in quote:
        quote["fast"] = _times({"fast": quote["standard"]}, Decimal(str(fast)))["fast"]
    return _charged(quote)


def pico(price: Any, tokens: int) -> int:
    """Return pico-USD for one token of a price in USD for `tokens` of them.

    Raises:
        ValueError: It is not a whole number of them.
    """
    exact = Decimal(str(price)) * PICO_PER_USD / tokens
    if exact != int(exact) or exact < 0:
        message = f"{price} USD for {tokens} tokens is not a whole number of pico-USD"
        raise ValueError(message)
    return int(exact)


def _charged(quote: Quote) -> Quote:
    """Return the tiers with a price for what is read; a price of 0 is no price of a model."""
    return {
        tier: rates
        for tier, rates in quote.items()
        if rates.get("input") and rates.get("output") != 0
    }


def _times(quote: Quote, factor: Decimal) -> Quote:
    def rates(before: dict[str, Any]) -> dict[str, Any]:
        return {
            kind: rates(price)
            if kind == "above"
            else price
            if kind == "tokens"
            else pico(Decimal(price) * factor / PICO_PER_USD, 1)
            for kind, price in before.items()
        }

    return {tier: rates(prices) for tier, prices in quote.items()}


def _key(model_id: str, provider: str) -> str:
    """Return the book's key of an id in litellm's JSON, "" for what is not asked on demand."""
    beginning = LITELLM_FAMILIES.get(provider)
    if beginning is None or "@" in model_id or "commitment" in model_id:
        return ""
    *path, name = model_id.split("/")
    if path and path[0] in ("bedrock", "bedrock_mantle", "openai", "gemini"):
        path = path[1:]
    if not beginning and "." not in name:  # no MAKER.MODEL
        return ""
    if not path:
        return beginning + name
    region = path[0]
    is_region = len(path) == 1 and beginning in ("", "mantle/") and region.count("-") >= 2  # noqa: PLR2004 - us-east-1, us-gov-west-1
    return f"{region}/{beginning}{name}" if is_region and region[-1].isdigit() else ""


def _parts(key: str) -> tuple[str, str, str]:
    """Return a key's region, what its family's keys begin with, and its id."""
    region, _, rest = key.partition("/")
    if f"{region}/" in GENAI_PROVIDERS:
        return "", f"{region}/", rest
    if not rest:
        return "", "", key
    _, beginning, model_id = _parts(rest)
    return region, beginning, model_id


def _belongs(beginning: str, model_id: str) -> bool:
    """Whether an id of genai-prices is one that the vendor itself takes."""
    if beginning == "":
        maker, _, rest = model_id.partition(".")
        return bool(rest) and maker != "regional" and "/" not in model_id and maker.islower()
    own = {"gemini/": "gemini-", "anthropic/": "claude-"}.get(beginning, "")
    return model_id.startswith(own) and not _OTHERS_SPELLING.match(model_id)


def _equal_clauses(clause: Any) -> list[Any]:
    nested = getattr(clause, "or_", None) or getattr(clause, "and_", None) or []
    found = [clause] if hasattr(clause, "equals") else []
    return found + [one for part in nested for one in _equal_clauses(part)]


def _starts(model: Any) -> set[date]:
    """Return the days on which prices begin; a tier that was noted later is no new price."""
    priced = model.prices if isinstance(model.prices, list) else []
    starts = {getattr(item.constraint, "start_date", None) for item in priced}
    return {start for start in starts if start}


def _is_told(begin: str, day: str) -> bool:
    return begin == "" or begin.startswith("<") or begin > day


def _genai_quote(model: Any, day: date) -> Quote:
    prices = model.prices
    if isinstance(prices, list):
        prices = next(item for item in reversed(prices) if _holds(item.constraint, day)).prices
    quote = {"standard": _genai_rates(prices)}
    for variant in model.price_variants or []:  # the latest first
        for when in variant.when.items():
            tier = VARIANTS.get(when)
            alone = tier not in quote and len(variant.when) == 1
            if tier and alone and _holds(variant.constraint, day):
                quote[tier] = _genai_rates(variant.prices)
    return _charged(quote)


def _holds(constraint: Any, day: date) -> bool:
    start = getattr(constraint, "start_date", None)
    return constraint is None or (start is not None and start <= day)


def _genai_rates(prices: Any) -> dict[str, Any]:
    base: dict[str, Any] = {}
    above: dict[str, Any] = {}
    for kind, (_, name) in KINDS.items():
        price = getattr(prices, name, None)
        if price is None:
            continue
        if isinstance(price, Decimal):
            base[kind] = above[kind] = pico(price, TOKENS_PER_MTOK)
            continue
        (step,) = price.tiers
        base[kind] = pico(price.base, TOKENS_PER_MTOK)
        above[kind] = pico(step.price, TOKENS_PER_MTOK)
        above["tokens"] = step.start
    return {**base, "above": above} if "tokens" in above else base
