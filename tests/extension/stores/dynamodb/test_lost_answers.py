"""What is repeated when an answer does not come, and what is admitted."""

import socket

import pytest

from fakes.dynamodb_errors import THROTTLED, refusal
from lambdallm_extension.errors import (
    ConditionFailedError,
    StoreUnavailableError,
    WriteUncertainError,
)
from lambdallm_extension.ports import ABSENT, PRESENT, Add, Check, Condition, Item, Key, Put
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores import dynamodb

# Reads


@pytest.mark.parametrize("fault", ["drop", "lose", "break", THROTTLED])
def test_a_read_is_repeated_until_it_is_answered(store, direct, proxy, key, deadline_ms, fault):
    direct.put_if(Put(Item(key, {"a": 1})), deadline_ms=deadline_ms)
    proxy.plan = [fault, fault]

    assert store.get(key, deadline_ms=deadline_ms).attributes == {"a": 1}
    proxy.plan = [fault]
    assert len(store.query(key.pk, "", deadline_ms=deadline_ms)) == 1


def test_a_read_of_a_server_that_is_down_is_an_error_and_not_empty(connect, key, deadline_ms):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = connect(f"http://127.0.0.1:{port}")

    with pytest.raises(StoreUnavailableError, match="No connection"):
        store.get(key, deadline_ms=deadline_ms)
    with pytest.raises(StoreUnavailableError):
        store.query(key.pk, "", deadline_ms=deadline_ms)


def test_a_query_whose_second_page_fails_is_an_error_and_not_half(
    store, direct, proxy, key, deadline_ms
):
    for number in range(5):
        item = Item(Key(key.pk, f"{number}"), {"text": "x" * 350_000})
        direct.put_if(Put(item), deadline_ms=deadline_ms)
    proxy.plan = ["pass", *["drop"] * 100]

    with pytest.raises(StoreUnavailableError):
        store.query(key.pk, "", deadline_ms=deadline_ms)


NOT_DYNAMODBS = {
    "a page": ([], b"<html>Sign in</html>"),
    "nothing": ([], b""),
    "a list": ([], b"[]"),
    "null": ([], b"null"),
    "half of it": ([("x-amz-crc32", "2745614147")], b'{"Ite'),
    "another sum": ([("x-amz-crc32", "1")], b"{}"),
}


@pytest.fixture(params=NOT_DYNAMODBS.values(), ids=NOT_DYNAMODBS)
def strange(request):
    return request.param


def test_an_answer_that_is_not_dynamodbs_confirms_nothing(proxy, store, key, deadline_ms, strange):
    put = Put(Item(key, {"a": 1}))
    proxy.plan = [strange] * 100

    with pytest.raises(StoreUnavailableError, match="not DynamoDB's"):
        store.get(key, deadline_ms=deadline_ms)
    for write in (
        lambda: store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms),
        lambda: store.put_if(put, deadline_ms=deadline_ms),
        lambda: store.transact([put], token="t", deadline_ms=deadline_ms),
    ):
        with pytest.raises(WriteUncertainError, match="not DynamoDB's"):
            write()


def test_what_is_repeatable_is_asked_again(store, direct, proxy, key, deadline_ms, strange):
    put = Put(Item(key, {"a": 1}), ABSENT)
    proxy.plan = [strange]
    store.transact([put], token=key.pk[-30:], deadline_ms=deadline_ms)

    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"a": 1}
    proxy.plan = [strange]
    assert store.get(key, deadline_ms=deadline_ms).attributes == {"a": 1}


def test_a_right_sum_is_right(store, proxy, key, deadline_ms):
    proxy.plan = [([("x-amz-crc32", "2745614147")], b"{}")]

    assert store.get(key, deadline_ms=deadline_ms) is None
    assert proxy.plan == []


def test_a_gateways_error_page_is_an_error_like_any_other(connect, serve_bytes, key, deadline_ms):
    store = connect(
        serve_bytes(
            b"HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 6\r\n\r\n<html>"
        )
    )

    with pytest.raises(StoreUnavailableError, match="502"):
        store.get(key, deadline_ms=deadline_ms)
    with pytest.raises(WriteUncertainError, match="502"):
        store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)


# Waiting


def test_throttled_forever_it_gives_up_after_growing_waits(store, proxy, waits, key, deadline_ms):
    proxy.plan = [THROTTLED] * 100

    with pytest.raises(StoreUnavailableError, match="slow down"):
        store.put_if(Put(Item(key, {})), deadline_ms=deadline_ms)

    assert len(proxy.operations) == dynamodb.ATTEMPTS_MAX
    assert waits == [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0]


def test_it_does_not_wait_beyond_the_deadline(store, proxy, waits, key):
    proxy.plan = [THROTTLED] * 100

    with pytest.raises(StoreUnavailableError):
        store.get(key, deadline_ms=SystemClock().epoch_ms() + 300)

    assert sum(waits) <= 0.8  # The waits are not slept here: each is within what is left.
    assert max(waits) <= 0.3


def test_after_the_deadline_nothing_is_asked(store, proxy, key):
    with pytest.raises(StoreUnavailableError, match="No time left"):
        store.get(key, deadline_ms=SystemClock().epoch_ms() - 1)
    with pytest.raises(StoreUnavailableError, match="No time left"):
        store.put_if(Put(Item(key, {})), deadline_ms=SystemClock().epoch_ms() - 1)

    assert proxy.operations == []


# Writes whose answer is lost


@pytest.mark.parametrize("fault", ["drop", "lose", "break"])
@pytest.mark.parametrize("condition", [Condition(), PRESENT, Condition(at_most={"n": 9})])
def test_a_put_whose_answer_is_lost_is_uncertain(
    *, store, direct, proxy, key, deadline_ms, fault, condition
):
    direct.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    proxy.plan = [fault]

    with pytest.raises(WriteUncertainError, match="may have been written"):
        store.put_if(Put(Item(key, {"n": 2}), condition), deadline_ms=deadline_ms)

    assert proxy.operations == ["PutItem"]
    stands = direct.get(key, deadline_ms=deadline_ms).attributes["n"]
    assert stands == (1 if fault == "drop" else 2)


@pytest.mark.parametrize("fault", ["drop", "lose", "break"])
def test_an_addition_whose_answer_is_lost_is_uncertain_and_never_repeated(
    store, direct, proxy, key, deadline_ms, fault
):
    proxy.plan = [fault]

    with pytest.raises(WriteUncertainError):
        store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)

    item = direct.get(key, deadline_ms=deadline_ms)
    assert (item is None) if fault == "drop" else (item.attributes == {"n": 1})


@pytest.mark.parametrize("faults", [["drop"], ["lose"], ["break"], ["lose", "lose", "drop"]])
def test_a_put_where_nothing_was_is_proved_by_its_mark(
    store, direct, proxy, key, deadline_ms, faults
):
    proxy.plan = list(faults)

    store.put_if(Put(Item(key, {"owner": "me"}, 1_900_000_000), ABSENT), deadline_ms=deadline_ms)

    stands = direct.get(key, deadline_ms=deadline_ms)
    assert stands == Item(key, {"owner": "me"}, 1_900_000_000)


def test_an_equal_item_of_somebody_else_proves_nothing(store, direct, proxy, key, deadline_ms):
    def be_first():
        direct.put_if(Put(Item(key, {"claimed": True}), ABSENT), deadline_ms=deadline_ms)

    proxy.plan = ["drop", be_first]

    with pytest.raises(WriteUncertainError):
        store.put_if(Put(Item(key, {"claimed": True}), ABSENT), deadline_ms=deadline_ms)


def test_a_mark_survives_what_others_add(store, direct, proxy, key, deadline_ms):
    def add():
        direct.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)

    proxy.plan = ["lose", add]

    store.put_if(Put(Item(key, {"owner": "me"}), ABSENT), deadline_ms=deadline_ms)

    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"owner": "me", "n": 1}


def test_a_put_that_is_simply_too_late_fails_its_condition(store, direct, key, deadline_ms):
    direct.put_if(Put(Item(key, {"owner": "other"})), deadline_ms=deadline_ms)

    with pytest.raises(ConditionFailedError):
        store.put_if(Put(Item(key, {"owner": "me"}), ABSENT), deadline_ms=deadline_ms)


def test_a_put_whose_answers_are_all_lost_is_uncertain(store, proxy, key, deadline_ms):
    proxy.plan = ["lose", *[THROTTLED] * 100]

    with pytest.raises(WriteUncertainError):
        store.put_if(Put(Item(key, {}), ABSENT), deadline_ms=deadline_ms)


@pytest.mark.parametrize("faults", [["drop"], ["lose"], ["break", "lose"], [THROTTLED, "lose"]])
def test_a_transaction_is_sent_again_under_its_token_and_done_once(
    store, direct, proxy, key, deadline_ms, faults
):
    proxy.plan = list(faults)

    store.transact(
        [Add(key, {"n": 1}), Put(Item(Key(key.pk, "x"), {}), ABSENT)],
        token=key.pk[-36:],
        deadline_ms=deadline_ms,
    )

    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}
    assert len(proxy.operations) == len(faults) + 1


def test_a_transaction_whose_answers_are_all_lost_is_uncertain(store, proxy, key, deadline_ms):
    proxy.plan = ["lose"] * 100

    with pytest.raises(WriteUncertainError):
        store.transact([Add(key, {"n": 1})], token=key.pk[-36:], deadline_ms=deadline_ms)


def test_a_transaction_that_fails_its_condition_after_a_lost_answer_did_nothing(
    store, direct, proxy, key, deadline_ms
):
    proxy.plan = ["drop"]

    with pytest.raises(ConditionFailedError):
        store.transact([Check(key, PRESENT)], token=key.pk[-36:], deadline_ms=deadline_ms)


@pytest.mark.parametrize(
    "fault",
    [
        THROTTLED,
        refusal("ThrottlingException"),
        refusal("RequestLimitExceeded"),
        refusal("TransactionConflictException"),
    ],
)
def test_a_write_that_was_provably_not_done_is_repeated(
    store, direct, proxy, key, deadline_ms, fault
):
    proxy.plan = [fault, fault]

    assert store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms).attributes == {"n": 1}


def test_a_write_to_a_server_that_is_down_is_certainly_not_done(connect, key, deadline_ms):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = connect(f"http://127.0.0.1:{port}")

    with pytest.raises(StoreUnavailableError):
        store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)
