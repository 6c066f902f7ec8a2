"""What a body has to hold, and how it is told what it does not."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambdallm import ConfigurationError, InvalidRequestError
from lambdallm._schema import FAULTS_MAX, KEYWORDS, Schema


def faults(definition: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    try:
        Schema(definition).check(value)
    except InvalidRequestError as error:
        return [(fault["field"], fault["detail"]) for fault in error.errors]
    return []


def test_fields_with_their_types_are_all_required() -> None:
    schema = {"message": str, "count": int, "ratio": float, "on": bool, "tags": list, "more": dict}
    good = {"message": "x", "count": 1, "ratio": 1, "on": True, "tags": [], "more": {}, "extra": 0}

    assert faults(schema, good) == []
    assert faults(schema, {}) == [(f"body.{name}", "is missing") for name in schema]
    assert faults(schema, {**good, "count": True}) == [("body.count", "has to be an integer")]
    assert faults(schema, {**good, "message": None}) == [("body.message", "is missing")]
    assert faults(schema, {**good, "ratio": "1"}) == [("body.ratio", "has to be a number")]


@pytest.mark.parametrize("value", [None, "text", [], 7])
def test_a_body_that_is_no_object_is_at_fault(value: Any) -> None:
    assert [field for field, _ in faults({"message": str}, value)] == ["body"]


@pytest.mark.parametrize(
    ("schema", "good", "bad", "detail"),
    [
        ({"type": "string"}, "x", 1, "has to be a string"),
        ({"type": ["string", "null"]}, None, 1, "has to be a string or null"),
        ({"type": "integer"}, 2.0, 2.5, "has to be an integer"),
        ({"enum": ["a", 1]}, 1, True, 'has to be one of "a", 1'),
        ({"const": 1}, 1, True, "has to be 1"),
        ({"pattern": "^a+$"}, "aa", "b", "has to match ^a+$"),
        ({"minLength": 2}, "ab", "a", "needs at least 2 characters"),
        ({"maxLength": 2}, "ab", "abc", "has more than 2 characters"),
        ({"minItems": 1}, [1], [], "needs at least 1 items"),
        ({"maxItems": 1}, [1], [1, 2], "has more than 1 items"),
        ({"minimum": 0}, 0, -1, "is less than 0"),
        ({"maximum": 9}, 9, 9.5, "is more than 9"),
    ],
)
def test_each_keyword(schema: dict[str, Any], good: Any, bad: Any, detail: str) -> None:
    assert faults(schema, good) == []
    assert faults(schema, bad) == [("body", detail)]


def test_keywords_of_one_type_leave_others_alone() -> None:
    assert faults({"minLength": 2, "minItems": 2, "minimum": 2, "pattern": "x"}, None) == []


def test_nested_fields_are_named() -> None:
    schema = {
        "type": "object",
        "properties": {
            "user": {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
                "additionalProperties": False,
            },
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "description": "a request",
    }

    assert faults(schema, {"user": {"x": 1}, "tags": ["a", 2]}) == [
        ("body.user.name", "is missing"),
        ("body.user.x", "is not expected"),
        ("body.tags[1]", "has to be a string"),
    ]


def test_the_answer_to_a_hostile_body_is_short_and_repeats_no_value() -> None:
    schema = {"type": "array", "items": {"type": "string"}}

    found = faults(schema, [123_456_789] * 10_000)

    assert len(found) == FAULTS_MAX
    assert "123456789" not in str(found)
    assert (
        len(faults({"properties": {}, "additionalProperties": False}, {"k" * 999: 1})[0][0]) <= 200
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/a"},
        {"oneOf": []},
        {"type": "strnig"},
        {"properties": {"a": {"format": "email"}}},
        {"items": {"uniqueItems": True}},
        {"items": 7},
        {"message": set},
    ],
)
def test_what_would_not_be_checked_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Schema(schema)


def test_a_field_may_be_called_type() -> None:
    assert faults({"type": str}, {}) == [("body.type", "is missing")]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(VALUES)
def test_no_body_makes_it_raise_anything_else(value: Any) -> None:
    inner = {name: {"a": {}}.get("a", {}) for name in ("a", "b")}
    schema = {
        "type": ["object", "array", "string", "number", "boolean", "null"],
        "properties": inner,
        "required": ["a"],
        "items": {"type": "object", "properties": inner},
        "minLength": 1,
        "maxItems": 2,
        "minimum": 0,
        "enum": [None, {"a": 1}],
        "pattern": "a",
        "additionalProperties": False,
    }

    assert schema.keys() <= KEYWORDS.keys()
    faults(schema, value)
