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
        for used in usages(most_input, 5_000):
            told = {**(used.raw_usage or {}), **({"inference_geo": geography} if geography else {})}
            cost = pricing.cost_pico_usd(
                model, "", Used(used.usage, tier, told), epoch_ms=NOW_MS, region=region
            )
            if cost is not None and reserved is not None:
                seen += 1
                assert cost <= reserved, (model, region, tier, used)

    assert seen > 10_000


def test_what_is_not_bounded_is_reserved_as_the_longest_call_there_is(pricing: Pricing) -> None:
    body = {"previous_response_id": "resp_1", "input": "And then?"}

    def reserved(model: str) -> int:
        return pricing.most_pico_usd(model, bound_of(body), epoch_ms=NOW_MS, region="") or 0

    assert reserved("openai/gpt-5-mini") >= 2_000_000 * 250_000 + 128_000 * 2_000_000
    assert reserved("openai/gpt-5-pro") >= 272_000 * 120_000_000
    assert reserved("bedrock/us.meta.llama4-scout-17b-instruct-v1:0") >= 10_000_000 * 170_000
