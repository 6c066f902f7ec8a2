"""How much a request lets a model write: a limit under another API's name is none."""

from __future__ import annotations

from typing import Any

import pytest

from lambdallm_extension.domain.answer_bounds import ANSWERS_MAX, answers_of

TEXT = [{"role": "user", "content": "Hello"}]
UNTYPED = [{"role": "user", "content": [{"text": "Hello"}]}]
TYPED = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"messages": TEXT, "max_tokens": 9}, 9),
        ({"messages": TYPED, "max_tokens": 9}, 9),
        ({"messages": [], "max_tokens": 9}, 9),
        ({"messages": TEXT, "max_output_tokens": 9}, None),
        ({"messages": TEXT, "maxTokens": 9}, None),
        ({"messages": TEXT, "max_gen_len": 9}, None),
        ({"messages": UNTYPED, "max_tokens": 9}, None),
        ({"messages": TEXT, "schemaVersion": "messages-v1", "max_tokens": 9}, None),
        ({"messages": UNTYPED, "inferenceConfig": {"max_new_tokens": 9}}, 9),
        ({"messages": UNTYPED, "inferenceConfig": {"max_tokens": 9}}, None),
        ({"messages": UNTYPED, "additionalModelRequestFields": {"max_tokens": 9}}, None),
        ({"messages": UNTYPED, "inferenceConfig": {"maxTokens": 9},
          "additionalModelRequestFields": {"max_tokens": "90"}}, None),
        ({"input": "Hello", "max_tokens": 9}, None),
        ({"input": "Hello", "max_output_tokens": 9}, 9),
        ({"prompt": "Hello", "maxTokens": 9}, 9),
        ({"prompt": "Hello", "max_output_tokens": 9}, None),
        ({"inputText": "Hello", "maxTokenCount": 9}, None),
        ({"inputs": "Hello", "parameters": {"max_new_tokens": 9}}, 9),
        ({"contents": [], "generationConfig": {"max_tokens": 9}}, None),
        ({"messages": TEXT, "max_tokens": 9, "additional_fields": {"top_k": 5}}, 9),
        ({"messages": TEXT, "max_tokens": 9, "additional_fields": {"max_tokens": 5}}, 9),
        ({"messages": TEXT, "max_tokens": 9,
          "additional_fields": {"max_completion_tokens": 90}}, 90),
        ({"messages": TEXT, "max_tokens": 9, "additional_fields": {"max_output_tokens": 90}}, 90),
        ({"messages": TEXT, "max_tokens": 9, "additional_fields": {"n": 8}}, 72),
        ({"messages": UNTYPED, "inferenceConfig": {"maxTokens": 9},
          "additional_fields": {"inferenceConfig": {"max_new_tokens": 90}}}, 90),
        ({"messages": TEXT, "max_tokens": 9,
          "additional_fields": {"max_completion_tokens": "90"}}, None),
    ],
    ids=str,
)  # fmt: skip
def test_a_limit_counts_under_the_name_that_its_api_gives_it(
    body: dict[str, Any], tokens: int | None
) -> None:
    assert answers_of(body).tokens == tokens


@pytest.mark.parametrize(
    ("body", "answers"),
    [
        ({"prompt": ["a", "b", "c"], "max_tokens": 5, "n": 2}, 6),
        ({"prompt": [[1, 2], [3]], "max_tokens": 5}, 2),
        ({"prompt": [1, 2, 3], "max_tokens": 5}, 1),
        ({"inputs": ["a", "b"], "parameters": {"max_new_tokens": 5}}, 2),
        ({"inputs": "a", "parameters": {"max_new_tokens": 5, "num_return_sequences": 4}}, 4),
        ({"inputs": "a", "parameters": {"max_new_tokens": 5, "best_of": 3}}, 3),
        ({"messages": TEXT, "max_tokens": 5, "n": "9" * 5_000}, ANSWERS_MAX),
    ],
    ids=lambda value: str(value)[:80],
)
def test_each_text_is_answered_by_itself(body: dict[str, Any], answers: int) -> None:
    bound = answers_of(body)

    assert bound.answers == answers
    assert bound.tokens == 5 * answers


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({}, 0),
        ({"thinking": {"type": "adaptive"}}, 0),
        ({"thinking": {"type": "enabled", "budget_tokens": 9_000}}, 9_000),
        ({"thinking": {"type": "enabled", "budget_tokens": 9_000}, "n": 2}, 18_000),
        ({"additionalModelRequestFields": {"thinking": {"budget_tokens": 800}}}, 800),
        ({"additionalModelRequestFields": {"reasoning_config": {"budget_tokens": 800}}}, 800),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 700}}}, 700),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}}, 0),
        ({"extra_body": {"google": {"thinking_config": {"thinking_budget": 600}}}}, 600),
        ({"prediction": {"type": "content", "content": "x" * 500}}, 500),
        ({"prediction": {"content": [{"type": "text", "text": "é"}, "ab", None]}}, 8),
        ({"additional_fields": {"thinking": {"type": "enabled", "budget_tokens": 800}}}, 800),
        ({"additional_fields": {"prediction": {"content": "x" * 500}}}, 500),
    ],
    ids=str,
)
def test_what_an_api_may_write_beside_the_limit(more: dict[str, Any], tokens: int) -> None:
    assert answers_of({"messages": TEXT, "max_tokens": 5, **more}).more_tokens == tokens
