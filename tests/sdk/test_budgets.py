"""Budgets as a handler meets them: refused calls, tags, what is left, cheaper models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from fakes.owned_events import http_jwt
from fakes.waiting import until
from lambdallm import Session, handler
from lambdallm.testing import MockLambdaContext
from lambdallm.testing.model_server import Answer, ModelServer

MODEL = "bedrock/us.amazon.nova-micro-v1:0"
PRICE = 1_000 * 35_000 + 100 * 140_000
"""Of one answer below, in pico-USD."""

Configure = Callable[[str], None]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A model whose answers cost the same each."""
    with ModelServer([Answer("Yes.", input_tokens=1_000, output_tokens=100)]) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("LAMBDALLM_MODEL", MODEL)
        yield server


@pytest.fixture
def configure(server: ModelServer, embedded: Any) -> Configure:
    def configure(text: str) -> None:
        Path("lambdallm.yaml").write_text(text, encoding="utf-8")
        embedded(LAMBDALLM_CONFIG=str(Path("lambdallm.yaml").absolute()))

    return configure


def ask(context: Any) -> str:
    answer: str = context.chat([{"role": "user", "content": "Hello"}], max_tokens=100).text
    return answer


def call(act: Callable[[Any], Any], event: Any = None, **options: Any) -> dict[str, Any]:
    @handler(**options)
    def handle(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "body": {"said": act(context)}}

    response: dict[str, Any] = handle(event or {"body": {"x": 1}}, MockLambdaContext())
    return {**response, "body": json.loads(response["body"])}


def spend(act: Callable[[Any], Any] = ask, **options: Any) -> tuple[int, dict[str, Any]]:
    """Call until it is refused; return how often it was not, and the refusal."""
    for number in range(400):
        response = call(act, **options)
        if response["statusCode"] != 200:
            return number, response
    pytest.fail("it was never refused")


def test_calls_beyond_the_budget_are_refused_and_say_when_it_opens(
    server: ModelServer, configure: Configure
) -> None:
    configure("cost:\n  budget:\n    daily: '0.001'\n")
    calls, refused = spend()

    billed = len(server.requests) * PRICE
    assert calls == len(server.requests)
    assert billed <= 10**9
    assert billed > 0.8 * 10**9
    assert refused["statusCode"] == 429
    assert refused["body"]["retryable"]
    assert 0 < int(refused["headers"]["retry-after"]) <= 86_400
    assert "$0.001" in refused["body"]["detail"]
    with pytest.raises(lambdallm.BudgetExceededError):
        run_raising(ask)


def run_raising(act: Callable[[Any], Any]) -> Any:
    @handler
    def handle(event: Any, context: Any) -> Any:
        return act(context)

    return handle({"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "{}"}]},
                  MockLambdaContext())  # fmt: skip


def test_streams_and_embeddings_are_refused_too(configure: Configure) -> None:
    configure("cost:\n  budget:\n    daily: '0.000001'\n")

    for act in (
        lambda context: "".join(context.stream("Hello")),
        lambda context: context.embed(["Hello"], model="bedrock/amazon.titan-embed-text-v2:0"),
    ):
        assert call(act)["statusCode"] == 429


def test_each_user_has_a_limit_of_his_own(configure: Configure) -> None:
    configure("cost:\n  budgets:\n    users: {scope: user, window: month, limit: '0.0005'}\n")
    event = http_jwt("ada", '{"x": 1}')
    calls, refused = spend(event=event, session=Session())

    assert calls > 3
    assert "user 'jwt:" in refused["body"]["detail"]
    assert call(ask, event=http_jwt("bob", '{"x": 1}'), session=Session())["statusCode"] == 200
    assert call(ask)["statusCode"] == 200, "nobody's calls are in no user's budget"


def test_tags_have_budgets(configure: Configure) -> None:
    configure("cost:\n  budgets:\n    teams: {scope: 'tag:team', limit: '0.0005'}\n")

    def of_team(name: str) -> Callable[[Any], Any]:
        def act(context: Any) -> str:
            context.tag(team=name)
            return ask(context)

        return act

    _, refused = spend(of_team("search"))
    assert "tag:team 'search'" in refused["body"]["detail"]
    assert call(of_team("other"))["statusCode"] == 200
    assert call(lambda context: context.tag(team="x" * 300))["statusCode"] == 400


def test_a_tenant_has_a_budget_of_its_own(configure: Configure) -> None:
    configure("cost:\n  budgets:\n    tenants: {scope: tenant, limit: '0.0005'}\n")

    class Tenants(MockLambdaContext):
        """As of a function with tenant isolation."""

        tenant_id = "acme"

    def budgets(context: Any) -> list[Any]:
        @handler
        def handle(event: Any, context: Any) -> Any:
            return {"statusCode": 200, "body": context.budget}

        body: list[Any] = json.loads(handle({"body": {"x": 1}}, context)["body"])
        return body

    [told] = budgets(Tenants())
    assert (told["scope"], told["id"]) == ("tenant", "acme")
    assert budgets(MockLambdaContext()) == []


def test_tags_outlive_the_sidecar_that_was_told_of_them(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sidecar_of: Any
) -> None:
    text = "cost:\n  budgets:\n    teams: {scope: 'tag:team', limit: '0.001'}\n"
    (tmp_path / "lambdallm.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("LAMBDALLM_CONFIG", str(tmp_path / "lambdallm.yaml"))
    sidecar = sidecar_of()

    def act(context: Any) -> list[str]:
        context.tag(team="search", gone="x")
        context.tag(gone="")
        told_of = context.work._transport
        sidecar.close()
        until(lambda: not told_of.usable)
        return [f"{each['name']} {each['id']}" for each in context.budget]

    assert call(act)["body"]["said"] == ["teams search"]


def test_a_handler_may_ask_what_is_left(configure: Configure) -> None:
    configure("cost:\n  budget: {daily: '1', monthly: '20'}\n")
    call(ask)
    left = call(lambda context: context.budget)["body"]["said"]

    assert [(each["name"], each["limit_pico_usd"]) for each in left] == [
        ("daily", 10**12), ("monthly", 20 * 10**12),
    ]  # fmt: skip
    assert left[0]["leased_pico_usd"] >= PRICE
    assert left[0]["ends_epoch_ms"] <= left[1]["ends_epoch_ms"]


def test_a_cheaper_model_is_asked_from_four_fifths_on(
    server: ModelServer, configure: Configure
) -> None:
    configure(
        "models:\n  cheap: {model: bedrock/us.amazon.nova-micro-v1:0}\n"
        "cost:\n  budget: {daily: '0.2'}\n  on_budget_exceeded: downgrade\n  downgrade_to: cheap\n"
    )
    asked: list[str] = []

    def act(context: Any) -> str:
        dear = "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
        reply = context.chat("Hello", max_tokens=100, model=dear)
        asked.append(reply.model)
        return str(reply.text)

    for _ in range(60):
        assert call(act)["statusCode"] == 200

    assert "sonnet" in asked[0]
    assert "nova-micro" in asked[-1]
    assert asked == sorted(asked, key=lambda model: "nova" in model), "once it is full it stays so"


@pytest.mark.parametrize(
    ("content", "policy", "status"),
    [
        (
            [{"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}}],
            "block",
            429,
        ),
        (
            [{"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}}],
            "reserve",
            429,
        ),
        ("Hello", "block", 200),
    ],
)
def test_what_the_request_does_not_bound_cannot_slip_past_a_nearly_empty_budget(
    configure: Configure, content: Any, policy: str, status: int
) -> None:
    configure(f"cost:\n  budget: {{daily: '0.002'}}\n  unbounded: {policy}\n")
    message = [{"role": "user", "content": content}]

    assert call(lambda context: context.chat(message, max_tokens=10).text)["statusCode"] == status


def test_a_model_without_a_price_is_refused_unless_it_is_allowed(configure: Configure) -> None:
    def act(context: Any) -> str:
        return str(context.chat("Hello", model="bedrock/x.imaginary-v1:0").text)

    configure("cost:\n  budget: {daily: '1'}\n")
    refused = call(act)
    assert refused["statusCode"] == 429
    assert "cost.prices" in refused["body"]["detail"]
    configure("cost:\n  budget: {daily: '1'}\n  unpriced: allow\n")
    assert call(act)["statusCode"] == 200
    configure(
        "cost:\n  budget: {daily: '1'}\n  prices: {'x.imaginary-v1:0': {input: '1', output: '1'}}\n"
    )
    assert call(act)["statusCode"] == 200


@pytest.mark.parametrize(
    "text",
    [
        "cost:\n  budget: {daily: fifty}\n",
        "cost:\n  budgets:\n    users: {scope: usr, limit: '1'}\n",
        "cost:\n  budgets:\n    users: {scope: user}\n",
        "cost:\n  budget: {daily: '1'}\n  time_zone: Mars/Olympus\n",
    ],
)
def test_a_budget_that_cannot_be_read_lets_nothing_through(configure: Configure, text: str) -> None:
    configure(text)

    refused = call(ask)
    assert refused["statusCode"] in (429, 500)
    assert "udget" in refused["body"]["detail"] or refused["statusCode"] == 500


def test_a_budget_that_warns_refuses_nothing(configure: Configure) -> None:
    configure("cost:\n  budget: {daily: '0.000001'}\n  on_budget_exceeded: warn\n")

    for _ in range(3):
        assert call(ask)["statusCode"] == 200


def test_without_a_store_budgets_say_what_they_need(
    server: ModelServer, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAMBDALLM_STORE")
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")
    configure("cost:\n  budget: {daily: '1'}\n")
    refused = call(ask)

    assert "LAMBDALLM_STORE" in str(refused)
    assert refused["statusCode"] == 500
    assert not server.requests
