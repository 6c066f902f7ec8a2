"""What stands in Redis: how long, in which order, and exact to the last digit."""

import json

import pytest
from hypothesis import given, settings, strategies as st
from redis.crc import key_slot

from fakes.thoroughness import examples
from lambdallm_extension.errors import ConditionFailedError, StoreRefusedError
from lambdallm_extension.ports import Add, Condition, Item, Key, Put
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores.redis import PAGE_ITEMS
from lambdallm_extension.stores.rules import GRACE_SECONDS

NUMBERS = st.integers(-(10**38) + 1, 10**38 - 1) | st.integers(-(10**15), 10**15)
DAY = 86_400


@pytest.fixture
def names(redis_server, key):
    """Names of what stands in the partition now."""

    def find(pattern="*"):
        return sorted(redis_server.admin.keys(f"*{{{key.pk}}}:{pattern}"))

    return find


def test_additions_are_exact(direct, key, deadline_ms):
    @settings(max_examples=examples(150), deadline=None)
    @given(NUMBERS, NUMBERS)
    def adds(before, amount):
        direct.put_if(Put(Item(key, {"n": before})), deadline_ms=deadline_ms)
        if abs(before + amount) >= 10**38:
            with pytest.raises(StoreRefusedError, match="38 digits"):
                direct.add_if(Add(key, {"n": amount}), deadline_ms=deadline_ms)
            return
        item = direct.add_if(Add(key, {"n": amount}), deadline_ms=deadline_ms)
        assert item.attributes == {"n": before + amount}

    adds()


def test_limits_are_exact(direct, key, deadline_ms):
    @settings(max_examples=examples(150), deadline=None)
    @given(NUMBERS, NUMBERS | st.integers(-2, 2), st.booleans())
    def compares(value, limit, near):
        limit = value + limit % 3 - 1 if near and abs(value) < 10**37 else limit
        direct.put_if(Put(Item(key, {"n": value})), deadline_ms=deadline_ms)
        add = Add(key, {"m": 1}, condition=Condition(at_most={"n": limit}))
        if value <= limit:
            direct.add_if(add, deadline_ms=deadline_ms)
            return
        with pytest.raises(ConditionFailedError):
            direct.add_if(add, deadline_ms=deadline_ms)

    compares()


def test_pages_in_both_directions(direct, key, deadline_ms):
    count = 2 * PAGE_ITEMS + 7
    every = [f"{number:05}" for number in range(count)]
    for start in range(0, count, 100):
        puts = [Put(Item(Key(key.pk, sk), {})) for sk in every[start : start + 100]]
        direct.transact(puts, token=f"{key.pk[-12:]}{start}", deadline_ms=deadline_ms)

    def found(**more):
        items = direct.query(key.pk, "0", deadline_ms=deadline_ms, **more)
        return [item.key.sk for item in items]

    assert found() == every
    assert found(reverse=True) == every[::-1]
    assert found(limit=PAGE_ITEMS) == every[:PAGE_ITEMS]
    assert found(limit=PAGE_ITEMS + 1, reverse=True) == every[::-1][: PAGE_ITEMS + 1]


def test_items_are_deleted_two_days_after_their_expiry(
    direct, redis_server, names, key, deadline_ms
):
    now = SystemClock().epoch_ms() // 1_000
    direct.put_if(Put(Item(key, {}, now + DAY)), deadline_ms=deadline_ms)
    direct.put_if(Put(Item(Key(key.pk, "LATER"), {}, now + 9 * DAY)), deadline_ms=deadline_ms)
    direct.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)

    admin = redis_server.admin
    assert admin.expiretime(names("i:HEAD")[0]) == now + DAY + GRACE_SECONDS
    assert admin.expiretime(names("i:LATER")[0]) == now + 9 * DAY + GRACE_SECONDS
    assert admin.expiretime(names("x")[0]) == now + 9 * DAY + GRACE_SECONDS
    assert all(0 < admin.pttl(name) <= 120_000 for name in names("t:*"))

    direct.add_if(Add(Key(key.pk, "LATER"), expires_at=now + 20 * DAY), deadline_ms=deadline_ms)
    assert admin.expiretime(names("i:LATER")[0]) == now + 20 * DAY + GRACE_SECONDS
    assert admin.expiretime(names("x")[0]) == now + 20 * DAY + GRACE_SECONDS

    direct.put_if(Put(Item(key, {})), deadline_ms=deadline_ms)
    assert admin.expiretime(names("i:HEAD")[0]) == -1
    assert admin.expiretime(names("x")[0]) == -1


def test_one_item_alone_takes_its_order_along(direct, redis_server, names, key, deadline_ms):
    now = SystemClock().epoch_ms() // 1_000
    direct.put_if(Put(Item(key, {})), deadline_ms=deadline_ms)
    direct.put_if(Put(Item(key, {}, now + DAY)), deadline_ms=deadline_ms)

    assert redis_server.admin.expiretime(names("x")[0]) == now + DAY + GRACE_SECONDS


def test_what_redis_has_deleted_leaves_the_order(direct, redis_server, names, key, deadline_ms):
    long_ago = SystemClock().epoch_ms() // 1_000 - GRACE_SECONDS - DAY
    direct.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    direct.put_if(Put(Item(Key(key.pk, "GONE"), {}, long_ago)), deadline_ms=deadline_ms)
    order = names("x")[0]
    assert redis_server.admin.zcard(order) == 2

    assert [item.key for item in direct.query(key.pk, "", deadline_ms=deadline_ms)] == [key]

    assert redis_server.admin.zcard(order) == 1


@pytest.mark.parametrize("expires_at", [0, -5, 10**12, 10**30])
def test_any_expiry_is_kept_or_gone_and_breaks_nothing(direct, key, deadline_ms, expires_at):
    other = Key(key.pk, "OTHER")
    puts = [Put(Item(key, {"n": 1}, expires_at)), Put(Item(other, {"n": 2}))]
    direct.transact(puts, token=key.pk[-36:], deadline_ms=deadline_ms)

    assert direct.get(other, deadline_ms=deadline_ms).attributes == {"n": 2}
    stands = direct.get(key, deadline_ms=deadline_ms)
    assert stands in (None, Item(key, {"n": 1}, expires_at))
    assert stands is not None or expires_at <= 0


@pytest.mark.parametrize("pk", ["{a}", "}", "{", "%7B", "a{b}c{d}", "{}", "😀{", "\x00\r\n"])
def test_any_partition_keeps_its_keys_in_one_slot(redis_server, direct, key, deadline_ms, pk):
    pk = f"{pk}{key.pk}"
    for sk in ("a", "{b}", "c}"):
        direct.put_if(Put(Item(Key(pk, sk), {})), deadline_ms=deadline_ms)

    found = direct.query(pk, "", deadline_ms=deadline_ms)
    assert [item.key for item in found] == [Key(pk, "a"), Key(pk, "c}"), Key(pk, "{b}")]
    names = [name for name in redis_server.admin.scan_iter(count=1_000) if key.pk.encode() in name]
    assert len({key_slot(name) for name in names}) == 1
    page = direct.scan(pk, "a", deadline_ms=deadline_ms)
    found = list(page.items)
    while page.cursor:
        page = direct.scan(pk, "a", cursor=page.cursor, deadline_ms=deadline_ms)
        found += page.items
    assert [item.key for item in found] == [Key(pk, "a")]


def test_a_transaction_over_partitions_on_one_server(direct, key, deadline_ms):
    keys = [key, Key(f"{key.pk}-other", "HEAD")]
    puts = [Put(Item(each, {"n": 1})) for each in keys]

    direct.transact(puts, token=key.pk[-36:], deadline_ms=deadline_ms)

    assert [direct.get(each, deadline_ms=deadline_ms).attributes["n"] for each in keys] == [1, 1]


def test_the_largest_item_and_the_largest_transaction(direct, key, deadline_ms):
    text = '"\\\u2028é' * 55_000
    direct.put_if(Put(Item(key, {"text": text})), deadline_ms=deadline_ms)
    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"text": text}

    large = [Put(Item(Key(key.pk, f"{n}"), {"text": "x" * 350_000})) for n in range(12)]
    direct.transact(large, token=key.pk[-36:], deadline_ms=deadline_ms)
    assert len(direct.query(key.pk, "", deadline_ms=deadline_ms)) == 13


def test_an_item_that_grows_beyond_all_bounds_is_refused(direct, key, deadline_ms):
    for name in ("a", "b"):
        direct.add_if(Add(key, assign={name: "x" * 400_000}), deadline_ms=deadline_ms)

    with pytest.raises(StoreRefusedError, match="400 KB"):
        direct.add_if(Add(key, assign={"c": "x" * 400_000}), deadline_ms=deadline_ms)

    assert set(direct.get(key, deadline_ms=deadline_ms).attributes) == {"a", "b"}


def test_values_stand_there_for_people_to_read(direct, redis_server, names, key, deadline_ms):
    direct.put_if(Put(Item(key, {"m": {"b": [1, None], "a": "é"}}, 4_000_000_000)),
                  deadline_ms=deadline_ms)  # fmt: skip

    stands = redis_server.admin.hgetall(names("i:HEAD")[0])

    assert stands[b""] == b"4000000000"
    assert json.loads(stands[b"m"]) == {"a": "é", "b": [1, None]}
