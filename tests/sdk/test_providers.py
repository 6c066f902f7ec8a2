"""`get_provider` as long as nobody has replaced it, and boto3 for those who want it."""

import sys
from typing import Any

import pytest

import lambdallm
from lambdallm import ModelConfig
from lambdallm._context import LambdaLLMContext


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
