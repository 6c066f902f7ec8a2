"""What tests of the earlier package put in place of `lambdallm.providers.get_provider`."""

from typing import Any
from unittest.mock import patch

import pytest

import lambdallm
from fakes.units import run
from lambdallm import Model, ModelConfig
from lambdallm.core.models import ModelResponse


def test_a_replaced_get_provider_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_MODEL", "scripted/x")
    monkeypatch.setenv("LAMBDALLM_SCRIPT", '["fine"]')
    with patch("lambdallm.providers.get_provider") as get_provider:
        get_provider.return_value.invoke.return_value = ModelResponse(
            content="from the test",
            model_id="m",
            tokens_in=10,
            tokens_out=20,
            latency_ms=150.0,
            cost_usd=0.00003,
        )
        text, cost = run(
            lambda context: (context.invoke("Hello {name}", name="World"), context.total_cost),
            model=Model.CLAUDE_3_HAIKU,
        )

    assert (text, cost) == ("from the test", 0.00003)
    prompt, config = get_provider.return_value.invoke.call_args.args
    assert prompt == "Hello World"
    assert config.model_id == Model.CLAUDE_3_HAIKU.value
    assert run(lambda context: context.invoke("Hi")) == "fine"


class Flaky:
    def __init__(self, failures: int, *, retryable: bool = True, only: str = "") -> None:
        self.calls: list[str] = []
        self._failures = failures
        self._retryable = retryable
        self._only = only

    def invoke(self, prompt: str, config: ModelConfig) -> ModelResponse:
        self.calls.append(config.model_id)
        if len(self.calls) <= self._failures and self._only in config.model_id:
            raise lambdallm.ModelInvocationError("down", retryable=self._retryable)
        return ModelResponse("fine", config.model_id, 1, 1, 1.0)


def ask_flaky(provider: Flaky, **arguments: Any) -> str:
    with patch("lambdallm.providers.get_provider", return_value=provider):
        text: str = run(lambda context: context.invoke("Hi"), **arguments)
    return text


def test_a_replaced_provider_is_retried() -> None:
    provider = Flaky(2)

    assert ask_flaky(provider, max_retries=5) == "fine"
    assert len(provider.calls) == 3


def test_a_replaced_provider_falls_back() -> None:
    for retryable, calls in ((True, 3), (False, 2)):
        provider = Flaky(99, retryable=retryable, only="haiku")

        text = ask_flaky(
            provider, model="claude-3-haiku", fallback_model=Model.TITAN_TEXT_LITE, max_retries=1
        )

        assert text == "fine"
        assert len(provider.calls) == calls


def test_a_replaced_provider_fails_for_good() -> None:
    with pytest.raises(lambdallm.ModelInvocationError):
        ask_flaky(Flaky(99), max_retries=2)
