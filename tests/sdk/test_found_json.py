"""JSON in an answer: a part of it is never taken for the whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambdallm import _output_schema
from lambdallm._found_json import find
from lambdallm._structured_answers import Reading


@dataclass
class Node:
    title: str
    children: list[Node] = field(default_factory=list)


TREE = {"title": "root", "children": [{"title": "a"}, {"title": "b", "children": []}]}


@pytest.mark.parametrize(
    "text",
    [
        '{"title":"root","children":[{"title":"a"},{"ti',
        '{"title":"root","children":[{"title":"a"}],}',
        "{'title':'root','children':[{\"title\":\"a\"}]}",
        '{"filters": {"a": {"title": "inner"}}, "title": "Osl',
        'Here: ```json\n{"title":"root","children":[{"title":"a"}],}\n```',
        '{"title":"root","code":"```json\n{\\"title\\": \\"a\\"}\n```", "children": [',
        '[{"title": "a"}, {"title": "b"',
        '{"title": "}", "children": [{"title": "a"}], oops',
    ],
)
def test_a_part_of_a_value_that_cannot_be_read_is_no_answer(text: str) -> None:
    reading = Reading(text, _output_schema.of(Node))

    assert (reading.value, reading.faults) == (
        None, [{"field": "answer", "detail": "holds no JSON"}],
    )  # fmt: skip


@given(st.integers(1, len(json.dumps(TREE)) - 1), st.sampled_from(["", "Sure [draft]: "]))
def test_wherever_a_tree_is_cut_there_is_no_answer(at: int, before: str) -> None:
    assert Reading(before + json.dumps(TREE)[:at], _output_schema.of(Node)).value is None


@pytest.mark.parametrize(
    "text",
    [
        '[draft] of {braces}: {"n": 1}',
        '{"n": "x",} is wrong, {"n": 1} is right',
        '```\nno JSON\n``` and ```json\n{"n": 1}\n```',
        '<think>{"n": 9} or {"n": [</think>{"n": 1}',
        '{"n": 1, "text": "a\nb"}',
    ],
)
def test_it_is_found_all_the_same(text: str) -> None:
    found = find(text, lambda value: isinstance(value, dict) and value.get("n") == 1)

    assert found["n"] == 1


@pytest.mark.parametrize("text", ['{"n": 1e999}', '{"n": NaN}', '<think>{"n": 1}'])
def test_what_is_no_number_and_what_was_only_thought_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        find(text, lambda _value: True)


def test_a_value_that_fits_wins_over_an_earlier_one() -> None:
    text = '{"n": "x"} or {"n": 1}'

    def fits(value: Any) -> bool:
        return bool(value["n"] == 1)

    assert find(text, fits) == {"n": 1}
