"""What requests cost, as the server says it, or as they usually do."""

from __future__ import annotations

import pytest

from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.errors import ConditionFailedError
from lambdallm_extension.ports import ABSENT, Add, Item, Key, Put
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores.dynamodb import DynamoDBStore
from lambdallm_extension.stores.dynamodb_requests import consumed_milli


@pytest.fixture
def overhead():
    return Overhead()


@pytest.fixture
def counted(direct, overhead):
    """A store that counts, over a server that says units as AWS does."""
    return DynamoDBStore(
        direct._client, direct._table, SystemClock(), direct._random, direct._sleep, overhead
    )


def test_each_request_is_counted_by_its_units(counted, overhead, key, deadline_ms) -> None:
    counted.put_if(Put(Item(key, {"x": "y" * 1_500})), deadline_ms=deadline_ms)
    assert overhead.write_units_milli == 2_000
    counted.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)
    assert overhead.write_units_milli == 4_000
    actions = [Put(Item(Key(key.pk, sk), {"x": 1})) for sk in ("a", "b")]
    counted.transact(actions, token=key.pk[-30:], deadline_ms=deadline_ms)
    assert overhead.write_units_milli == 8_000
    assert overhead.read_units_milli == 0

    counted.get(key, deadline_ms=deadline_ms)
    counted.query(key.pk, "", deadline_ms=deadline_ms)
    assert overhead.read_units_milli == 2_000
    assert overhead.pico_usd == 8 * 625_000 + 2 * 125_000


def test_a_write_that_is_refused_is_paid_for(counted, overhead, key, deadline_ms) -> None:
    counted.put_if(Put(Item(key, {})), deadline_ms=deadline_ms)
    with pytest.raises(ConditionFailedError):
        counted.put_if(Put(Item(key, {}), ABSENT), deadline_ms=deadline_ms)

    assert overhead.write_units_milli == 2_000


def test_what_never_arrived_costs_nothing(connect, free_port, overhead, key) -> None:
    store = connect(f"http://127.0.0.1:{free_port}")
    counting = DynamoDBStore(
        store._client, store._table, SystemClock(), store._random, store._sleep, overhead
    )
    with pytest.raises(Exception, match="not sent"):
        counting.get(key, deadline_ms=SystemClock().epoch_ms() + 500)

    assert overhead.pico_usd == 0


@pytest.mark.parametrize(
    ("told", "milli"),
    [
        ({"CapacityUnits": 0.5}, 500),
        ([{"CapacityUnits": 4.0}, {"CapacityUnits": 2.0}], 6_000),
        ([], 3_000),
        (None, 3_000),
        ({"CapacityUnits": "?"}, 3_000),
        ("?", 3_000),
    ],
)
def test_a_server_that_does_not_say_costs_the_usual(told, milli) -> None:
    assert consumed_milli({"ConsumedCapacity": told}, 3) == milli
    assert consumed_milli({}, 3) == 3_000
