"""Types of every kind: what the model is told of them, and what values come to."""

from __future__ import annotations

import json
import typing
from dataclasses import InitVar, dataclass
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, TypedDict

import pydantic
import pytest
from typing_extensions import NotRequired, ReadOnly

from lambdallm import ConfigurationError, _output_schema
from lambdallm._structured_answers import Reading


def read(shape: Any, value: Any) -> Any:
    """Return what an answer comes to, or the places that are at fault."""
    reading = Reading(json.dumps(value), _output_schema.of(shape))
    return [fault["field"] for fault in reading.faults] or reading.value


class Tree(pydantic.BaseModel):
    v: int
    kids: list[Tree] = []


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    age: Annotated[int, pydantic.Field(json_schema_extra={"x-unit": "years"})]


@dataclass
class Fish:
    fins: int


@dataclass
class Pets:
    first: Cat | Dog | Fish
    tree: Tree | None = None


def test_a_model_that_holds_itself_keeps_its_definition() -> None:
    told = _output_schema.of(Pets).json_schema

    assert told["$defs"]["Tree"]["properties"]["kids"]["items"] == {"$ref": "#/$defs/Tree"}
    pets = read(Pets, {"first": {"fins": 2}, "tree": {"v": 1, "kids": [{"v": 2}]}})
    assert pets == Pets(Fish(2), Tree(v=1, kids=[Tree(v=2)]))
    assert read({"t": Tree}, {"t": {"v": 1}}) == {"t": Tree(v=1)}


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ({"kind": "cat", "lives": 9}, Cat(kind="cat", lives=9)),
        ({"kind": "dog", "age": 3}, Dog(kind="dog", age=3)),
        ({"fins": 3}, Fish(3)),
    ],
)
def test_of_a_union_the_first_that_takes_a_value(value: Any, made: Any) -> None:
    assert read(Pets, {"first": value}) == Pets(made)


def test_what_a_model_refuses_has_the_place_of_the_whole() -> None:
    assert read(Pets, {"first": {"fins": 1}, "tree": {"v": 1, "kids": [{"v": "x"}]}}) == [
        "answer.tree.kids.0.v"
    ]
    assert read(Pets, {"first": {"kind": "cow"}}) == ["answer.first"]


def test_models_are_closed_for_the_model_as_dataclasses_are() -> None:
    told = _output_schema.of(Tree).json_schema

    assert told["$defs"]["Tree"]["additionalProperties"] is False
    inner = _output_schema.of({"enum": {"x": {"y": int}}}).json_schema
    assert inner["properties"]["enum"]["properties"]["x"]["additionalProperties"] is False


def test_two_classes_of_one_name_are_told_apart() -> None:
    other = dataclass(type("Dog", (), {"__annotations__": {"n": "int"}}))

    class Kennel(pydantic.BaseModel):
        dog: Dog

    with pytest.raises(ConfigurationError, match="two classes called Dog"):
        _output_schema.of({"a": Kennel, "b": other})


@dataclass
class Parts:
    kind: ClassVar[str] = "part"
    n: int = 0
    scale: InitVar[int] = 1


@dataclass
class Needs:
    scale: InitVar[int]
    n: int = 0


def test_only_fields_are_told() -> None:
    assert [*_output_schema.of(Parts).json_schema["properties"]] == ["n"]
    assert read(Parts, {"n": 2}) == Parts(2)
    with pytest.raises(ConfigurationError, match="cannot be made without scale"):
        _output_schema.of(Needs)


@dataclass
class Numbers:
    whole: int = 0
    choice: Literal[1, True] = 1
    ratio: float = 0


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ({"whole": 1.0}, (int, int, int)),
        ({"choice": True}, (int, bool, int)),
        ({"choice": 1, "ratio": 1}, (int, int, float)),
    ],
)
def test_numbers_are_of_their_type(value: Any, kinds: tuple[type, ...]) -> None:
    made = read(Numbers, value)

    assert (type(made.whole), type(made.choice), type(made.ratio)) == kinds


def test_a_number_that_no_float_holds_is_at_fault() -> None:
    assert read(Numbers, {"ratio": 10**400}) == ["answer.ratio"]


class Optionals(TypedDict):
    a: int
    b: Annotated[NotRequired[int], "perhaps"]  # type: ignore[valid-type]
    c: ReadOnly[NotRequired[date]]


def test_a_typed_dict_says_what_it_needs_and_is_made() -> None:
    assert _output_schema.of(Optionals).json_schema["required"] == ["a"]
    assert read(Optionals, {"a": 1, "c": "2026-11-22"}) == {"a": 1, "c": date(2026, 11, 22)}
    assert read({"on": date, "n": int}, {"on": "2026-11-22", "n": 1, "more": 2}) == {
        "on": date(2026, 11, 22), "n": 1, "more": 2,
    }  # fmt: skip


def test_typing_list_and_dict_as_they_stand() -> None:
    shape = {"a": typing.List, "b": typing.Dict}  # noqa: UP006 - an older spelling

    assert read(shape, {"a": [1], "b": {}}) == {"a": [1], "b": {}}


@pytest.mark.parametrize("hint", [tuple[()], tuple, set, typing.Tuple])  # noqa: UP006
def test_types_that_say_nothing_of_their_items_are_refused(hint: Any) -> None:
    with pytest.raises(ConfigurationError, match="knows no"):
        _output_schema.of({"a": hint})
