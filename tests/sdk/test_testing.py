"""The doubles that users test with."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from lambdallm import Session, handler, providers
from lambdallm.testing import MockLambdaContext, MockProvider, mock_model


@handler
def greet(event: Any, context: Any) -> Any:
    return {"statusCode": 200, "body": {"reply": context.invoke("Hi")}}


class TestInAClass:
    @mock_model(responses=["one", "two"])
    def test_the_decorator_works_on_methods(self, tmp_path: Path) -> None:
        replies = [json.loads(greet({}, MockLambdaContext())["body"])["reply"] for _ in range(3)]

        assert replies == ["one", "two", "one"]
        assert tmp_path.exists()


@mock_model(raises=lambdallm.ModelInvocationError("down", retryable=False))
def test_it_fails_when_told_to() -> None:
    assert greet({}, MockLambdaContext())["statusCode"] == 502


def test_it_leaves_nothing_behind() -> None:
    own = providers.get_provider
    with mock_model(["a"]) as outer:
        with mock_model(["b"]):
            assert json.loads(greet({}, None)["body"])["reply"] == "b"
        assert json.loads(greet({}, None)["body"])["reply"] == "a"
    assert providers.get_provider is own
    assert outer.call_count == 1


def test_it_works_around_coroutines() -> None:
    @mock_model(["async"])
    async def ask() -> str:
        await asyncio.sleep(0)
        return str(json.loads(greet({}, None)["body"])["reply"])

    with asyncio.Runner() if hasattr(asyncio, "Runner") else _Runner() as runner:
        assert runner.run(ask()) == "async"


class _Runner:
    """`asyncio.Runner` for Python 3.10."""

    def __enter__(self) -> Any:
        self._loop = asyncio.new_event_loop()
        return self

    def run(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(coroutine)

    def __exit__(self, *_error: object) -> None:
        self._loop.close()


def test_a_mock_provider_counts() -> None:
    provider = MockProvider(responses=["Hello!", "World!"])

    first = provider.invoke("a prompt of some length", None)
    second = provider.invoke("b", None)

    assert (first.content, second.content) == ("Hello!", "World!")
    assert first.tokens_in > 0
    assert (provider.call_count, provider.last_prompt) == (2, "b")
    provider.say("new")
    assert provider.last_prompt is None
    assert provider.invoke("c", None).content == "new"


def test_a_mock_lambda_context_has_what_lambdas_has() -> None:
    context = MockLambdaContext(timeout_ms=1_234)

    assert context.get_remaining_time_in_millis() == 1_234
    for name in [
        "function_name",
        "function_version",
        "memory_limit_in_mb",
        "invoked_function_arn",
        "log_group_name",
        "log_stream_name",
        "aws_request_id",
    ]:
        assert getattr(context, name)
    assert context.aws_request_id != MockLambdaContext().aws_request_id


def test_the_fixture_scripts_answers_and_keeps_sessions_in_memory(
    lambdallm_model: MockProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAMBDALLM_STORE")

    @handler(session=Session())
    def chat(event: Any, context: Any) -> str:
        context.session.add_message("user", event["body"]["message"])
        reply = context.invoke(context.session.format_history())
        context.session.add_message("assistant", reply)
        return reply

    lambdallm_model.say("Hello, Ada.", "You are Ada.")
    for message in ("I am Ada.", "Who am I?"):
        chat({"body": {"message": message, "session_id": "s"}}, MockLambdaContext())

    assert "I am Ada." in lambdallm_model.prompts[1]
    lambdallm_model.fail(lambdallm.ModelInvocationError("down", retryable=False))
    assert chat({"body": {"message": "?"}}, MockLambdaContext())["statusCode"] == 502
    assert not (tmp_path / ".lambdallm").exists()
