"""What a body has to hold, and how it is told what it does not."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given, strategies as st

from lambdallm import ConfigurationError, InvalidRequestError
from lambdallm._schema import FAULTS_MAX, KEYWORDS, Schema
from lambdallm._schema_faults import Path
from lambdallm._schema_keywords import Checking


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


@pytest.mark.parametrize(
    ("schema", "good", "bad", "detail"),
    [
        ({"exclusiveMinimum": 0}, 1, 0, "has to be more than 0"),
        ({"exclusiveMaximum": 9}, 8, 9, "has to be less than 9"),
        ({"multipleOf": 3}, 9, 10, "is no multiple of 3"),
        ({"minProperties": 1}, {"a": 1}, {}, "needs at least 1 fields"),
        ({"not": {"type": "null"}}, 1, None, "is what is not allowed here"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, 1,
         "is none of what is allowed here"),
        ({"anyOf": [{"type": "integer", "minimum": 5}, {"type": "null"}]}, 5, 1, "is less than 5"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, 1, 6,
         "is more than one of what is allowed here"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, 1, "1",
         "has to be an integer"),
        ({"format": "date-time"}, "2026-11-22T04:00:00.5Z", "2026-11-22", "has to be a date-time"),
        ({"format": "date"}, "2026-11-22", "20261122", "has to be a date"),
        ({"format": "time"}, "04:00:00+01:00", "4 am", "has to be a time"),
        ({"format": "email"}, "ada@example.com", "ada", "has to be an email"),
        ({"format": "uuid"}, "123e4567-e89b-12d3-a456-426614174000", "123", "has to be a uuid"),
        ({"format": "uri"}, "https://example.com/x", "example", "has to be a uri"),
        ({"format": "ipv4"}, "10.0.0.255", "10.0.0.256", "has to be an ipv4"),
        ({"format": "hostname"}, "a-b.example.com", "-a", "has to be a hostname"),
    ],
)  # fmt: skip
def test_each_keyword_that_answers_need(
    schema: dict[str, Any], good: Any, bad: Any, detail: str
) -> None:
    assert faults(schema, good) == []
    assert faults(schema, bad) == [("body", detail)]


def test_a_schema_that_leads_back_to_itself() -> None:
    tree = {
        "type": "object",
        "properties": {"leaves": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["leaves"],
    }

    assert faults(tree, {"leaves": [{"leaves": []}]}) == []
    assert faults(tree, {"leaves": [{"leaves": [{}]}]}) == [
        ("body.leaves[0].leaves[0].leaves", "is missing")
    ]
    assert faults({"$ref": "#"}, 1) == [("body", "is nested more than 200 deep")]


def any_schema() -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of the keywords that both sides know, which fit and miss `VALUES` about as often."""
    numbers = st.integers(-2, 3)
    sizes = st.integers(0, 2)
    leaf = st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(
                    ["object", "array", "string", "integer", ["number", "null"], "boolean"]
                ),
                "minimum": numbers,
                "exclusiveMaximum": numbers,
                "multipleOf": st.integers(1, 3),
                "minLength": sizes,
                "maxLength": sizes,
                "minItems": sizes,
                "maxProperties": sizes,
                "uniqueItems": st.booleans(),
                "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
                "pattern": st.sampled_from(["^a", "b$"]),
            },
        ),
        st.sampled_from([0, True, [1], {"a": 1}]).map(lambda of: {"const": of}),
        st.builds(
            lambda values: {"enum": values}, st.lists(st.sampled_from([0, False, "a"]), min_size=1)
        ),
        st.just({"$ref": "#/$defs/x"}),
    )

    def around(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        schema_or_not = inner | st.booleans()
        return st.fixed_dictionaries(
            {},
            optional={
                "anyOf": st.lists(schema_or_not, min_size=1, max_size=3),
                "oneOf": st.lists(schema_or_not, min_size=1, max_size=3),
                "allOf": st.lists(schema_or_not, min_size=1, max_size=2),
                "not": inner,
                "properties": st.dictionaries(st.sampled_from("abc"), schema_or_not),
                "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner),
                "additionalProperties": schema_or_not,
                "propertyNames": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "items": schema_or_not,
            },
        )

    return st.recursive(leaf, around, max_leaves=6)


@given(any_schema(), any_schema(), st.deferred(lambda: VALUES))
def test_it_says_what_jsonschema_says(
    schema: dict[str, Any], definition: dict[str, Any], value: Any
) -> None:
    if "$ref" in str(definition):
        definition = {"type": "integer"}
    schema = {**schema, "$defs": {"x": definition}}
    oracle = jsonschema.Draft202012Validator(schema)

    assert (faults(schema, value) == []) == oracle.is_valid(value)


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
        {"if": {"type": "string"}},
        {"type": "strnig"},
        {"properties": {"a": {"format": "colour"}}},
        {"items": {"contains": {}}},
        {"anyOf": [{"$ref": "#/$defs/absent"}], "$defs": {"there": {}}},
        {"$ref": "https://example.com/schema"},
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
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
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


@pytest.mark.parametrize(
    "schema",
    [
        {"required": "name"},
        {"enum": "abc"},
        {"exclusiveMinimum": True},
        {"minimum": "1"},
        {"minLength": -1},
        {"maxItems": 1.5},
        {"maximum": float("inf")},
        {"multipleOf": 0},
        {"pattern": "("},
        {"patternProperties": {"(": {}}},
        {"properties": [1]},
        {"type": {}},
        {"type": []},
        {"anyOf": {}},
        {"uniqueItems": 1},
        {"format": ["date"]},
    ],
)
def test_a_keyword_that_cannot_be_checked_with_its_value_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Schema({"type": "object", "properties": {"a": schema}})


@pytest.mark.parametrize(
    ("step", "value", "fits"),
    [
        (0.01, 19.99, True),
        (0.01, 19.995, False),
        (0.5, 10**400, True),
        (10**400, 5.0, False),
        (3, 10**400, False),
        (0.1, float("inf"), False),
    ],
)
def test_a_multiple_is_one_as_it_is_written(step: Any, value: Any, fits: bool) -> None:
    assert (faults({"multipleOf": step}, value) == []) is fits


def test_what_json_has_no_number_for_is_none() -> None:
    assert faults({"type": "number"}, float("inf")) == [("body", "has to be a number")]


# However much there is to be checked

LINKED = {
    "$ref": "#/$defs/L",
    "$defs": {
        "L": {
            "type": "object",
            "properties": {
                "v": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/L"}, {"type": "null"}]},
            },
            "required": ["v"],
        }
    },
}


def linked(depth: int, leaf: Any) -> Any:
    value = {"v": leaf}
    for _ in range(depth):
        value = {"v": 1, "next": value}
    return value


def test_choices_within_choices_are_looked_at_once() -> None:
    steps: list[int] = []
    for depth in (20, 40):
        checking = Checking(LINKED, None)
        checking.check(linked(depth, "x"), LINKED, Path("body", "body"))
        steps.append(checking.steps)
        assert [fault["detail"] for fault in checking.faults] == ["has to be an integer"]

    assert steps[1] < 3 * steps[0]
    assert faults(LINKED, linked(50, 1)) == []
    assert faults(LINKED, linked(900, 1))[0][1] == "is nested more than 200 deep"


def test_a_choice_that_doubles_with_each_level_comes_to_an_end() -> None:
    twice = {"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, "maxItems": 1}
    value: Any = [1]
    for _ in range(40):
        value = [value]

    assert [detail for _, detail in faults(twice, value)] == ["takes too many steps to be checked"]


def test_a_long_list_has_steps_enough() -> None:
    schema = {"items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "uniqueItems": True}

    assert faults(schema, [*range(60_000)]) == []


def test_a_reference_that_leads_to_itself_alone() -> None:
    loop = {"anyOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"$ref": "#/$defs/A"}}}

    assert faults(loop, 1) == [("body", "is nested more than 200 deep")]
    assert faults({**loop, "anyOf": [False, {"$ref": "#/$defs/B"}], "$defs": LOOP}, 1) == [
        ("body", "is none of what is allowed here")
    ]


LOOP = {"B": {"allOf": [False], "$ref": "#/$defs/C"}, "C": {"not": {}}}


def test_names_that_somebody_made_up_stay_out_of_the_sentence() -> None:
    schema = {
        "type": "object",
        "properties": {"prices": {"additionalProperties": {"type": "number"}}},
        "patternProperties": {"^p_": {"type": "integer"}},
        "propertyNames": {"maxLength": 9},
    }

    with pytest.raises(InvalidRequestError) as caught:
        Schema(schema).check({"prices": {"Ann": "x"}, "p_Bob": "x", "Somebody Else": 1})

    assert caught.value.errors == [
        {"field": "body.prices.Ann", "detail": "has to be a number"},
        {"field": "body.p_Bob", "detail": "has to be an integer"},
        {"field": "body.Somebody Else", "detail": "has more than 9 characters"},
    ]
    assert "body.prices.* has to be a number; body.* has to be an integer" in caught.value.detail
    assert not any(name in caught.value.detail for name in ("Ann", "Bob", "Somebody"))
