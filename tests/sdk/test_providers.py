"""`get_provider` as long as nobody has replaced it, and boto3 for those who want it."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import lambdallm
from lambdallm import ModelConfig, _raw_clients
from lambdallm._context import LambdaLLMContext
from lambdallm.testing import MockLambdaContext, ModelServer


def context_with(lambda_context: Any) -> LambdaLLMContext:
    return LambdaLLMContext(None, "fail-fast", 5, 3, None, lambda_context, [])


def test_get_provider_asks_through_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    from lambdallm.providers import BaseProvider, get_provider

    script = '{"models": {"down": [{"error": "X"}]}, "answers": ["fine"]}'
    monkeypatch.setenv("LAMBDALLM_SCRIPT", script)
    config = ModelConfig("scripted/x")
    provider = get_provider(config)
    response = provider.invoke("Hi there", config)

    assert isinstance(provider, BaseProvider)
    assert (response.content, response.model_id) == ("fine", "scripted/x")
    assert (response.tokens_in, response.tokens_out, response.total_tokens) == (2, 1, 3)
    assert response.cost_usd == 0
    assert provider.supports_streaming() is False
    with pytest.raises(lambdallm.ProviderError):
        provider.invoke_streaming("Hi", config)
    with pytest.raises(lambdallm.ModelInvocationError):
        provider.invoke("Hi", ModelConfig("scripted/down"))


# boto3 for those who want it


def test_a_raw_client_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setattr("lambdallm._raw_clients._clients", {})

    client = context_with(None).get_raw_client()
    again = context_with(None).get_raw_client("bedrock-runtime")

    assert client is again
    assert client.meta.service_model.service_id == "Bedrock Runtime"
    assert client.meta.region_name == "eu-central-1"


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A Bedrock that answers, where the environment says that Bedrock is."""
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps other tests' credentials
    monkeypatch.setattr("lambdallm._raw_clients._clients", {})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with ModelServer(["Hello!"]) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        yield server
        for client in _raw_clients._clients.values():
            client.close()


ASKED: dict[str, Any] = {
    "modelId": "us.amazon.nova-micro-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
}


def test_a_raw_client_asks_through_the_sidecar_which_meters_it(
    bedrock: ModelServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar = request.getfixturevalue("sidecar")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
    kept: list[Any] = []

    @lambdallm.handler
    def ask(event: Any, context: Any) -> Any:
        client = context.get_raw_client()
        assert client.meta.endpoint_url == f"http://127.0.0.1:{sidecar.port}/bedrock"
        assert context.get_raw_client("sts").meta.endpoint_url.startswith("https://sts")
        kept.append(client.converse(**ASKED))
        return "ok"

    ask({}, MockLambdaContext())

    (answer,) = kept
    assert answer["output"]["message"]["content"] == [{"text": "Hello!"}]
    assert [asked.model_id for asked in bedrock.requests] == [ASKED["modelId"]]
    assert "/bedrock/model/us.amazon.nova-micro-v1%3A0/converse" in sidecar.paths


def test_a_raw_client_asks_where_the_environment_says_when_no_sidecar_serves(
    bedrock: ModelServer,
) -> None:
    client = context_with(MockLambdaContext()).get_raw_client()

    assert client.meta.endpoint_url == bedrock.url
    assert client.converse(**ASKED)["output"]["message"]["content"] == [{"text": "Hello!"}]


def test_a_raw_client_goes_where_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_with(None)
    context.model = ModelConfig("m", region="us-west-2")

    assert context.get_raw_client("sts").meta.region_name == "us-west-2"


def test_what_a_raw_client_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambdallm._raw_clients._clients", {})
    with pytest.raises(lambdallm.ConfigurationError, match="AWS_REGION"):
        context_with(None).get_raw_client()

    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(lambdallm.ConfigurationError, match="boto3"):
        context_with(None).get_raw_client()
