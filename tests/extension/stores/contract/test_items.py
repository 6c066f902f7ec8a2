"""What is written comes back as it was, and additions are exact."""

import pytest

from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.ports import Add, Item, Key


def test_what_is_absent_is_none(get, key):
    assert get(key) is None


def test_values_come_back_as_they_were(put, get, key):
    attributes = {
        "zero": 0,
        "empty": "",
        "none": None,
        "no": False,
        "yes": True,
        "one": 1,
        "list": [],
        "map": {},
        "nested": {"list": [1, "1", None, True, {"deep": [[]]}], "a.b": 1},
        "unicode": "Grüße 🐍 \x00 \u2028 e\u0301",
        "select": "a reserved word",
        "#name :value": -1,
    }
    put(key, attributes)

    item = get(key)

    assert item == Item(key, attributes, None)
    assert [type(value) for value in item.attributes.values()] == [
        type(item.attributes[name]) for name in item.attributes
    ]
    assert item.attributes["one"] is not True
    assert item.attributes["yes"] is True


@pytest.mark.parametrize(
    "number", [10**38 - 1, -(10**38) + 1, 2**63, 123456789012345678901234567890]
)
def test_large_numbers_are_exact(put, get, key, number):
    put(key, {"n": number, "l": [number]})

    assert get(key).attributes == {"n": number, "l": [number]}


def test_expiry_is_kept_beside_the_attributes(put, get, query, key):
    put(key, {"a": 1}, expires_at=1_800_000_000)

    assert get(key) == Item(key, {"a": 1}, 1_800_000_000)
    assert query(key.pk, "") == [Item(key, {"a": 1}, 1_800_000_000)]


def test_a_put_replaces_the_whole_item(put, get, key):
    put(key, {"a": 1, "b": 2}, expires_at=1_800_000_000)
    put(key, {"c": 3})

    assert get(key) == Item(key, {"c": 3}, None)


def test_what_is_returned_is_not_what_is_stored(put, get, add, query, key):
    attributes = {"list": [1]}
    put(key, attributes)
    attributes["list"].append(2)
    get(key).attributes["list"].append(3)
    query(key.pk, "")[0].attributes["list"].append(4)
    add(Add(key, {"n": 1})).attributes["list"].append(5)

    assert get(key).attributes == {"list": [1], "n": 1}


def test_an_addition_creates_counts_and_assigns(add, get, key):
    assert add(Add(key, {"n": 2}, {"s": "x"}, 1_800_000_000)) == Item(
        key, {"n": 2, "s": "x"}, 1_800_000_000
    )
    assert add(Add(key, {"n": -5, "m": 0})) == Item(key, {"n": -3, "s": "x", "m": 0}, 1_800_000_000)
    assert add(Add(key, assign={"s": None, "l": [1]}, expires_at=1_900_000_000)) == Item(
        key, {"n": -3, "s": None, "m": 0, "l": [1]}, 1_900_000_000
    )
    assert get(key).attributes["n"] == -3


def test_an_addition_of_nothing_makes_the_item(add, transact, get, key):
    other = Key(key.pk, "other")

    assert add(Add(key)) == Item(key, {}, None)
    transact([Add(other)])

    assert get(key) == Item(key, {}, None)
    assert get(other) == Item(other, {}, None)


def test_an_addition_of_pico_dollars_is_exact(add, key):
    add(Add(key, {"n": 10**27}))

    assert add(Add(key, {"n": 1})).attributes["n"] == 10**27 + 1


def test_an_addition_is_exact_to_38_digits(add, key, without):
    without("ministack", "ADD rounds to 28 digits")
    without("moto", "ADD rounds to 28 digits")
    add(Add(key, {"n": 10**37}))

    assert add(Add(key, {"n": 1})).attributes["n"] == 10**37 + 1


def test_adding_to_what_is_no_number_is_refused(put, add, get, key):
    put(key, {"s": "x"})

    with pytest.raises(StoreRefusedError):
        add(Add(key, {"s": 1}))

    assert get(key).attributes == {"s": "x"}


def test_after_close_and_reopen_the_store_goes_on(store, put, get, key):
    put(key, {"a": 1})
    store.reopen()

    assert get(key).attributes == {"a": 1}
