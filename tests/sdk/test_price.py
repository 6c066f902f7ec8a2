"""`lambdallm price`: the last line is the exact cost; what nobody knows exits with 1."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lambdallm_cli.commands import lambdallm as command
from lambdallm_extension import price_book
from lambdallm_wire.money import usd
from lambdallm_wire.signed_books import verified

KEY = "sixteen bytes or more"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


@pytest.mark.parametrize(
    ("arguments", "usd"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0 --input 14 --output 9", "0.00001475"),
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0 --input 1200 --cache-read 18000 "
            "--cache-write-5m 2000 --output 350",
            "0.023925",
        ),
        ("anthropic/claude-haiku-5-5 --input 100000 --output 1000", "0.0105"),
        ("anthropic/claude-haiku-5-5 --input 100001 --output 1000", "0.0525005"),
        ("claude-haiku-5-5 --input 100001 --output 1000", "0.0525005"),
        ("openai/gpt-5-mini --input 5000 --cache-read 3072 --output 1200 --tier flex", "0.0018634"),
        ("gpt-5-mini --input 5000 --cache-read 3072 --output 1200 --tier flex", "0.0018634"),
        ("openai/o3 --input 1000000 --at 2025-06-09", "10"),
        ("openai/o3 --input 1000000 --at 2025-06-10", "2"),
        ("anthropic.claude-haiku-5-5 --input 1000000 --region us-gov-west-1", "0.6"),
        ("anthropic/claude-haiku-5-5 --cache-write-1h 1", "0.0000002"),
        ("openai/gpt-5-mini", "0"),
    ],
)
def test_the_last_line_is_the_exact_cost(arguments: str, usd: str) -> None:
    result = run("price", *arguments.split())

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"USD {usd}"


def test_the_row_is_told_with_its_source() -> None:
    shown = run("price", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "--input", "1").stdout

    assert "us.anthropic.claude-sonnet-4-5-20250929-v1:0, standard, since ever" in shown
    assert "litellm" in shown
    assert "read 20" in shown
    assert "yes: its two catalogues disagree" in shown
    assert "not more than 200,000 tokens" in shown


def test_a_program_gets_one_line() -> None:
    result = run("price", "openai/gpt-5-mini", "--input", "1", "--json")

    told: dict[str, Any] = json.loads(result.stdout)
    assert told["usd"] == "0.00000025"
    assert told["cost_pico_usd"] == 250_000
    assert told["row"]["key"] == "openai/gpt-5-mini"
    assert told["usage"]["uncached_input_tokens"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("amazon.nova-lite-v9-imaginary --input 1", "Near: amazon.nova-lite-v1:0"),
        ("quite-another-thing --input 1", "none of the price book's models is near"),
        ("openai/gpt-5-mini --tier reserved", "it has standard, batch, flex, priority"),
        ("openai/gpt-5-mini --cache-write-1h 4", "no price for cache write, 1 h"),
        ("openai/gpt-imaginary --input 1 --json", "Nobody knows the price"),
        ("openai/gpt-5-mnii --input 1", "Near: openai/gpt-5-mini"),
        ("us-gov.anthropic.claude-opus-4-5-20251101-v1:0 --input 1", "Near: us.anthropic.claude"),
        ("arn:aws:bedrock:us-east-1:1:default-prompt-router/anthropic.claude:1 --input 1",
         "a prompt router's answer names the model"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc --input 1",
         "(`like`), or allow bedrock:GetInferenceProfile"),
    ],
)  # fmt: skip
def test_what_nobody_knows_exits_with_one(arguments: str, said: str) -> None:
    result = run("price", *arguments.split())

    assert result.exit_code == 1
    assert said in result.stderr
    assert "USD 0" not in result.stdout


def test_what_is_wrong_with_a_setting_is_no_part_of_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAMBDALLM_PRICES", "s3://my-bucket/prices.json")

    result = run("price", "openai/gpt-5-mini", "--input", "1", "--json")

    assert json.loads(result.stdout)["usd"] == "0.00000025"
    assert "LAMBDALLM_PRICES_KEY is not set" in result.stderr


@pytest.mark.parametrize("arguments", ["", "m --input -1", "m --at yesterday", "m --input 1.5"])
def test_what_is_used_wrongly_exits_with_two(arguments: str) -> None:
    assert run("price", *arguments.split()).exit_code == 2


def test_what_the_model_takes_is_told() -> None:
    limited = run("price", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "--input", "1").stdout
    open_weights = run("price", "us.meta.llama3-3-70b-instruct-v1:0", "--input", "1").stdout

    assert "reads 200,000 tokens at most, writes 64,000 tokens at most" in limited
    assert "at most" not in open_weights


def test_the_users_own_prices_hold_here_too() -> None:
    Path("lambdallm.yaml").write_text(
        "models: {mine: {model: openai/gpt-5-mini}}\n"
        "cost:\n  prices:\n    'openai/gpt-5-mini': {input: '0.000001', output: '1'}\n",
        encoding="utf-8",
    )

    result = run("price", "mine", "--input", "3")

    assert result.stdout.splitlines()[-1] == "USD 0.000000000003"
    assert "cost.prices of lambdallm.yaml" in result.stdout


def test_every_digit_is_written() -> None:
    assert [usd(pico) for pico in (0, 1, 10**12, 12_500_000_000_000)] == [
        "0", "0.000000000001", "1", "12.5",
    ]  # fmt: skip


def test_a_signed_book_is_one_that_functions_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_PRICES_KEY", KEY)

    shipped = run("price-book", "sign")
    Path("own.json").write_bytes(b'{"version":7}')
    own = run("price-book", "sign", "own.json")

    text = verified(shipped.stdout_bytes, KEY.encode()).decode()
    assert price_book.Book(text).version == price_book.built_in().version
    assert verified(own.stdout_bytes, KEY.encode()) == b'{"version":7}'
    assert "Version 7" in own.stderr


@pytest.mark.parametrize(("key", "code"), [("", 2), ("arn:aws:ssm:x", 2), ("short", 1)])
def test_without_a_key_nothing_is_signed(
    monkeypatch: pytest.MonkeyPatch, key: str, code: int
) -> None:
    monkeypatch.setenv("LAMBDALLM_PRICES_KEY", key)

    result = run("price-book", "sign")

    assert result.exit_code == code
    assert result.stdout == ""


def test_what_is_no_book_is_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_PRICES_KEY", KEY)
    Path("own.json").write_text("[]", encoding="utf-8")

    assert run("price-book", "sign", "own.json").exit_code == 1
