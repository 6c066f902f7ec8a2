"""Tokens of turns: what a provider has counted is taken, the rest is measured by it."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain import context_windows, token_counts


def turn(role: str, content: Any, **more: Any) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1, **more}


def asked(content: Any, tokens: int, prompt_tokens: int, prompt_messages: int) -> Any:
    return turn(
        "assistant", content, tokens=tokens, prompt_tokens=prompt_tokens,
        prompt_messages=prompt_messages,
    )  # fmt: skip


def test_an_answer_has_the_tokens_that_its_call_has_written() -> None:
    assert token_counts.count([turn("user", "q" * 70), asked("a", 17, 300, 1)])[1] == 17


def test_a_question_has_what_the_next_prompt_has_more() -> None:
    turns = [
        turn("user", "one"),
        asked("a", 17, 300, 1),
        turn("user", "two"),
        asked("b", 5, 360, 3),
    ]

    assert token_counts.count(turns)[2] == 360 - 300 - 17


def test_several_questions_share_it_by_their_lengths() -> None:
    turns = [
        turn("user", "one"), asked("a", 10, 100, 1), turn("user", "x" * 29), turn("user", "x" * 9),
        asked("b", 5, 150, 4),
    ]  # fmt: skip

    assert token_counts.count(turns)[2:4] == [30, 10]


@pytest.mark.parametrize("prompt", [(360, 2), (360, 5), (310, 3)])
def test_prompts_with_other_beginnings_are_not_compared(prompt: tuple[int, int]) -> None:
    """A window that slid, other tools: then the session's own measure is taken."""
    turns = [
        turn("user", "one"), asked("a" * 40, 10, 300, 1), turn("user", "x" * 80),
        asked("b" * 40, 10, *prompt),
    ]  # fmt: skip

    assert token_counts.count(turns)[2] == token_counts.MESSAGE_TOKENS + 20


@pytest.mark.parametrize(
    ("text", "least", "most"), [("word " * 100, 100, 160), ("漢" * 3_000, 2_400, 3_600),
                                ("🙂" * 100, 100, 200)],
)  # fmt: skip
def test_before_anything_was_counted_scripts_differ(text: str, least: int, most: int) -> None:
    assert least <= token_counts.count([turn("user", text)])[0] <= most


def test_blocks_count_by_what_they_are() -> None:
    image = {"image": {"format": "png", "source": {"bytes": "A" * 1_000_000}}}
    document = {"document": {"name": "d", "format": "pdf", "source": {"bytes": "A" * 320_000}}}
    call = {"toolUse": {"toolUseId": "1", "name": "t", "input": {"text": "x" * 350}}}

    counts = [token_counts.count([turn("user", [block])])[0] for block in (image, document, call)]

    assert counts[0] == token_counts.IMAGE_TOKENS + token_counts.MESSAGE_TOKENS
    assert 9_000 < counts[1] < 11_000
    assert 100 < counts[2] < 200


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), st.text(),
       st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 99)), max_size=12))  # fmt: skip
def test_no_counts_are_below_one(said: list[Any]) -> None:
    turns = [
        turn(role, text, **({"tokens": tokens, "prompt_tokens": prompt, "prompt_messages": number}
        if tokens else {})) for role, text, tokens, prompt, number in said
    ]  # fmt: skip

    assert all(count >= 1 for count in token_counts.count(turns))


def test_a_conversation_gets_a_share_of_its_models_context() -> None:
    assert context_windows.share("bedrock/global.anthropic.claude-haiku-5-5") == 50_000
    assert context_windows.share("bedrock/us.amazon.nova-premier-v1:0") == 64_000
    assert context_windows.share("bedrock/meta.llama3-8b-instruct-v1:0") == 2_000
    assert context_windows.share("bedrock/us.meta.llama3-3-70b-instruct-v1:0") == 32_000
    assert context_windows.share("") == 4_000
