"""Texts that no item can hold come back as they were, from every store."""

import pytest

from lambdallm_extension.errors import ConditionFailedError, StoreRefusedError
from lambdallm_extension.ports import ABSENT, Add, Condition, Item, Key, Put

TWO_MB = "Grüße 🐍 \x00 \u2028 e\u0301 " * 90_000
NOISE = "".join(f"{number * 7_919 % 99_991:05d}" for number in range(400_000))


@pytest.fixture
def key(partition):
    return Key(partition, "TURN#1")


def test_a_text_of_2_mb_comes_back(put, get, query, key):
    assert len(TWO_MB.encode()) > 2_000_000
    attributes = {"schema": 1, "text": TWO_MB, "noise": NOISE, "n": 7, "small": ""}
    put(key, attributes, expires_at=4_000_000_000)

    assert get(key) == Item(key, attributes, 4_000_000_000)
    assert query(key.pk, "") == [Item(key, attributes, 4_000_000_000)]


def test_texts_of_any_length_come_back(put, query, partition):
    lengths = [1_000, 4_095, 4_096, 32_768, 32_769, 100_000, 262_145, 349_999, 350_000, 350_001]
    for length in lengths:
        put(Key(partition, f"{length:07d}"), {"text": ("ü" * length)[:length]})

    assert [len(item.attributes["text"]) for item in query(partition, "")] == lengths


def test_texts_that_only_together_are_too_large(put, get, key):
    texts = {f"text{number}": NOISE[number : number + 60_000] for number in range(20)}
    put(key, texts)

    assert get(key).attributes == texts


def test_a_transaction_of_many_large_texts(transact, query, partition):
    texts = [NOISE[number : number + 250_000] for number in range(30)]
    actions = [
        Put(Item(Key(partition, f"{n:02d}"), {"text": text})) for n, text in enumerate(texts)
    ]
    transact(actions)
    transact(actions)

    assert [item.attributes["text"] for item in query(partition, "")] == texts


def test_a_transaction_that_fails_leaves_nothing(put, transact, query, partition):
    put(Key(partition, "a"))

    with pytest.raises(ConditionFailedError):
        transact(
            [
                Put(Item(Key(partition, "a"), {}), ABSENT),
                Put(Item(Key(partition, "b"), {"t": NOISE})),
            ]
        )

    assert [item.key.sk for item in query(partition, "")] == ["a"]


def test_a_refusal_shows_the_whole_item(put, transact, key):
    put(key, {"text": NOISE})

    with pytest.raises(ConditionFailedError) as by_put:
        put(key, {}, condition=ABSENT)
    with pytest.raises(ConditionFailedError) as by_transaction:
        transact([Put(Item(key, {}), ABSENT)])

    for refusal in (by_put, by_transaction):
        assert refusal.value.current[0].attributes == {"text": NOISE}


def test_an_addition_shows_the_whole_item_and_longer_life_keeps_it_whole(put, add, get, key):
    put(key, {"text": NOISE}, expires_at=4_000_000_000)

    assert add(Add(key, {"n": 2})).attributes == {"text": NOISE, "n": 2}
    later = add(Add(key, expires_at=4_100_000_000))
    assert later == Item(key, {"text": NOISE, "n": 2}, 4_100_000_000)
    assert get(key) == later


def test_a_smaller_one_replaces_a_large_one(put, get, key):
    put(key, {"schema": 1, "text": NOISE})
    put(key, {"schema": 1, "text": "small"})

    assert get(key).attributes == {"schema": 1, "text": "small"}


def test_an_item_that_is_deleted_takes_its_texts_along(store, put, get, query, key, deadline_ms):
    put(key, {"text": NOISE})
    store.delete(key, deadline_ms=deadline_ms)

    assert get(key) is None
    put(key, {"n": 1})
    with pytest.raises(ConditionFailedError):
        store.delete(key, condition=Condition(equals={"n": 2}), deadline_ms=deadline_ms)
    assert query(key.pk, "") == [Item(key, {"n": 1})]


def test_a_condition_on_a_text_that_may_lie_elsewhere_is_refused(
    put, add, transact, store, key, deadline_ms
):
    condition = Condition(equals={"text": "x" * 5_000})
    put(key, {"text": "x" * 5_000})
    writes = [
        lambda: put(key, {}, condition=condition),
        lambda: add(Add(key, {"n": 1}, condition=condition)),
        lambda: transact([Put(Item(key, {}), condition)]),
        lambda: store.delete(key, condition=condition, deadline_ms=deadline_ms),
    ]

    for write in writes:
        with pytest.raises(StoreRefusedError):
            write()


def test_an_attribute_cannot_take_the_tickets_name(put, get, key):
    with pytest.raises(StoreRefusedError):
        put(key, {"payloads": {}})

    assert get(key) is None


def test_a_query_with_a_limit_is_full(put, query, partition):
    for number in range(6):
        put(
            Key(partition, f"{number}"), {"text": NOISE}, expires_at=1 if number in (2, 4) else None
        )

    found = [item.key.sk for item in query(partition, "", reverse=True, limit=3)]

    assert found == ["5", "3", "1"], (
        "what has expired may have lost its texts, and counts as deleted"
    )


def test_an_outline_has_every_item_and_needs_no_large_text(store, put, partition, deadline_ms):
    put(Key(partition, "a"), {"schema": 1, "text": NOISE})
    put(Key(partition, "b"), {"n": 1}, expires_at=4_000_000_000)
    put(Key(partition, "c"), {"text": "small"})

    found = store.outline(partition, deadline_ms=deadline_ms)

    assert [item.key.sk for item in found] == ["a", "b", "c"]
    assert found[0].attributes == {"schema": 1}
    assert found[1:] == [
        Item(Key(partition, "b"), {"n": 1}, 4_000_000_000),
        Item(Key(partition, "c"), {"text": "small"}),
    ]
