"""What a message of a session may be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambdallm_wire import codec, turns

IMAGE = {"image": {"format": "png", "source": {"bytes": "aGk="}}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def turn(content: Any, role: Any = "user", **metadata: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "metadata": metadata, "at_epoch_ms": 1}


@pytest.mark.parametrize(
    "content", ["", "text", [{"text": "x"}], [IMAGE, {"text": ""}], ({"toolUse": {}},), "\ud800"]
)
def test_text_and_blocks_are_content(content: Any) -> None:
    assert turns.fault_of(turn(content)) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (5, "This one is a number"),
        (True, "This one is a boolean"),
        (None, "This one is null"),
        ({"a": 1}, "This one is an object"),
        (b"x", "This one is of the type bytes"),
        ([], "This list is empty"),
        (["x"], "This list holds a text"),
        ([IMAGE, None], "This list holds null"),
        ([{}], "One of these blocks is empty"),
        ([{"text": 5}], "The text of one of these blocks is a number"),
        ([{"image": b"x"}], "what JSON cannot"),
        ([{"score": float("nan")}], "what JSON cannot"),
    ],
)
def test_anything_else_is_refused_with_words(content: Any, words: str) -> None:
    fault = turns.fault_of(turn(content))

    assert fault is not None
    assert words in fault


@pytest.mark.parametrize("role", ["", None, 5, ["user"]])
def test_a_role_is_a_name(role: Any) -> None:
    assert "role" in str(turns.fault_of(turn("x", role)))


@pytest.mark.parametrize(
    ("content", "metadata"),
    [
        ("x" * turns.TURN_MAX_BYTES, {}),
        ("\x00" * (turns.TURN_MAX_BYTES // 6), {}),
        ([{"text": "ü" * (turns.TURN_MAX_BYTES // 2)}], {}),
        ("x" * 2_000_000, {"page": "y" * 2_000_000}),
    ],
)
def test_what_is_too_much_for_every_later_event_is_refused(content: Any, metadata: Any) -> None:
    assert "cannot be kept in a session" in str(turns.fault_of(turn(content, **metadata)))


@pytest.mark.parametrize(
    "content", ["x" * 3_999_000, "\x00" * 666_000, [{"text": "x" * 3_999_000}]]
)
def test_what_just_fits_is_taken(content: Any) -> None:
    assert turns.fault_of(turn(content)) is None


@given(JSON)
def test_what_is_taken_travels_and_stays_content(content: Any) -> None:
    if turns.fault_of(turn(content)) is None:
        travelled = codec.decode(codec.encode(turn(content)))["content"]

        assert travelled == content
        assert turns.content_fault_of(travelled) is None
