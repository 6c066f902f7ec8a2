"""Prices and costs, to the last pico-USD."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension import price_book
from lambdallm_extension.price_book import Price, Rates, cost_pico_usd, find

NOW_MS = 1_795_000_000_000
BOOK = json.loads((Path(price_book.__file__).parent / "prices.json").read_text())
ROWS = [(key, row) for key, rows in BOOK["models"].items() for row in rows]
KINDS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


def usage(uncached=0, read=0, write_5m=0, write_1h=0, output=0):
    return {
        "uncached_input_tokens": uncached,
        "cache_read_tokens": read,
        "cache_write_5m_tokens": write_5m,
        "cache_write_1h_tokens": write_1h,
        "output_tokens": output,
    }


def cost(model_id, **used):
    return cost_pico_usd(find(model_id, NOW_MS), usage(**used))


@pytest.mark.parametrize(
    ("model_id", "used", "pico_usd"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", {"uncached": 14, "output": 9}, 14_750_000),
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            {"uncached": 1200, "read": 18_000, "write_5m": 2000, "output": 350},
            23_925_000_000,
        ),
        (
            "global.anthropic.claude-haiku-5-5",
            {"uncached": 100_000, "output": 1000},
            10_500_000_000,
        ),
        (
            "global.anthropic.claude-haiku-5-5",
            {"uncached": 100_001, "output": 1000},
            52_500_500_000,
        ),
        (
            "global.anthropic.claude-haiku-5-5",
            {"uncached": 1, "read": 100_000, "output": 1},
            500_000 + 100_000 * 50_000 + 2_500_000,
        ),
        ("us.amazon.nova-micro-v1:0", {"uncached": 3, "read": 5}, 3 * 35_000 + 5 * 8_750),
        ("us.meta.llama3-3-70b-instruct-v1:0", {"uncached": 1, "output": 1}, 1_440_000),
    ],
)
def test_costs_are_exact(model_id, used, pico_usd):
    assert cost(model_id, **used) == pico_usd


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        "amazon.nova-lite-v9-imaginary",
        "anthropic.claude-imaginary-9",
        "us.anthropic.claude-3-haiku",
        "scripted",
        "openai/gpt-imaginary",
        "arn:",
        "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
        "arn:aws:bedrock:us-east-1:1:prompt-router/anthropic.claude-3-haiku-20240307-v1:0",
    ],
)
def test_what_the_book_does_not_know_has_no_price(model_id):
    assert find(model_id, NOW_MS) is None


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
        find(f"{geography}anthropic.claude-haiku-5-5", NOW_MS).input
        for geography in ("global.", "us.", "", "us-gov.")
    ]
    assert prices == [100_000, 110_000, 110_000, 120_000]


def test_a_region_with_its_own_price_is_paid_there():
    bare = "anthropic.claude-haiku-5-5"
    arn = f"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{bare}"

    assert find(bare, NOW_MS, "us-gov-west-1").input == 120_000
    assert find(bare, NOW_MS, "eu-west-1").input == 110_000
    assert find(arn, NOW_MS, "eu-west-1").input == 120_000


def test_scripted_models_are_known_to_cost_nothing():
    assert cost("scripted/anything", uncached=10**9, read=5, write_1h=5, output=10**9) == 0


def test_a_used_kind_without_a_price_leaves_the_cost_unknown():
    price = Price(1, 2, None, None, None, source="test", as_of="2026-11-21")

    assert cost_pico_usd(price, usage(uncached=3, output=4)) == 11
    assert cost_pico_usd(price, usage(uncached=3, read=1)) is None
    assert cost_pico_usd(price, usage(write_1h=1)) is None


def test_a_step_without_prices_leaves_the_cost_unknown():
    price = Price(1, 2, None, None, None, source="test", as_of="2026-11-21", above_tokens=10)

    assert cost_pico_usd(price, usage(uncached=10, output=99)) == 208
    assert cost_pico_usd(price, usage(uncached=11)) is None


@given(
    counts=st.tuples(*[st.integers(0, 10**7)] * 5),
    rates=st.tuples(*[st.integers(0, 10**9)] * 5),
    above=st.tuples(*[st.integers(0, 10**9)] * 5),
    step=st.integers(0, 4 * 10**7),
)
def test_a_cost_is_the_sum_of_its_kinds_at_one_step(counts, rates, above, step):
    price = Price(*rates, source="test", as_of="2026-11-21", above_tokens=step, above=Rates(*above))
    uncached, output, read, write_5m, write_1h = counts
    paid = above if uncached + read + write_5m + write_1h > step else rates

    total = cost_pico_usd(price, usage(uncached, read, write_5m, write_1h, output))

    assert total == sum(rate * tokens for rate, tokens in zip(paid, counts, strict=True))


def test_a_row_counts_from_its_first_day(monkeypatch):
    def row(begin, price):
        return {
            **dict.fromkeys(KINDS, price),
            "from": begin,
            "above_tokens": None,
            "above": None,
            "source": 0,
            "as_of": "2026-11-21",
        }

    rows = [row("2026-01-01", 2), row("2026-07-01", 1)]
    book = f'{{"sources":[\n"test"\n],\n"models":{{\n"m":{json.dumps(rows)}\n}}}}\n'
    monkeypatch.setattr(price_book, "_READ", [book])
    days = {"2025-12-31": 1_767_225_599_999, "2026-01-01": 1_767_225_600_000}

    assert find("m", days["2025-12-31"]) is None
    assert find("m", days["2026-01-01"]).input == 2
    assert find("m", 1_782_863_999_999).input == 2  # 2026-06-30, the last millisecond
    assert find("m", 1_782_864_000_000).input == 1


@pytest.mark.parametrize(("key", "row"), ROWS, ids=[key for key, _ in ROWS])
def test_every_row_is_found(key, row):
    region, _, model_id = key.rpartition("/")
    if region == "scripted":
        region, model_id = "", "scripted/any"

    price = find(model_id, NOW_MS, region)

    assert price.source == BOOK["sources"][row["source"]]
    assert price[:5] == tuple(row[kind] for kind in KINDS)


@pytest.mark.parametrize("key", ["sources", "", '"', 'm":[', "\n", "\ud83d"])
def test_what_is_no_model_has_no_price(key):
    assert find(key, NOW_MS) is None


@pytest.mark.parametrize(("key", "row"), ROWS, ids=[key for key, _ in ROWS])
def test_every_row_is_whole(key, row):
    for kind in KINDS:
        assert row[kind] is None or (type(row[kind]) is int and row[kind] >= 0)
    assert isinstance(row["input"], int)
    assert isinstance(row["output"], int)
    assert BOOK["sources"][row["source"]]
    assert len(row["as_of"]) == len("2026-11-21")
    assert row["from"] == "" or len(row["from"]) == len("2026-11-21")
    if row["above_tokens"] is not None:
        assert len(row["above"]) == len(KINDS)
    if not key.startswith("scripted/"):
        assert row["input"] > 0


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
        "us.amazon.nova-lite-v1:0",
        "us.amazon.nova-pro-v1:0",
        "us.meta.llama4-maverick-17b-instruct-v1:0",
        "us.meta.llama3-3-70b-instruct-v1:0",
    ):
        assert find(model_id, NOW_MS), model_id


def test_retired_models_stay_priced():
    for model_id in (
        "anthropic.claude-3-haiku-20240307-v1:0",
        "us.anthropic.claude-3-sonnet-20240229-v1:0",
        "amazon.titan-text-express-v1",
        "meta.llama3-8b-instruct-v1:0",
    ):
        assert find(model_id, NOW_MS), model_id
