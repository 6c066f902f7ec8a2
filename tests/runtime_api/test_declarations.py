"""What stands in for `typing`: no more is promised than what `typing` does."""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from lambda_runtime_api import declarations


class Mine(declarations.NamedTuple):
    """Three fields, one of them required."""

    first: int
    second: str = "two"
    third: tuple[int, ...] = ()

    def doubled(self) -> int:
        return 2 * self.first


class Theirs(typing.NamedTuple):
    """Three fields, one of them required."""

    first: int
    second: str = "two"
    third: tuple[int, ...] = ()

    def doubled(self) -> int:
        return 2 * self.first


class MineOfMany(declarations.NamedTuple):
    """More than there are constructors for."""

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int = 9


class TheirsOfMany(typing.NamedTuple):
    """More than there are constructors for."""

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int = 9


BOTH = [(Mine, Theirs), (MineOfMany, TheirsOfMany)]


def outcome(call, *arguments, **named) -> tuple[object, ...]:
    """Return what a call returns, or the class of what it raises."""
    try:
        return tuple(call(*arguments, **named))
    except (TypeError, ValueError) as error:
        return (type(error),)


@pytest.mark.parametrize(("mine", "theirs"), BOTH)
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), {}),
        ((1,), {}),
        ((1, "b"), {"third": (3,)}),
        ((), {"first": 1}),
        ((), {"third": (), "first": 1}),
        ((1,), {"first": 1}),
        ((1,), {"fourth": 1}),
        ((1, 2, 3, 4), {}),
        ((1, 2, 3, 4, 5, 6, 7, 8), {}),
        ((1, 2, 3, 4, 5, 6, 7), {"h": 8}),
        ((1, 2, 3, 4, 5, 6, 7, 8, 9, 10), {}),
    ],
)
def test_arguments_are_taken_and_refused_as_by_typing(mine, theirs, arguments, named) -> None:
    assert outcome(mine, *arguments, **named) == outcome(theirs, *arguments, **named)


@pytest.mark.parametrize(("mine", "theirs"), BOTH)
def test_the_classes_say_the_same_of_themselves(mine, theirs) -> None:
    for name in ("_fields", "_field_defaults", "__match_args__", "__doc__"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert typing.get_type_hints(mine) == typing.get_type_hints(theirs)


def test_the_values_are_tuples_that_say_the_same() -> None:
    mine, theirs = Mine(1, third=(3,)), Theirs(1, third=(3,))

    assert mine == theirs == (1, "two", (3,))
    assert hash(mine) == hash(theirs)
    assert (mine.first, mine.second, mine.third, mine.doubled()) == (1, "two", (3,), 2)
    assert repr(mine) == repr(theirs).replace("Theirs", "Mine")
    assert mine._asdict() == theirs._asdict()
    assert not hasattr(mine, "__dict__")
    with pytest.raises(AttributeError):
        mine.first = 2


def test_a_copy_may_have_other_values() -> None:
    assert Mine(1)._replace(second="b") == Mine(1, "b")
    assert type(Mine(1)._replace()) is Mine
    with pytest.raises((TypeError, ValueError), match="fourth"):
        Mine(1)._replace(fourth=4)


def test_one_is_made_of_as_many_values_as_there_are_fields() -> None:
    assert Mine._make([1, "b", ()]) == Mine(1, "b", ())
    with pytest.raises(TypeError, match="3 arguments, got 1"):
        Mine._make([1])


def test_values_are_copied_and_pickled() -> None:
    value = Mine(1, "b", (3,))

    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert (type(again), again) == (Mine, value)


def test_a_match_finds_the_fields() -> None:
    match Mine(1, "b"):
        case Mine(first, second=second):
            assert (first, second) == (1, "b")
        case _:
            pytest.fail("no match")


def test_a_class_derived_from_one_is_an_ordinary_class() -> None:
    class More(Mine):
        note: str = "a class attribute, no field"

    more = More(1)
    more.kept = "it has a __dict__"

    assert (More._fields, more, more.note) == (Mine._fields, (1, "two", ()), More.note)


def test_a_required_field_does_not_follow_one_with_a_default() -> None:
    with pytest.raises(TypeError, match="default"):

        class Wrong(declarations.NamedTuple):
            first: int = 1
            second: int


def test_a_class_without_fields_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="no fields"):

        class Empty(declarations.NamedTuple):
            pass


def test_type_parameters_are_no_matter_when_the_program_runs() -> None:
    kind = declarations.TypeVar("kind")

    class Box(declarations.Generic[kind]):
        pass

    class Special(Box[int]):
        pass

    assert Box[str] is Box
    assert isinstance(Special(), Box)
    assert declarations.cast("int", value := object()) is value


def test_a_port_is_fitted_without_deriving_from_it() -> None:
    class Port(declarations.Protocol):
        def ask(self) -> int: ...

    class Adapter(Port):
        def ask(self) -> int:
            return 1

    assert Adapter().ask() == 1
