"""JSON that is read while it grows, and JSON that is found in a text."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambdallm._found_json import find
from lambdallm._partial_json import PartialJson

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


def read_in_pieces(text: str, sizes: list[int]) -> PartialJson:
    partial = PartialJson()
    at = 0
    while at < len(text):
        size = sizes.pop() if sizes else 1
        partial.feed(text[at : at + size])
        at += size
    return partial


@given(CONTAINERS, st.lists(st.integers(1, 7)), st.booleans(), st.sampled_from([None, 2]))
def test_what_has_come_in_any_pieces_is_the_value(
    value: Any, sizes: list[int], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)

    partial = read_in_pieces(text, sizes)

    assert partial.value == json.loads(text)
    assert partial.ended


def is_beginning(part: Any, whole: Any) -> bool:
    """Say whether a value is what another one may have been on its way."""
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and is_beginning(part[name], whole[name]) for name in part)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(is_beginning, part, whole))
    return type(part) is type(whole) and bool(part == whole)


@given(CONTAINERS)
def test_at_any_moment_it_is_a_beginning_of_the_value(value: Any) -> None:
    value = json.loads(json.dumps(value))
    partial = PartialJson()
    before = ""
    for character in json.dumps(value):
        changed = partial.feed(character)
        now = json.dumps(partial.value)
        assert changed or now == before
        before = now
        assert partial.value is None or is_beginning(partial.value, value)


@given(st.text(alphabet='{}[]",:\\u0123tfnae. \n-'), st.lists(st.integers(1, 5)))
def test_no_text_makes_it_raise(text: str, sizes: list[int]) -> None:
    read_in_pieces(text, sizes)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"title": "Ti', {"title": "Ti"}),
        ('{"title": "Tides", "p', {"title": "Tides"}),
        ('{"title": "Tides", "pages": 12', {"title": "Tides"}),
        ('{"pages": 12,', {"pages": 12}),
        ('{"a": [1, {"b": tr', {"a": [1, {}]}),
        ('{"a": "x\\', {"a": "x"}),
        ('{"a": "\\ud83d\\ude0', {"a": ""}),
        ('{"a": "\\ud83d\\ude00"', {"a": "😀"}),
        ('Here it is:\n```json\n{"a": 1', {}),
        ('Here it is:\n```json\n{"a": 1}\n```\nFine? {"b": 2}', {"a": 1}),
        ('{"a": 1, oops', {"a": 1}),
        ("No.", None),
    ],
)
def test_what_is_there_of_a_text_that_was_cut(text: str, value: Any) -> None:
    partial = PartialJson()
    partial.feed(text)

    assert partial.value == value


def test_a_long_text_in_small_pieces_takes_no_longer_than_its_length() -> None:
    """Were the string copied with each piece, these would be 160 GB of copies."""
    partial = PartialJson()
    partial.feed('{"essay": "')
    for _ in range(200_000):
        partial.feed("12345678")
    partial.feed('"}')

    assert partial.ended
    assert len(partial.value["essay"]) == 1_600_000


# What is found in a whole text


def found(text: str) -> Any:
    return find(text, lambda value: isinstance(value, dict) and "n" in value)


@pytest.mark.parametrize(
    "text",
    [
        '{"n": 1}',
        '\ufeff{"n": 1}\n',
        '```json\n{"n": 1}\n```',
        '```\n{"n": 1}```',
        '```JSON {"n": 1} ```',
        'Sure! Here is the JSON:\n\n{"n": 1}\n\nLet me know if you need more.',
        'I use {braces} and [lists] before:\n{"n": 1}',
        '{"other": 2} is wrong, this is right: {"n": 1}',
        '```json\n{"other": 2}\n```\nor\n```json\n{"n": 1}\n```',
        '{"n": 1}{"n": 2}',
        '{"n": 1}]}',
    ],
)
def test_it_is_found_whatever_stands_around_it(text: str) -> None:
    assert found(text) == {"n": 1}


def test_where_none_fits_the_first_is_told() -> None:
    assert found('First {"a": 1}, then {"b": 2}.') == {"a": 1}
    assert found("[1, 2]") == [1, 2]


@pytest.mark.parametrize(
    "text", ["", "No.", '{"n": 1', "{n: 1}", '{"n": NaN}', "{" * 100_000, "[" * 100_000]
)
def test_where_there_is_none_it_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        found(text)


@given(
    st.lists(st.integers(1, 7)), st.sampled_from(["<think>{[</think>", "  <thin", "<x [1] ", ""])
)
def test_it_begins_with_what_was_asked_for(sizes: list[int], before: str) -> None:
    partial = PartialJson("{")
    text = before + '{"a": "</think>"}'
    at = 0
    while at < len(text):
        size = sizes.pop() if sizes else 1
        partial.feed(text[at : at + size])
        at += size

    assert partial.value == {"a": "</think>"}
    assert partial.ended
