"""What a call would cost, by the route: with the row that says so, or what may have been meant."""

import json

import pytest

from lambdallm_extension import engine as engines
from lambdallm_extension.price_book.quotation import near
from lambdallm_extension.settings import Settings
from lambdallm_wire import codec, routes

KEYS = ["amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0", "openai/gpt-5-mini", "openai/gpt-5"]


@pytest.fixture
def ask(tmp_path):
    (tmp_path / "lambdallm.yaml").write_text(
        "models:\n  fast:\n    model: openai/gpt-5-mini\n"
        "cost:\n  prices:\n    'mine/llama':\n      input: '0.10'\n      output: 0.4\n"
    )
    engine = engines.build(
        Settings.from_environ(
            {
                "LAMBDALLM_STORE": "memory:",
                "AWS_REGION": "us-east-1",
                "LAMBDALLM_CONFIG": str(tmp_path / "lambdallm.yaml"),
            }
        )
    )

    def ask(**message):
        route = routes.PRICE
        body = codec.encode(message)
        status, reply = engine.handle(route.method, route.path, body, connection=1)
        return status, json.loads(reply)

    yield ask
    engine.close()


def test_a_price_comes_with_its_row(ask):
    usage = {"uncached_input_tokens": 100_001, "output_tokens": 1_000}

    status, reply = ask(model="anthropic/claude-haiku-5-5", usage=usage)

    row = reply["row"]
    assert (status, reply["cost_pico_usd"]) == (200, 52_500_500_000)
    assert (row["key"], row["is_above"], row["above_tokens"]) == (
        "anthropic/claude-haiku-5-5", True, 100_000,
    )  # fmt: skip
    assert row["pico_usd_per_token"]["input"] == 500_000
    assert "litellm" in row["source"]
    assert "genai-prices" in row["source"]
    assert reply["tiers"] == ["standard", "batch"]
    assert reply["near"] == []


def test_the_configuration_counts(ask):
    usage = {"uncached_input_tokens": 1_000}

    assert ask(model="fast", usage=usage, service_tier="flex")[1]["cost_pico_usd"] == 125_000_000
    mine = ask(model="mine/llama", usage={**usage, "output_tokens": 1})[1]
    assert mine["cost_pico_usd"] == 100_000_000 + 400_000
    assert mine["row"]["source"] == "cost.prices of lambdallm.yaml"


def test_a_day_may_be_said(ask):
    usage = {"uncached_input_tokens": 1}

    june = ask(model="openai/o3", usage=usage, epoch_ms=1_749_427_200_000)[1]

    assert june["cost_pico_usd"] == 10_000_000
    assert ask(model="openai/o3", usage=usage)[1]["row"]["begins"] == "2025-06-10"


def test_what_nobody_knows_costs_no_number(ask):
    status, reply = ask(model="amazon.nova-lite-v9-imaginary", usage={"output_tokens": 1})

    assert status == 200
    assert reply["row"] is None
    assert reply["cost_pico_usd"] is None
    assert "amazon.nova-lite-v1:0" in reply["near"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"model": "", "usage": {}},
        {"model": "m"},
        {"model": "m", "usage": []},
        {"model": "m", "usage": {"tokens": 1}},
        {"model": "m", "usage": {"output_tokens": -1}},
        {"model": "m", "usage": {"output_tokens": 1.5}},
        {"model": "m", "usage": {"output_tokens": True}},
        {"model": "m", "usage": {}, "epoch_ms": -1},
        {"model": "m", "usage": {}, "epoch_ms": 10**18},
        {"model": "m", "usage": {}, "service_tier": 4},
        {"model": "m", "usage": {}, "region": []},
    ],
)
def test_what_is_no_question_is_refused(ask, message):
    status, problem = ask(**message)

    assert status == 400
    assert problem["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("amazon.nova-light-v1:0", ["amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0"]),
        ("gpt5mini", ["openai/gpt-5-mini"]),
        ("openai/gpt-5", ["openai/gpt-5", "openai/gpt-5-mini"]),
        ("nova", KEYS[:2]),
        ("", []),
        ("x", []),
        ("something else", []),
    ],
)
def test_what_may_have_been_meant(model, found):
    assert near(model, KEYS) == found
