"""The user's own prices: exact, under every name of a model, on every tier."""

from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.price_book.own_prices import OwnPrices, pico_usd


@pytest.mark.parametrize(
    ("text", "pico"),
    [("0.25", 250_000), ("3", 3_000_000), ("0.000001", 1), (".5", 500_000), ("1.", 1_000_000)],
)
def test_usd_for_a_million_tokens_are_pico_usd_for_one(text, pico):
    assert pico_usd(text) == pico


@given(st.decimals(0, 10**6, places=6))
def test_no_digit_is_lost(price):
    assert pico_usd(f"{price:f}") == int(price * 10**6)
    assert Decimal(pico_usd(f"{price:f}")) / 10**6 == price


def test_a_price_is_found_under_the_names_of_its_model():
    own = OwnPrices({"bedrock/us.a.b": {"input": "1", "output": "2"}, "c": {"like": "d"}})

    assert own.find(("us.a.b",), "flex").rates[:3] == (1_000_000, 2_000_000, None)
    assert own.find(("bedrock/us.a.b",), "").tier == "standard"
    assert own.find(("x", "c"), "") == "d"
    assert own.find(("x", "a.b"), "") is None


def test_limits_may_be_said_with_a_price():
    own = OwnPrices({"c": {"input": "1", "output": "2", "max_output_tokens": 16_384}})

    price = own.find(("c",), "")

    assert price.rates[:3] == (1_000_000, 2_000_000, None)
    assert (price.input_limit, price.output_limit) == (None, 16_384)
