"""Only models whose makers say so go on with the beginning of an answer."""

from typing import Any

import pytest

from lambdallm_extension.domain import prefill

QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "Tell."}]}


@pytest.mark.parametrize(
    ("model", "goes_on"),
    [
        ("bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0", True),
        ("anthropic/claude-sonnet-4-20250514", True),
        ("anthropic/claude-haiku-4-5-20251001", True),
        ("bedrock/amazon.nova-pro-v1:0", True),
        ("anthropic/claude-opus-4-6", False),
        ("anthropic/claude-sonnet-4-6", False),
        ("openai/gpt-4o", False),
        ("bedrock/meta.llama3-70b-instruct-v1:0", False),
        ("bedrock/amazon.nova-premier-v1:0", False),
    ],
)
def test_who_goes_on(model: str, goes_on: bool) -> None:
    assert prefill.goes_on(model, QUESTION) is goes_on


@pytest.mark.parametrize("field", ["reasoning", "thinking", "additional_fields", "tools"])
def test_nobody_goes_on_who_may_think_or_call_first(field: str) -> None:
    assert not prefill.goes_on("anthropic/claude-haiku-4-5-x", {**QUESTION, field: {"a": 1}})


def test_the_beginning_is_the_last_message_and_the_question_stays_as_it_was() -> None:
    asked = prefill.with_beginning(QUESTION, "Once")

    assert asked["messages"] == [*QUESTION["messages"], {"role": "assistant", "content": "Once"}]
    assert len(QUESTION["messages"]) == 1
