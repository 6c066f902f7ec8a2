"""What cannot be stored is refused everywhere alike."""

import pytest

from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.ports import Add, Condition, Item, Key, Put

LARGE = {"texts": ["x" * 210_000, "y" * 200_000]}
"""Over 400 KB, and not in a text of its own, which could lie elsewhere."""


def test_an_item_over_400_kb_is_refused(put, get, key):
    with pytest.raises(StoreRefusedError, match="400 KB"):
        put(key, LARGE)

    assert get(key) is None


def test_an_item_over_400_kb_in_a_transaction_is_refused(transact, get, key):
    other = Key(key.pk, "other")

    with pytest.raises(StoreRefusedError):
        transact([Put(Item(other, {})), Put(Item(key, LARGE))])

    assert get(other) is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"f": 1.5},
        {"b": b"bytes"},
        {"n": 10**38},
        {"l": [1, {"f": float("nan")}]},
        {"surrogate": "\ud800"},
        {"pk": "x"},
        {"expires_at": 1},
        {"": "no name"},
    ],
)
def test_what_cannot_be_stored_is_refused(put, add, transact, get, key, attributes):
    writes = [
        lambda: put(key, attributes),
        lambda: add(Add(key, assign=attributes)),
        lambda: transact([Put(Item(key, attributes))]),
    ]

    for write in writes:
        with pytest.raises(StoreRefusedError):
            write()
    assert get(key) is None


@pytest.mark.parametrize("name", ["pk", "sk", "expires_at"])
def test_conditions_are_on_attributes_alone(put, key, name):
    with pytest.raises(StoreRefusedError):
        put(key, {}, condition=Condition(equals={name: "x"}))


@pytest.mark.parametrize(
    "bad",
    [Key("", "a"), Key("a", ""), Key("a", "é" * 513), Key("a" * 2049, "a"), Key("a", "\ud800")],
)
def test_an_impossible_key_is_refused(put, get, bad):
    with pytest.raises(StoreRefusedError):
        put(bad)
    with pytest.raises(StoreRefusedError):
        get(bad)


def test_an_impossible_transaction_is_refused(store, get, key, deadline_ms):
    puts = [Put(Item(Key(key.pk, f"{n}"), {})) for n in range(101)]

    one = puts[:1]
    for actions, token in ((puts, "t"), ([], "t"), (one * 2, "t"), (one, ""), (one, "x" * 37)):
        with pytest.raises(StoreRefusedError):
            store.transact(actions, token=token, deadline_ms=deadline_ms)
    assert get(Key(key.pk, "0")) is None


def test_adding_to_and_assigning_one_attribute_is_refused(add, get, key):
    with pytest.raises(StoreRefusedError):
        add(Add(key, {"n": 1}, {"n": 2}))

    assert get(key) is None
