"""Handlers and tests as they are written for the earlier package, run unchanged."""

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock, patch

import pytest

from lambdallm import Middleware, Model, Session, handler
from lambdallm.core.models import ModelResponse
from lambdallm.state import MemoryStrategy
from lambdallm.testing import MockLambdaContext, mock_model


@pytest.fixture
def provider() -> Iterator[MagicMock]:
    with patch("lambdallm.providers.get_provider") as get_provider:
        mock = MagicMock()
        mock.invoke.return_value = ModelResponse(
            content="An answer.",
            model_id="anthropic.claude-3-haiku-20240307-v1:0",
            tokens_in=10,
            tokens_out=20,
            latency_ms=150.0,
            cost_usd=0.00003,
        )
        get_provider.return_value = mock
        yield mock


class HandMadeContext:
    function_name = "f"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def test_a_handler_that_decodes_its_body_itself(provider: MagicMock) -> None:
    @handler(model=Model.CLAUDE_3_HAIKU)
    def summarize(event: Any, context: Any) -> Any:
        body = json.loads(event.get("body", "{}"))
        text = context.invoke("Summarize: {text}", text=body["text"])
        return {"statusCode": 200, "body": {"summary": text, "cost": context.total_cost}}

    result = summarize({"body": json.dumps({"text": "long"})}, HandMadeContext())

    assert json.loads(result["body"]) == {"summary": "An answer.", "cost": 0.00003}
    provider.invoke.assert_called_once()


def test_a_handler_that_looks_first_whether_its_body_is_text(provider: MagicMock) -> None:
    @handler(model=Model.CLAUDE_3_SONNET, timeout_buffer=10)
    def chat(event: Any, context: Any) -> Any:
        raw = event.get("body")
        body = json.loads(raw) if isinstance(raw, str) else raw
        return {"statusCode": 200, "body": {"reply": context.invoke(body["message"])}}

    for body in ('{"message": "Hi"}', {"message": "Hi"}):
        assert json.loads(chat({"body": body}, MockLambdaContext())["body"]) == {
            "reply": "An answer."
        }


@mock_model(responses=["ignored"])
def test_a_unit_test_with_an_empty_event() -> None:
    @handler(model=Model.CLAUDE_3_HAIKU)
    def fail(event: Any, context: Any) -> None:
        raise ValueError("Something broke")

    result = fail({}, MockLambdaContext())

    assert result["statusCode"] == 500
    assert "error" in json.loads(result["body"])


def test_a_handler_that_loads_its_session_itself(provider: MagicMock) -> None:
    @handler(session=Session(memory=MemoryStrategy.SLIDING_WINDOW_N(6)))
    def chat(event: Any, context: Any) -> Any:
        session = context.session
        session.load(event["body"]["user"])
        session.add_message("user", event["body"]["message"])
        reply = context.invoke("Reply to:\n" + session.format_history())
        session.add_message("assistant", reply)
        session.save()
        return {"statusCode": 200, "body": {"count": session.message_count}}

    counts = [
        json.loads(chat({"body": {"user": "ada", "message": "Hi"}}, MockLambdaContext())["body"])
        for _ in range(4)
    ]

    assert counts == [{"count": 2}, {"count": 4}, {"count": 6}, {"count": 6}]


def test_a_middleware_of_ones_own(provider: MagicMock) -> None:
    class Tag(Middleware):
        def before_invoke(self, event: Any, context: Any) -> Any:
            event["tagged"] = True
            return event

        def after_invoke(self, event: Any, result: Any, context: Any) -> Any:
            result["headers"] = {"x-cost": str(context.total_cost)}
            return result

    @handler(middleware=[Tag()])
    def ask(event: Any, context: Any) -> Any:
        assert event["tagged"]
        context.invoke("Hi")
        return {"statusCode": 200, "body": {}}

    assert ask({"body": "{}"}, MockLambdaContext())["headers"] == {"x-cost": "3e-05"}
