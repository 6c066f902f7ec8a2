"""What is reserved for a call is never less than what it costs within its bound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lambdallm_extension import price_book
from lambdallm_extension.domain.call_bounds import Bound, bound_of
from lambdallm_extension.ports import Used
from lambdallm_extension.price_book import Price, Rates, reservations
from lambdallm_extension.price_book.pricing import Pricing
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings, SystemClock

NOW_MS = 1_795_000_000_000
"""In November 2026."""

KINDS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h")
MODALITIES = ("", "audio_tokens", "image_tokens")


@pytest.fixture(scope="module")
def pricing() -> Pricing:
    return Pricing(
        Settings.from_environ({"AWS_REGION": "us-east-1"}), lambda: pytest.fail("credentials"),
        lambda _name, _port: pytest.fail("a host"), SystemClock(), Workers(), print,
    )  # fmt: skip


def asked() -> Iterator[tuple[str, str, str, str]]:
    """Yield every model of the book as it is asked: name, region, geography, tier."""
    path = Path(price_book.__file__).with_name("prices.json")
    for key in json.loads(path.read_text())["models"]:
        place, _, rest = key.partition("/")
        model, region, geography = key, "", ""
        if rest.startswith("anthropic/"):
            model, geography = rest, place
        elif place[-1:].isdigit() and rest:
            model, region = f"bedrock/{rest}", place
        elif not rest:
            model = f"bedrock/{key}"
        tiers = {tier for row in price_book.built_in().rows(key) for tier in row["prices"]}
        for tier in sorted(tiers):
            yield model, region, geography, tier


def limits_of(pricing: Pricing, model: str, region: str) -> tuple[int, int]:
    """Return what a model reads and writes at most, where the book knows."""
    price = pricing.find(model, NOW_MS, region)
    limits = (None, None) if price is None else (price.input_limit, price.output_limit)
    return limits[0] or 10**9, limits[1] or reservations.OUTPUT_TOKENS_MAX


def usages(most_input: int, most_output: int) -> Iterator[Used]:
    """Yield the corners of what a bound allows: a cost is greatest in one of them."""
    for kind, given, made in product(KINDS, MODALITIES, MODALITIES):
        usage: Any = dict.fromkeys((f"{each}_tokens" for each in KINDS), 0)
        usage |= {f"{kind}_tokens": most_input, "output_tokens": most_output}
        cached = {given: most_input} if kind == "cache_read" else {}
        raw = {
            "prompt_tokens_details": {given: most_input, "cached_tokens_details": cached},
            "completion_tokens_details": {made: most_output},
        }
        yield Used(usage, "", raw)


@pytest.mark.parametrize("most_input", [1_000, 1_000_000])
def test_no_usage_within_a_bound_costs_more_than_was_reserved(
    pricing: Pricing, most_input: int
) -> None:
    bound = Bound(most_input, 5_000)
    seen = 0
    for model, region, geography, tier in asked():
        reserved = pricing.most_pico_usd(model, bound, epoch_ms=NOW_MS, region=region)
        reads, _ = limits_of(pricing, model, region)
        for used in usages(min(most_input, reads), 5_000):
            told = {**(used.raw_usage or {}), **({"inference_geo": geography} if geography else {})}
            cost = pricing.cost_pico_usd(
                model, "", Used(used.usage, tier, told), epoch_ms=NOW_MS, region=region
            )
            if cost is not None and reserved is not None:
                seen += 1
                assert cost <= reserved, (model, region, tier, used)

    assert seen > 10_000


@pytest.mark.parametrize(
    "bound",
    [
        Bound(None, None),
        pytest.param(Bound(500, None), marks=pytest.mark.slow),
        pytest.param(Bound(500, None, 3, 2), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_whatever_a_model_can_read_and_write_was_reserved(pricing: Pricing, bound: Bound) -> None:
    rounds = bound.answers + bound.tool_uses
    seen = 0
    for model, region, _, tier in asked():
        reserved = pricing.most_pico_usd(model, bound, epoch_ms=NOW_MS, region=region)
        reads, writes = limits_of(pricing, model, region)
        read = (bound.input_tokens or min(reads, 1_000_000)) * rounds
        for used in usages(read, writes * rounds):
            cost = pricing.cost_pico_usd(
                model, "", Used(used.usage, tier, used.raw_usage), epoch_ms=NOW_MS, region=region
            )
            if cost is not None and reserved is not None:
                seen += 1
                assert cost <= reserved, (model, region, tier, used)

    assert seen > 10_000


def test_what_is_not_bounded_is_reserved_as_the_longest_call_there_is(pricing: Pricing) -> None:
    body = {"previous_response_id": "resp_1", "input": "And then?"}

    def reserved(model: str) -> int:
        return pricing.most_pico_usd(model, bound_of(body), epoch_ms=NOW_MS, region="") or 0

    whole = 400_000 * 450_000 + 128_000 * 3_600_000  # on the priority tier
    assert whole <= reserved("openai/gpt-5-mini") <= whole * 21 // 20
    unknown = "openai-compatible/unknown"
    assert pricing.most_pico_usd(unknown, bound_of(body), epoch_ms=NOW_MS, region="") is None
    assert reserved("openai/gpt-5-pro") >= 272_000 * 120_000_000
    assert reserved("bedrock/us.meta.llama4-scout-17b-instruct-v1:0") >= 10_000_000 * 170_000


def a_price(**more: Any) -> Price:
    return Price(Rates(input=10, output=100), source="test", as_of="2026-11-21", **more)


def most(price: Price, *bound: Any, **more: Any) -> int:
    return reservations.most_pico_usd(price, Bound(*bound, **more)) or 0


def test_a_model_writes_no_more_than_its_limit() -> None:
    limited = a_price(input_limit=200_000, output_limit=4_000)

    assert most(limited, 50, None) == 50 * 10 + 4_200 * 100
    assert most(limited, 50, None, 3) == 3 * (50 * 10 + 4_200 * 100)
    assert most(limited, 50, 70) == 50 * 10 + 70 * 100
    assert most(limited, None, 70) == 210_000 * 10 + 70 * 100
    assert most(limited, 3_000_000, 70) == 210_000 * 10 + 70 * 100


def test_a_model_whose_limits_nobody_knows_may_be_any() -> None:
    assert most(a_price(), None, None) == 2_097_152 * 10 + 131_072 * 100
    assert most(a_price(), 3_000_000, 1) == 3_000_000 * 10 + 100  # texts to embed


def test_what_is_written_beside_the_limit_is_reserved_too() -> None:
    assert most(a_price(), 50, 70, more_output_tokens=1_000) == 50 * 10 + 1_070 * 100


def test_each_use_of_a_tool_is_a_round_of_its_own() -> None:
    fees = 2 * reservations.TOOL_USE_PICO_USD
    limited = a_price(input_limit=2_000, output_limit=400)

    assert most(limited, 50, 70, 1, 2) == (50 + 2 * 2_100) * 10 + 3 * 70 * 100 + fees


def test_the_price_of_a_long_call_is_reserved_where_it_may_be_one() -> None:
    stepped = a_price(above_tokens=1_000, above=Rates(input=90, output=900), output_limit=100)

    assert most(stepped, 1_000, 5) == 1_000 * 10 + 5 * 100
    assert most(stepped, 1_001, 5) == 1_001 * 90 + 5 * 900
    assert most(stepped, 600, 5, 2) == 1_200 * 90 + 5 * 900
