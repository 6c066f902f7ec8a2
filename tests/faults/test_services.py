"""A table, a model, or the machine's own limits fail: the caller is told, and it passes."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from faults.chats import Chat
from lambda_runtime_api.emulator.network import Relay
from lambdallm.testing import Failure, ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.conftest import Service, Start

MODEL = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"


def told(invocation: Any) -> str:
    assert invocation.error_type is not None, invocation.payload
    message: str = json.loads(invocation.payload)["errorMessage"]
    return message


def test_a_table_that_is_down_fails_the_invocation_and_not_the_next_one(
    start: Callable[..., Any], host: Start, dynamodb: Service
) -> None:
    with (
        Relay(dynamodb.url) as relay,
        start(variables={"AWS_ENDPOINT_URL_DYNAMODB": relay.url}) as environment,
    ):
        chat = Chat(environment, f"{host.name}: table down")
        assert chat.heard() == "Heard 1."
        relay.refuse()
        assert "table" in told(chat.say())
        relay.refuse(refuse=False)

        assert chat.heard() == "Heard 2."


def test_a_table_that_goes_down_in_an_invocation_fails_it_before_its_deadline(
    start: Callable[..., Any], host: Start, dynamodb: Service
) -> None:
    """The answer was not stored, so it must not look as if it had been."""
    with (
        Relay(dynamodb.url) as relay,
        start(variables={"AWS_ENDPOINT_URL_DYNAMODB": relay.url}, timeout_seconds=4) as environment,
    ):
        chat = Chat(environment, f"{host.name}: table goes down")
        assert chat.heard() == "Heard 1."
        threading.Timer(0.3, relay.refuse).start()
        assert "StateError" in chat.say(before="wait").payload.decode()
        relay.refuse(refuse=False)

        assert chat.heard() == "Heard 2."


def test_a_slow_table_only_takes_its_time(
    start: Callable[..., Any], host: Start, dynamodb: Service
) -> None:
    with (
        Relay(dynamodb.url) as relay,
        start(variables={"AWS_ENDPOINT_URL_DYNAMODB": relay.url}, timeout_seconds=6) as environment,
    ):
        relay.delay_seconds = 0.2
        chat = Chat(environment, f"{host.name}: slow table")

        assert [chat.heard(), chat.heard()] == ["Heard 1.", "Heard 2."]


@pytest.mark.parametrize("failure", [500, 429, 0])
def test_a_model_that_fails_is_named_and_the_next_invocation_works(
    start: Callable[..., Any], host: Start, failure: int
) -> None:
    """0: the connection breaks after the request was taken, which may have been billed."""
    failing = threading.Event()

    def answer(conversation: Any) -> Any:
        said = [message for message in conversation if message["role"] == "user"]
        return Failure(failure) if failing.is_set() else f"Heard {len(said)}."

    with ModelServer(answer) as model:
        variables = {"LAMBDALLM_MODEL": MODEL, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url}
        with start(variables=variables) as environment:
            chat = Chat(environment, f"{host.name}: model fails with {failure}")
            assert chat.heard() == "Heard 1."
            failing.set()
            asked = len(model.requests)
            assert "anthropic.claude-3-haiku" in told(chat.say())
            if not failure:
                assert len(model.requests) == asked + 1, "what may be billed is not asked again"
            failing.clear()

            assert chat.heard() == "Heard 2."


def test_a_silent_model_is_given_up_before_the_deadline(
    start: Callable[..., Any], host: Start
) -> None:
    silent = threading.Event()
    with ModelServer(lambda _: (silent.wait(10), "Late.")[1]) as model, Relay(model.url) as relay:
        variables = {"LAMBDALLM_MODEL": MODEL, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": relay.url}
        with start(variables=variables) as environment:
            invocation = Chat(environment, f"{host.name}: silent model").say()
        silent.set()

    assert invocation.error_type not in (None, "Sandbox.Timedout")
    assert "may be billed" in told(invocation)
