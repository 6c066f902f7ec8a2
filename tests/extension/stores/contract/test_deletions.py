"""Deleting items, and looking through a whole store."""

import pytest

from fakes.every_store import SLOW_OVER_MOTO
from lambdallm_extension.errors import ConditionFailedError, StoreRefusedError
from lambdallm_extension.ports import ABSENT, PRESENT, Condition, Item, Key, Put


@pytest.fixture
def scan(store, deadline_ms):
    def every_page(prefix, sk):
        found, cursor, pages = [], "", 0
        while pages == 0 or cursor:
            page = store.scan(prefix, sk, cursor=cursor, deadline_ms=deadline_ms)
            found += page.items
            cursor, pages = page.cursor, pages + 1
        return found

    return every_page


def test_what_is_deleted_is_gone_and_twice_does_no_harm(store, put, get, query, key, deadline_ms):
    put(key, {"a": 1})
    put(Key(key.pk, "OTHER"), {"a": 2})

    for _ in range(2):
        store.delete(key, deadline_ms=deadline_ms)

        assert get(key) is None
        assert [item.key.sk for item in query(key.pk, "")] == ["OTHER"]


def test_a_key_may_be_used_again(store, put, get, key, deadline_ms):
    put(key, {"a": 1}, condition=ABSENT)
    store.delete(key, deadline_ms=deadline_ms)
    put(key, {"b": 2}, condition=ABSENT)

    assert get(key).attributes == {"b": 2}


@pytest.mark.parametrize(
    "condition", [Condition(equals={"n": 2}), ABSENT, Condition(absent=False, at_most={"n": 0})]
)
def test_a_deletion_whose_condition_fails_deletes_nothing(
    store, put, get, key, deadline_ms, condition
):
    put(key, {"n": 1})

    with pytest.raises(ConditionFailedError) as refusal:
        store.delete(key, condition=condition, deadline_ms=deadline_ms)

    assert refusal.value.current[0].attributes == {"n": 1}
    assert get(key).attributes == {"n": 1}


def test_a_deletion_whose_condition_holds(store, put, get, key, deadline_ms):
    put(key, {"n": 1})
    store.delete(key, condition=Condition(equals={"n": 1}), deadline_ms=deadline_ms)
    assert get(key) is None

    with pytest.raises(ConditionFailedError) as refusal:
        store.delete(key, condition=PRESENT, deadline_ms=deadline_ms)
    assert refusal.value.current == (None,)


def test_a_key_that_cannot_be_is_refused(store, deadline_ms):
    with pytest.raises(StoreRefusedError):
        store.delete(Key("", "HEAD"), deadline_ms=deadline_ms)


def test_a_scan_finds_one_sort_key_in_all_partitions_of_a_prefix(put, scan, partition):
    for name in ("a", "b", "é", "😀"):
        put(Key(f"{partition}#{name}", "HEAD"), {"name": name}, expires_at=4_000_000_000)
        put(Key(f"{partition}#{name}", "HEAD2"))
        put(Key(f"{partition}#{name}", "TURN#1"))
    put(Key(f"{partition}$", "HEAD"))

    found = scan(f"{partition}#", "HEAD")

    assert sorted(found) == sorted(
        Item(Key(f"{partition}#{name}", "HEAD"), {"name": name}, 4_000_000_000)
        for name in ("a", "b", "é", "😀")
    )
    assert scan(f"{partition}#nobody", "HEAD") == []


@SLOW_OVER_MOTO
def test_a_scan_of_many_pages_finds_each_item_once(store, scan, partition, deadline_ms, without):
    without("redis_cluster", "a transaction is in one partition")
    count = 510
    names = [f"{partition}#{number:04d}" for number in range(count)]
    for start in range(0, count, 100):
        puts = [Put(Item(Key(pk, "HEAD"), {})) for pk in names[start : start + 100]]
        store.transact(puts, token=f"{partition[-12:]}-{start}", deadline_ms=deadline_ms)
    large = Item(Key(f"{partition}#large", "HEAD"), {"text": "x" * 390_000})
    for number in range(4):
        pk = f"{partition}#large{number}"
        store.put_if(Put(large._replace(key=Key(pk, "HEAD"))), deadline_ms=deadline_ms)

    found = [item.key.pk for item in scan(f"{partition}#0", "HEAD")]

    assert sorted(found) == names
    assert len(found) == len({*found})
    assert len(scan(f"{partition}#large", "HEAD")) == 4


@pytest.mark.parametrize(("prefix", "sk"), [("", "HEAD"), ("SESSION#", "")])
def test_a_scan_for_everything_is_refused(store, deadline_ms, prefix, sk):
    with pytest.raises(StoreRefusedError):
        store.scan(prefix, sk, deadline_ms=deadline_ms)
