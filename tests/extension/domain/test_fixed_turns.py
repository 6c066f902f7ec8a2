"""How a head names the turns that stay in every window."""

from typing import Any

from hypothesis import given, strategies as st

from lambdallm_extension.domain import fixed_turns


def turn(role: str, **more: Any) -> Any:
    return {"role": role, "content": "x", "metadata": {}, "at_epoch_ms": 1, **more}


TURNS = [turn("system"), turn("user", pinned=True), turn("assistant"), turn("user", pinned=False)]


def test_system_turns_and_pinned_ones_are_named_with_their_exchange() -> None:
    named = fixed_turns.assignment(17, TURNS, first=0)

    assert named == {"fixed_000017": "0,1"}
    assert fixed_turns.named({**named, "exchanges": 17, "metadata": "{}"}, 1) == ((17, 0), (17, 1))


def test_a_write_that_adds_none_leaves_the_head_alone() -> None:
    assert fixed_turns.assignment(17, TURNS, first=2) == {}
    assert fixed_turns.assignment(17, TURNS[2:], first=0) == {}


def test_what_was_cleared_is_not_named_and_what_is_many_is_bounded() -> None:
    attributes = {f"fixed_{number:06d}": "0" for number in range(1, 100)}

    assert fixed_turns.named(attributes, 98) == ((98, 0), (99, 0))
    assert fixed_turns.named(attributes, 1)[0] == (68, 0)


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none())))
def test_whatever_stands_in_a_head_is_read(attributes: Any) -> None:
    prefixed = {f"fixed_{name}": value for name, value in attributes.items()}

    fixed_turns.named({**attributes, **prefixed}, 1)
