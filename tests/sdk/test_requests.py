"""What a call says beside its messages, as it goes over the wire."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lambdallm import Model, handler
from lambdallm._messages import History, substitute
from lambdallm._requests import refuse_parameters
from lambdallm.testing import MockLambdaContext
from lambdallm_wire import codec

NEW: dict[str, Any] = {
    "tools": [{"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}],
    "tool_choice": "add",
    "output_schema": {"type": "object"},
    "reasoning": {"effort": "low"},
    "service_tier": "flex",
    "additional_fields": {"top_k": 1},
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
}


@pytest.fixture
def asked(sidecar: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the sidecar is asked for by `chat`."""
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(["fine"]))
    messages: list[dict[str, Any]] = []
    handle = sidecar.handle

    def keep(method: str, path: str, body: bytes, *, connection: int) -> Any:
        if path == "/v1/chat":
            messages.append(codec.decode(body))
        return handle(method, path, body, connection=connection)

    sidecar.handle = keep
    return messages


def run(function: Callable[[Any], Any], **arguments: Any) -> None:
    handler(model="scripted/x", **arguments)(lambda _event, context: str(function(context)))(
        {"name": "direct"}, MockLambdaContext()
    )


def test_what_a_call_gives_travels_as_it_is(asked: list[dict[str, Any]]) -> None:
    run(lambda context: context.chat("Hi", **NEW, fallback_models=["scripted/y", Model.NOVA_MICRO]))

    (request,) = asked
    assert {name: request[name] for name in NEW} == NEW
    assert request["fallback_models"] == ["scripted/y", Model.NOVA_MICRO.value]
    assert "fallback_model" not in request


def test_the_fallbacks_of_a_call_take_the_place_of_the_handlers(
    asked: list[dict[str, Any]],
) -> None:
    run(lambda context: context.chat("Hi", fallback_models=[]), fallback_model="scripted/spare")

    (request,) = asked
    assert request["fallback_models"] == []
    assert "fallback_model" not in request


def test_what_was_not_given_is_not_sent(asked: list[dict[str, Any]]) -> None:
    run(lambda context: context.chat("Hi", temperature=None))

    (request,) = asked
    assert not {*NEW, "temperature", "fallback_models", "own_providers"} & request.keys()


@pytest.mark.parametrize(
    "prompt",
    [
        "Compare {models}",
        "As {{model}}",
        "A {",
        [],
        History([{"role": "user", "content": "{model}"}]),
    ],
)
def test_a_parameter_that_has_no_place_is_no_variable(prompt: Any) -> None:
    with pytest.raises(TypeError, match=r"this one has no \{model\}"):
        refuse_parameters(prompt, {"models": 1, "model": "x"})


@pytest.mark.parametrize("prompt", ["A {model}", "A {model!r:>9}", '{"a": {model}}', "{ {model}"])
def test_a_parameter_that_has_a_place_is_one(prompt: str) -> None:
    refuse_parameters(prompt, {"model": "x"})

    assert "x" in substitute(prompt, {"model": "x"})
