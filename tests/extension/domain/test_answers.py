"""What has come of an answer: content in order, usage as the API says it, or an estimate."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain import answers
from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_wire import codec
from lambdallm_wire.tokens import NO_USAGE

USAGE: Any = {**NO_USAGE, "uncached_input_tokens": 14, "output_tokens": 9}


def test_pieces_come_back_as_they_travel_on() -> None:
    answer = AnswerSoFar()

    assert answer.add_text(0, "Hel") == {"text": "Hel"}
    assert answer.add_reasoning(1, "hm") == {"reasoning": "hm"}
    assert answer.begin_tool(2, "t1", "add") == {
        "tool_use": {"index": 2, "id": "t1", "name": "add"}
    }
    assert answer.add_tool_input(2, '{"a"') == {"tool_input": {"index": 2, "json": '{"a"'}}


def test_blocks_stand_in_the_order_of_their_indexes_whatever_comes_first() -> None:
    answer = AnswerSoFar(model="m", provider_request_id="r")
    answer.begin_tool(3, "t1", "add")
    answer.add_text(2, "Hel")
    answer.add_redacted(1, "QUI")
    answer.add_reasoning(0, "I th")
    answer.add_tool_input(3, '{"a": ')
    answer.add_text(2, "lo")
    answer.add_reasoning(0, "ink")
    answer.add_signature(0, "sig")
    answer.add_redacted(1, "=")
    answer.add_tool_input(3, "1}")

    assert answer.content == [
        {"reasoningContent": {"reasoningText": {"text": "I think", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "QUI="}},
        {"text": "Hello"},
        {"toolUse": {"toolUseId": "t1", "name": "add", "input": {"a": 1}}},
    ]
    whole = answer.to_answer()
    assert (whole.text, whole.content) == ("Hello", answer.content)
    assert (whole.model, whole.provider_request_id, whole.finish_reason) == ("m", "r", "other")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}), (" ", {}), ("null", None), ('{"a": [1]}', {"a": [1]}), ('{"a": ', '{"a": '),
        ('{"a": NaN}', '{"a": NaN}'), ("1e999", "1e999"), ("[" * 99_999, "[" * 99_999),
    ],
)  # fmt: skip
def test_the_input_of_a_tool_is_json_or_the_text_that_is_none(text: str, value: object) -> None:
    answer = AnswerSoFar()
    answer.begin_tool(0, "t1", "add")
    answer.add_tool_input(0, text)

    (block,) = answer.content
    assert block["toolUse"]["input"] == value
    assert codec.decode(codec.encode(block)) == block, "what cannot be sent on helps nobody"


def test_usage_of_a_whole_answer_is_the_apis_even_where_it_is_zero() -> None:
    answer = AnswerSoFar()
    answer.add_text(0, "x" * 3_000)
    answer.usage, answer.ended = dict(NO_USAGE), True  # type: ignore[assignment]

    assert answer.spent() == (NO_USAGE, False)


@given(characters=st.integers(0, 500), said=st.none() | st.integers(0, 200), ended=st.booleans())
def test_an_estimate_is_never_less_than_what_is_known(
    characters: int, said: int | None, ended: bool
) -> None:
    answer = AnswerSoFar()
    answer.add_text(0, "x" * characters)
    answer.ended = ended
    if said is not None:
        answer.usage = {**USAGE, "output_tokens": said}
    usage, estimated = answer.spent()

    assert estimated is (not ended or said is None)
    if estimated:
        assert usage["output_tokens"] == max(said or 0, -(-characters // 3))
        assert usage["uncached_input_tokens"] == (0 if said is None else 14)
    else:
        assert usage["output_tokens"] == said


def test_looking_at_an_answer_changes_nothing() -> None:
    answer = AnswerSoFar()
    answer.usage = dict(USAGE)  # type: ignore[assignment]
    answer.add_text(0, "x" * 300)
    answer.spent()[0]["output_tokens"] += 1

    assert answer.usage == USAGE
    assert NO_USAGE["output_tokens"] == 0


@given(sizes=st.lists(st.integers(0, 30), max_size=20))
def test_what_is_kept_of_a_long_answer_is_its_beginning(sizes: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "CONTENT_MAX_CHARACTERS", 64)
        answer = AnswerSoFar()
        text = "".join(chr(97 + index % 26) * size for index, size in enumerate(sizes))
        at = 0
        for size in sizes:
            answer.add_text(0, text[at : at + size])
            at += size

        assert text.startswith(answer.text)
        assert len(answer.text) <= 64
        assert answer.truncated is (len(text) > 64)
        assert answer.generated_characters == len(text), "the estimate counts all of it"
