"""All or nothing, once under a token, and exact when many write at once."""

import pytest

from lambdallm_extension.errors import ConditionFailedError, StoreRefusedError
from lambdallm_extension.ports import ABSENT, ALWAYS, PRESENT, Add, Check, Condition, Item, Key, Put


def test_one_of_many_writers_wins(put, get, key, race):
    outcomes = race(12, lambda n: put(key, {"writer": n}, condition=ABSENT))

    winners = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert len(winners) == 1
    assert get(key).attributes == {"writer": winners[0]}
    losers = [outcome for outcome in outcomes if outcome is not None]
    assert {error.current[0].attributes["writer"] for error in losers} == set(winners)


def test_concurrent_additions_lose_nothing(add, get, key, race, without):
    without("moto", "requests at once get between each other")
    race(12, lambda n: [add(Add(key, {"n": n, "writes": 1})) for _ in range(4)])

    assert get(key).attributes == {"n": 4 * sum(range(12)), "writes": 48}


def test_a_limit_is_never_exceeded_by_a_race(add, get, key, race, without):
    without("moto", "requests at once get between each other")
    outcomes = race(12, lambda _: add(Add(key, {"n": 10}, condition=Condition(at_most={"n": 40}))))

    assert get(key).attributes == {"n": 50}
    assert sum(isinstance(outcome, Item) for outcome in outcomes) == 5


def test_a_transaction_does_all(put, get, transact, key):
    put(Key(key.pk, "checked"), {"fence": 7})

    transact(
        [
            Put(Item(Key(key.pk, "put"), {"a": 1}, 1_800_000_000), ABSENT),
            Add(Key(key.pk, "add"), {"n": 3}, {"s": "x"}),
            Check(Key(key.pk, "checked"), Condition(equals={"fence": 7})),
            Check(Key(key.pk, "any"), ALWAYS),
        ]
    )

    assert get(Key(key.pk, "put")) == Item(Key(key.pk, "put"), {"a": 1}, 1_800_000_000)
    assert get(Key(key.pk, "add")).attributes == {"n": 3, "s": "x"}
    assert get(Key(key.pk, "checked")).attributes == {"fence": 7}
    assert get(Key(key.pk, "any")) is None


def test_a_transaction_does_nothing_if_one_condition_fails(put, get, transact, key):
    first, second, third, fourth = (Key(key.pk, name) for name in ("a", "b", "c", "d"))
    put(second, {"owner": "other"}, expires_at=1_800_000_000)
    put(first, {"n": 1})

    with pytest.raises(ConditionFailedError) as caught:
        transact(
            [
                Add(first, {"n": 1}, condition=PRESENT),
                Put(Item(second, {"owner": "me"}), ABSENT),
                Put(Item(third, {"a": 1}), ABSENT),
                Check(fourth, PRESENT),
            ]
        )

    other = Item(second, {"owner": "other"}, 1_800_000_000)
    assert caught.value.current == (None, other, None, None)
    assert get(first).attributes == {"n": 1}
    assert get(second) == other
    assert get(third) is None


def test_the_same_transaction_is_done_once(transact, get, key, without):
    without("moto", "a transaction's token is ignored")
    actions = [Add(key, {"n": 1})]

    for _ in range(3):
        transact(actions, "same-token")

    assert get(key).attributes == {"n": 1}


def test_the_same_token_for_another_transaction_is_refused(transact, get, key, without):
    without("moto", "a transaction's token is ignored")
    transact([Add(key, {"n": 1})], "token")

    with pytest.raises(StoreRefusedError):
        transact([Add(key, {"n": 2})], "token")

    assert get(key).attributes == {"n": 1}


def test_a_refused_transaction_may_come_again_under_its_token(put, transact, get, key):
    actions = [Add(key, {"n": 1}, condition=PRESENT)]
    with pytest.raises(ConditionFailedError):
        transact(actions, "again")
    put(key, {"n": 5})

    transact(actions, "again")

    assert get(key).attributes == {"n": 6}


def test_a_transaction_of_a_hundred(transact, query, key):
    transact([Put(Item(Key(key.pk, f"{n:03}"), {"n": n}), ABSENT) for n in range(100)])

    assert [item.attributes["n"] for item in query(key.pk, "")] == list(range(100))


def test_racing_transactions_hand_out_each_number_once(transact, get, query, key, without, race):
    without("moto", "transactions are not isolated")

    def open_exchange(number):
        for _ in range(200):
            head = get(key)
            at = head.attributes["n"] if head else 0
            condition = ABSENT if head is None else Condition(equals={"n": at})
            exchange = Put(Item(Key(key.pk, f"EXCHANGE#{number}"), {"number": at + 1}), ABSENT)
            try:
                transact([exchange, Add(key, {"n": 1}, condition=condition)], f"{number}-{at}")
            except ConditionFailedError:
                continue
            return at + 1
        return None

    outcomes = race(6, open_exchange)

    assert sorted(outcomes) == [1, 2, 3, 4, 5, 6]
    assert get(key).attributes == {"n": 6}
    assert len(query(key.pk, "EXCHANGE#")) == 6
