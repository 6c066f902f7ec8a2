"""The whole line with the real engine and a scripted model, on a socket and embedded."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

import lambdallm
import sample_events as samples
from lambdallm import Session, _embedded, _sidecar, _transport, handler
from lambdallm.testing import MockLambdaContext, ModelServer

SCRIPT = {
    "models": {
        "busy": [{"error": "ThrottlingException", "status": 429, "retryable": True}, "At last."],
        "down": [{"error": "ModelErrorException", "status": 424}],
        "spare": ["From the spare."],
        "long": [{"text": "x" * 400}],
    },
    "answers": ["{count}: {last}"],
}


@pytest.fixture(params=["sidecar", "embedded"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LAMBDALLM_MODEL", "scripted/chat")
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(SCRIPT))
    if request.param == "sidecar":
        request.getfixturevalue("sidecar")
    return str(request.param)


def ask(prompt: str, **arguments: Any) -> Any:
    """Return the response and the context of a handler that asks once."""
    kept: list[Any] = []

    @handler(**arguments)
    def once(event: Any, context: Any) -> str:
        kept.append(context)
        return context.invoke(prompt)

    return once(samples.http_api(), MockLambdaContext()), kept[0]


def test_it_is_the_engine_that_was_meant(engine: str) -> None:
    ask("Hi")

    kinds = {"sidecar": _sidecar.SidecarTransport, "embedded": _embedded.EmbeddedTransport}
    assert isinstance(_transport.current(), kinds[engine])


def test_a_conversation_over_three_invocations(engine: str) -> None:
    @handler(session=Session(store="dynamodb", ttl_hours=24))
    def chat_handler(event: Any, context: Any) -> Any:
        session = context.session
        session.add_message("user", event["body"]["message"])
        response = context.invoke(session.format_history())
        session.add_message("assistant", response)
        return {"statusCode": 200, "body": {"reply": response}}

    replies = [
        samples.body_of(
            chat_handler({"body": {"message": text, "session_id": "ada"}}, MockLambdaContext())
        )["reply"]
        for text in ("one", "two", "three")
    ]

    assert replies == ["1: one", "2: two", "3: three"]


def test_an_async_handler(engine: str) -> None:
    @handler(session=Session(durability="after_response"))
    async def chat(event: Any, context: Any) -> Any:
        return list(await asyncio.gather(context.ainvoke("a"), context.ainvoke("b")))

    response = chat(samples.http_api(), MockLambdaContext())

    assert samples.body_of(response) == ["1: a", "1: b"]


def test_tokens_and_cost_come_back(engine: str) -> None:
    response, context = ask("Hello")

    assert response["body"] == "1: Hello"
    assert context.metrics.get("model.tokens_in") == 2
    assert context.metrics.get("model.tokens_out") == 2
    assert context.total_cost == 0
    assert context.total_cost_pico_usd == 0


def test_a_throttled_model_is_asked_again(engine: str) -> None:
    response, _ = ask("Hi", model="scripted/busy", max_retries=1)

    assert response["body"] == "At last."


def test_a_model_that_is_down_is_a_502_and_the_fallback_helps(engine: str) -> None:
    refused, _ = ask("Hi", model="scripted/down")
    assert refused["statusCode"] == 502
    assert samples.body_of(refused)["code"] == "model_invocation"

    answered, _ = ask("Hi", model="scripted/down", fallback_model="scripted/spare")
    assert answered["body"] == "From the spare."


def test_the_bound_of_an_answer_reaches_the_model(engine: str) -> None:
    response, context = ask("Hi", model="scripted/long", max_tokens=10)

    assert len(response["body"]) == 40
    assert context.metrics.get("model.tokens_out") == 10


def test_a_provider_that_does_not_exist_is_a_configuration_error(engine: str) -> None:
    response, _ = ask("Hi", model="nobody/x")

    assert response["statusCode"] == 500
    assert samples.body_of(response)["code"] == "configuration"


def test_errors_are_rebuilt(engine: str) -> None:
    @handler(model="scripted/down")
    def catch(event: Any, context: Any) -> str:
        with pytest.raises(lambdallm.ModelInvocationError) as caught:
            context.invoke("Hi")
        assert caught.value.source == "scripted"
        assert caught.value.retryable is False
        return context.chat("Hi", model="scripted/spare").text

    assert catch(samples.http_api(), MockLambdaContext())["body"] == "From the spare."


def test_one_invocation_is_one_line_of_metrics(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDALLM_TELEMETRY", "on")
    ask("a secret prompt", model="scripted/chat")

    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (line,) = [each for each in lines if "_aws" in each]
    assert line["InputTokens"] == 4
    assert "secret" not in json.dumps(line)


# Against a server that speaks Bedrock's protocol


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with ModelServer(["You said: {last}"]) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        yield server


def test_the_default_model_costs_what_its_price_says(bedrock: ModelServer) -> None:
    response, context = ask("Hello", system="Be brief.", max_tokens=50)

    assert response["body"] == "You said: Hello"
    tokens_in = context.metrics.get("model.tokens_in")
    tokens_out = context.metrics.get("model.tokens_out")
    assert context.total_cost_pico_usd > 0
    assert context.total_cost_pico_usd == tokens_in * 100_000 + tokens_out * 500_000
    assert context.unpriced_calls == 0


def test_a_conversation_reaches_the_model_with_its_roles(bedrock: ModelServer) -> None:
    @handler(session=Session(), model="us.amazon.nova-micro-v1:0")
    def chat(event: Any, context: Any) -> str:
        context.session.add_message("user", event["body"]["message"])
        reply = context.invoke(context.session.format_history())
        context.session.add_message("assistant", reply)
        return reply

    for text in ("one", "two"):
        chat({"body": {"message": text, "session_id": "s"}}, MockLambdaContext())

    assert [message["role"] for message in bedrock.requests[1].messages] == [
        "user",
        "assistant",
        "user",
    ]
    assert bedrock.requests[1].messages[2]["content"] == [{"text": "two"}]


def test_a_model_without_a_price_costs_nobody_knows_what(bedrock: ModelServer) -> None:
    _, context = ask("Hello", model="us.nobody.knows-v1:0")

    assert context.total_cost_pico_usd == 0
    assert context.unpriced_calls == 1
