"""A write happens if and only if its condition holds."""

import pytest

from lambdallm_extension.errors import ConditionFailedError
from lambdallm_extension.ports import ABSENT, ALWAYS, PRESENT, Add, Check, Condition, Item, Key, Put


def typed(equals=None, at_most=None):
    """A condition that fails because a value of another type is not the same value."""
    return pytest.param(Condition(None, equals or {}, at_most or {}), False, id="types")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (ALWAYS, True),
        (ABSENT, False),
        (PRESENT, True),
        (Condition(equals={"n": 5}), True),
        (Condition(equals={"n": 4}), False),
        (Condition(equals={"n": "5"}), False),
        typed({"yes": 1}),
        (Condition(equals={"yes": True, "no": False, "none": None, "empty": ""}), True),
        (Condition(equals={"l": [1, [None]], "m": {"a": 0}}), True),
        typed({"no": 0}),
        typed({"missing": None}),
        (Condition(equals={"l": [1]}), False),
        typed({"m": {"a": False}}),
        (Condition(equals={"m": []}), False),
        (Condition(at_most={"n": 5}), True),
        (Condition(at_most={"n": 4}), False),
        (Condition(at_most={"missing": 0}), True),
        (Condition(at_most={"missing": -1}), False),
        typed(at_most={"s": 100}),
        typed(at_most={"yes": 100}),
        (Condition(absent=False, equals={"n": 5, "s": "x"}, at_most={"n": 9, "missing": 0}), True),
        (Condition(absent=False, equals={"n": 5, "s": "y"}, at_most={"n": 9}), False),
    ],
)
def test_a_write_happens_if_and_only_if_its_condition_holds(
    *, request, without, put, get, add, transact, key, condition, holds
):
    if "types" in request.node.callspec.id:
        without("moto", "conditions mix up types")
    before = {
        "n": 5, "s": "x", "yes": True, "no": False, "none": None, "empty": "",
        "l": [1, [None]], "m": {"a": 0},
    }  # fmt: skip
    put(key, before)
    writes = [
        lambda: put(key, before | {"new": 1}, condition=condition),
        lambda: add(Add(key, {"added": 1}, condition=condition)),
        lambda: transact([Put(Item(key, before), condition)], "a"),
        lambda: transact([Add(key, {"added": 1}, condition=condition)], "b"),
        lambda: transact([Check(key, condition)], "c"),
    ]

    for write in writes:
        put(key, before)
        if holds:
            write()
            continue
        with pytest.raises(ConditionFailedError) as caught:
            write()
        assert caught.value.current == (Item(key, before),)
        assert get(key) == Item(key, before)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (ALWAYS, True),
        (ABSENT, True),
        (PRESENT, False),
        (Condition(equals={"n": 0}), False),
        (Condition(at_most={"n": 0}), True),
        (Condition(at_most={"n": -1}), False),
        (Condition(absent=True, at_most={"n": 7}), True),
    ],
)
def test_conditions_on_an_absent_item(*, put, get, add, transact, key, condition, holds):
    writes = [
        lambda sk: put(Key(key.pk, sk), {"a": 1}, condition=condition),
        lambda sk: add(Add(Key(key.pk, sk), {"a": 1}, condition=condition)),
        lambda sk: transact([Put(Item(Key(key.pk, sk), {"a": 1}), condition)], sk),
        lambda sk: transact([Add(Key(key.pk, sk), {"a": 1}, condition=condition)], sk),
    ]

    for number, write in enumerate(writes):
        if holds:
            write(f"{number}")
            assert get(Key(key.pk, f"{number}")).attributes == {"a": 1}
            continue
        with pytest.raises(ConditionFailedError) as caught:
            write(f"{number}")
        assert caught.value.current == (None,)
        assert get(Key(key.pk, f"{number}")) is None


def test_a_refusal_shows_the_item_without_what_the_store_adds(put, key):
    put(key, {"owner": "first"}, expires_at=1_800_000_000, condition=ABSENT)

    with pytest.raises(ConditionFailedError) as caught:
        put(key, {"owner": "second"}, condition=ABSENT)

    assert caught.value.current == (Item(key, {"owner": "first"}, 1_800_000_000),)
