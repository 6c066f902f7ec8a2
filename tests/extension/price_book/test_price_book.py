"""Prices and costs, to the last pico-USD."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension import price_book
from lambdallm_extension.price_book import Book, Price, Rates, cost_pico_usd, find

NOW_MS = 1_795_000_000_000
BOOK = json.loads((Path(price_book.__file__).parent / "prices.json").read_text())
KEYS = sorted(BOOK["models"])
KINDS = Rates._fields
PLACES = ("uncached", "output", "read", "write_5m", "write_1h")


def usage(uncached=0, read=0, write_5m=0, write_1h=0, output=0):
    return {
        "uncached_input_tokens": uncached,
        "cache_read_tokens": read,
        "cache_write_5m_tokens": write_5m,
        "cache_write_1h_tokens": write_1h,
        "output_tokens": output,
    }


def cost(model_id, tier="", **used):
    return cost_pico_usd(find(model_id, NOW_MS, tier=tier), usage(**used))


def input_price(model_id, region="", tier=""):
    return find(model_id, NOW_MS, region, tier=tier).rates.input


@pytest.mark.parametrize(
    ("model_id", "tier", "used", "pico_usd"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "", {"uncached": 14, "output": 9}, 14_750_000),
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "default",
            {"uncached": 1200, "read": 18_000, "write_5m": 2000, "output": 350},
            23_925_000_000,
        ),
        (
            "anthropic/claude-haiku-5-5",
            "standard",
            {"uncached": 100_000, "output": 1000},
            10_500_000_000,
        ),
        ("anthropic/claude-haiku-5-5", "", {"uncached": 100_001, "output": 1000}, 52_500_500_000),
        (
            "openai/gpt-5-mini",
            "flex",
            {"uncached": 5000, "read": 3072, "output": 1200},
            1_863_400_000,
        ),
        (
            "global.anthropic.claude-haiku-5-5",
            "",
            {"uncached": 1, "read": 100_000, "output": 1},
            500_000 + 100_000 * 50_000 + 2_500_000,
        ),
        ("us.amazon.nova-micro-v1:0", "", {"uncached": 3, "read": 5}, 3 * 35_000 + 5 * 8_750),
        ("us.meta.llama3-3-70b-instruct-v1:0", "", {"uncached": 1, "output": 1}, 1_440_000),
        ("openai/text-embedding-3-small", "", {"uncached": 7}, 7 * 20_000),
        ("amazon.titan-embed-text-v2:0", "", {"uncached": 7}, 7 * 20_000),
        ("gemini/gemini-2.5-pro", "", {"uncached": 200_001}, 200_001 * 2_500_000),
        ("gemini/gemini-2.5-pro", "priority", {"uncached": 4}, 4 * 2_250_000),
        ("amazon.nova-2-lite-v1:0", "priority", {"uncached": 1000, "output": 1000}, 5_390_000_000),
        ("mantle/openai.gpt-oss-20b", "", {"uncached": 1, "output": 1}, 70_000 + 300_000),
        ("anthropic/claude-opus-5-5", "fast", {"uncached": 1}, 8_000_000),
    ],
)
def test_costs_are_exact(model_id, tier, used, pico_usd):
    assert cost(model_id, tier, **used) == pico_usd


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        "amazon.nova-lite-v9-imaginary",
        "anthropic.claude-imaginary-9",
        "us.anthropic.claude-3-haiku",
        "us.",
        "scripted",
        "openai/gpt-imaginary",
        "openai/us.amazon.nova-lite-v1:0",
        "bedrock/gpt-5-mini",
        "acme/gpt-5-mini",
        "us/openai",
        "us-gov.anthropic.claude-opus-5-5-imaginary",
        "arn:",
        "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
        "arn:aws:bedrock:us-east-1:1:provisioned-model/abc",
        "arn:aws:bedrock:us-east-1:1:prompt-router/anthropic.claude-3-haiku-20240307-v1:0",
    ],
)
def test_what_the_book_does_not_know_has_no_price(model_id):
    assert find(model_id, NOW_MS) is None


@pytest.mark.parametrize("tier", ["reserved", "scale", "flexible", "priority"])
def test_a_tier_without_prices_has_none(tier):
    assert find("anthropic/claude-haiku-5-5", NOW_MS, tier=tier) is None


def test_tiers_have_prices_of_their_own():
    prices = [input_price("gpt-5-mini", tier=tier) for tier in ("batch", "flex", "", "PRIORITY")]

    assert prices == [125_000, 125_000, 250_000, 450_000]
    assert input_price("openai/gpt-5-mini", tier="fast") == 450_000  # OpenAI's older word


@pytest.mark.parametrize(
    ("arn", "model_id"),
    [
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-haiku-5-5",
            "us.anthropic.claude-haiku-5-5",
        ),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-5-5",
            "anthropic.claude-haiku-5-5",
        ),
    ],
)
def test_an_arn_keeps_its_geography(arn, model_id):
    assert find(arn, NOW_MS) == find(model_id, NOW_MS)
    assert find(f"bedrock/{arn}", NOW_MS) == find(f"bedrock/{model_id}", NOW_MS)
    assert find(arn, NOW_MS) != find("global.anthropic.claude-haiku-5-5", NOW_MS)


def test_a_bare_id_pays_the_regional_price_and_the_government_more():
    prices = [
        input_price(f"{geography}anthropic.claude-haiku-5-5")
        for geography in ("global.", "us.", "", "us-gov.")
    ]
    assert prices == [100_000, 110_000, 110_000, 120_000]


def test_a_region_with_its_own_price_is_paid_there():
    bare = "anthropic.claude-haiku-5-5"
    arn = f"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{bare}"

    assert input_price(bare, "us-gov-west-1") == 120_000
    assert input_price(bare, "eu-west-1") == 110_000
    assert input_price(arn, "eu-west-1") == 120_000


def test_anthropic_in_one_country_costs_more():
    assert input_price("anthropic/claude-haiku-5-5", "us") == 110_000
    assert input_price("anthropic/claude-haiku-5-5", "global") == 100_000


def test_a_geography_without_a_row_pays_the_models_highest_price():
    base = "anthropic.claude-opus-4-5-20251101-v1:0"

    price = find(f"jp.{base}", NOW_MS)

    assert price.rates == find(f"us.{base}", NOW_MS).rates
    assert price.rates.input > find(f"global.{base}", NOW_MS).rates.input
    assert f"jp.{base} has no row" in price.rule
    assert find(f"us-gov.{base}", NOW_MS) is None  # which costs more than all others
    assert not find(f"us.{base}", NOW_MS).rule


def test_a_geography_without_a_tier_does_not_say_that_it_has_no_row():
    price = find("eu.amazon.nova-2-lite-v1:0", NOW_MS, tier="priority")

    assert price.key != "eu.amazon.nova-2-lite-v1:0"
    assert "eu.amazon.nova-2-lite-v1:0 has no price on this tier" in price.rule


def test_a_model_that_was_trained_on_has_the_price_of_its_kind():
    price = find("openai/ft:gpt-4o-mini-2024-07-18:my-org:my-name:AbC123", NOW_MS)

    assert price == find("openai/ft:gpt-4o-mini-2024-07-18", NOW_MS)


def test_scripted_models_are_known_to_cost_nothing():
    assert cost("scripted/anything", uncached=10**9, read=5, write_1h=5, output=10**9) == 0


def price_of(*rates, **more):
    return Price(Rates(*rates), source="test", as_of="2026-11-21", **more)


def test_a_used_kind_without_a_price_leaves_the_cost_unknown():
    assert cost_pico_usd(price_of(1, 2), usage(uncached=3, output=4)) == 11
    assert cost_pico_usd(price_of(1, 2), usage(uncached=3, read=1)) is None
    assert cost_pico_usd(price_of(1, 2), usage(write_1h=1)) is None


def test_a_step_without_prices_leaves_the_cost_unknown():
    price = price_of(1, 2, above_tokens=10)

    assert cost_pico_usd(price, usage(uncached=10, output=99)) == 208
    assert cost_pico_usd(price, usage(uncached=11)) is None


def test_audio_is_paid_as_audio_where_that_has_a_price():
    raw = {"prompt_tokens_details": {"audio_tokens": 40}, "completion_tokens_details": {}}
    spoken = usage(uncached=100, output=10)

    apart = price_of(1, 2)._replace(rates=Rates(1, 2, input_audio=50))
    assert cost_pico_usd(apart, spoken, raw) == 60 + 40 * 50 + 20
    assert cost_pico_usd(price_of(1, 2), spoken, raw) == 120
    cached = {"input_token_details": {"cached_tokens_details": {"audio_tokens": 5}}}
    assert cost_pico_usd(apart, usage(read=5), cached) is None
    assert cost_pico_usd(price_of(1, 2, 3), usage(read=5), cached) == 15


@given(
    used=st.tuples(*[st.integers(0, 10**7)] * 5),
    rates=st.tuples(*[st.integers(0, 10**9)] * 5),
    above=st.tuples(*[st.integers(0, 10**9)] * 5),
    step=st.integers(0, 4 * 10**7),
)
def test_a_cost_is_the_sum_of_its_kinds_at_one_step(used, rates, above, step):
    price = price_of(*rates, above_tokens=step, above=Rates(*above))
    uncached, output, read, write_5m, write_1h = used
    paid = above if uncached + read + write_5m + write_1h > step else rates

    total = cost_pico_usd(price, usage(uncached, read, write_5m, write_1h, output))

    assert type(total) is int
    assert total == sum(rate * tokens for rate, tokens in zip(paid, used, strict=True))


@given(
    key=st.sampled_from([key for key in KEYS if not key.startswith("scripted/")]),
    place=st.sampled_from(PLACES),
    used=st.tuples(*[st.integers(0, 10**6)] * 5),
    more=st.integers(1, 10**6),
)
def test_more_tokens_never_cost_less(key, place, used, more):
    counted = dict(zip(PLACES, used, strict=True))
    price = find(key, NOW_MS) or find(key, 4_000_000_000_000)  # announced, or of one tier alone

    if price is None:
        return
    less = cost_pico_usd(price, usage(**counted))
    greater = cost_pico_usd(price, usage(**{**counted, place: counted[place] + more}))
    assert less is None or greater is None or less <= greater


def book_of(rows):
    models = f'"m":{json.dumps(rows)}'
    return Book(f'{{"version":1,"sources":[\n"test"\n],\n"models":{{\n{models}\n}}}}\n')


def test_a_row_counts_from_its_first_day():
    def row(begin, price):
        prices = {"standard": {"input": price, "output": price}}
        return {"from": begin, "prices": prices, "source": 0, "as_of": "2026-11-21"}

    book = book_of([row("2026-01-01", 2), row("2026-07-01", 1)])

    assert find("m", 1_767_225_599_999, book=book) is None  # 2025-12-31, the last millisecond
    assert find("m", 1_767_225_600_000, book=book).rates.input == 2
    assert find("m", 1_782_863_999_999, book=book).rates.input == 2
    assert find("m", 1_782_864_000_000, book=book).rates.input == 1
    assert find("m", 1_782_864_000_000, book=book).begins == "2026-07-01"


def test_prices_that_have_changed_are_those_of_the_day():
    june_2025, july_2025 = 1_749_427_200_000, 1_751_328_000_000

    assert find("openai/o3", june_2025).rates.input == 10_000_000  # until 2025-06-09
    assert find("openai/o3", july_2025).rates.input == 2_000_000
    december = 1_796_083_200_000  # 2026-12-01
    assert find("gemini/gemini-4-argon", december - 1).rates.input == 2_000_000
    assert find("gemini/gemini-4-argon", december).rates.input == 4_000_000


@pytest.mark.parametrize("key", ["sources", "", '"', 'm":[', "\n", "\ud83d"])
def test_what_is_no_model_has_no_price(key):
    assert find(key, NOW_MS) is None


def test_current_models_are_priced_wherever_they_are_asked():
    for model_id in (
        "global.anthropic.claude-haiku-5-5",
        "global.anthropic.claude-sonnet-5-5",
        "global.anthropic.claude-opus-5-5",
        "global.anthropic.claude-fable-5-1",
        "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        "global.anthropic.claude-sonnet-4-6",
        "global.amazon.nova-2-lite-v1:0",
        "us.amazon.nova-micro-v1:0",
        "us.meta.llama4-maverick-17b-instruct-v1:0",
        "cohere.embed-v4:0",
        "mantle/anthropic.claude-haiku-5-5",
        "openai/gpt-6-sol",
        "openai/gpt-6-sol",
        "anthropic/claude-sonnet-5-5",
        "gemini/gemini-3.8-flash",
    ):
        assert find(model_id, NOW_MS), model_id


def test_retired_models_stay_priced():
    for model_id in (
        "anthropic.claude-3-haiku-20240307-v1:0",
        "us.anthropic.claude-3-sonnet-20240229-v1:0",
        "amazon.titan-text-express-v1",
        "meta.llama3-8b-instruct-v1:0",
        "openai/gpt-4.5-preview",
        "gemini/gemini-1.5-pro",
    ):
        assert find(model_id, NOW_MS), model_id
