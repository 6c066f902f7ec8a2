"""A settled call is priced by what its answer says: who answered, on which tier, with what."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.played import Gateway
from lambdallm_extension.domain.answers import ChatAnswer
from lambdallm_extension.price_book.pricing import Pricing
from lambdallm_extension.services.calls import Books
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings
from lambdallm_wire.tokens import NO_USAGE


@pytest.fixture
def gateway() -> Gateway:
    gateway = Gateway()
    settings = Settings.from_environ({"AWS_REGION": "us-east-1"})
    unused: Any = None
    prices = Pricing(settings, unused, unused, HandClock(), Workers(), unused)
    gateway.books = Books(gateway.recorder, prices, gateway.clock, lambda: "env")
    return gateway


def settled(gateway: Gateway, model: str, **answered: Any) -> int | None:
    call = gateway.call()
    call.intend(model)
    usage: Any = {**NO_USAGE, "uncached_input_tokens": 100}
    answer = ChatAnswer("", [], "stop", usage, answered.pop("answering"), "r", **answered)
    return call.settle(model, answer).cost_pico_usd


def test_the_tier_that_is_billed_and_who_answered_count(gateway: Gateway) -> None:
    answering = "gpt-5-mini-2025-08-07"

    flex = settled(gateway, "openai/gpt-5-mini", answering=answering, service_tier="flex")

    assert flex == 100 * 125_000
    assert gateway.totals.cost_pico_usd == flex
    assert gateway.totals.unpriced_calls == 0


def test_audio_is_paid_as_audio(gateway: Gateway) -> None:
    raw = {"prompt_tokens": 100, "prompt_tokens_details": {"audio_tokens": 60}}

    cost = settled(gateway, "openai/gpt-audio", answering="gpt-audio", raw_usage=raw)

    assert cost == 40 * 2_500_000 + 60 * 32_000_000


def test_a_tier_that_nobody_prices_is_counted_as_unpriced(gateway: Gateway) -> None:
    assert settled(gateway, "openai/gpt-5", answering="gpt-5", service_tier="scale") is None
    assert gateway.totals.unpriced_calls == 1


def test_an_embedding_has_a_price(gateway: Gateway) -> None:
    model = "amazon.titan-embed-text-v2:0"

    assert settled(gateway, f"bedrock/{model}", answering=model) == 100 * 20_000
