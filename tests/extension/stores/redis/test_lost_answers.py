"""What is repeated when an answer does not come, and what is admitted."""

import random
import socket
import threading

import pytest

from lambdallm_extension.errors import (
    ConditionFailedError,
    StoreRefusedError,
    StoreUnavailableError,
    WriteUncertainError,
)
from lambdallm_extension.ports import ABSENT, PRESENT, Add, Check, Condition, Item, Key, Put
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores import redis

LATER = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "busy": b"-BUSY Redis is busy running a script.\r\n",
    "moving": b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    "down": b"-CLUSTERDOWN The cluster is down\r\n",
    "no primary": b"-MASTERDOWN Link with MASTER is down\r\n",
    "no replicas": b"-NOREPLICAS Not enough good replicas to write.\r\n",
    "replica": b"-READONLY You can't write against a read only replica.\r\n",
    "replica of Redis 6": (
        b"-ERR Error running script (call to f_6c): @user_script:2: @user_script: 2: -READONLY "
        b"You can't write against a read only replica.\r\n"
    ),
    "disk": b"-MISCONF Redis is configured to save RDB snapshots, but cannot.\r\n",
    "clients": b"-ERR max number of clients reached\r\n",
}
NOT_REDIS = {
    "a page": b"HTTP/1.1 400 Bad Request\r\n\r\nclose",
    "half": b"*3\r\n$4\r\ndone\r\nclose",
    "a wrong number": b"$x\r\n",
    "nothing": b"close",
    "too deep": b"*1\r\n" * 5_000 + b"close",
}


# Reads


@pytest.mark.parametrize("fault", ["drop", "lose", *LATER.values()], ids=["drop", "lose", *LATER])
def test_a_read_is_repeated_until_it_is_answered(store, direct, proxy, key, deadline_ms, fault):
    direct.put_if(Put(Item(key, {"a": 1})), deadline_ms=deadline_ms)
    proxy.plan = [fault, fault]

    assert store.get(key, deadline_ms=deadline_ms).attributes == {"a": 1}
    proxy.plan = [fault]
    assert len(store.query(key.pk, "", deadline_ms=deadline_ms)) == 1


def test_a_server_that_is_down_is_an_error_and_not_empty(connect, waits, key, deadline_ms):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    store = connect(f"redis://127.0.0.1:{port}")

    with pytest.raises(StoreUnavailableError, match="No connection"):
        store.get(key, deadline_ms=deadline_ms)
    assert waits == [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    with pytest.raises(StoreUnavailableError):
        store.query(key.pk, "", deadline_ms=deadline_ms)
    with pytest.raises(StoreUnavailableError, match="No connection"):
        store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)


def test_a_query_whose_second_page_fails_is_an_error_and_not_half(
    store, direct, proxy, key, deadline_ms
):
    for number in range(5):
        item = Item(Key(key.pk, f"{number}"), {"text": "x" * 350_000})
        direct.put_if(Put(item), deadline_ms=deadline_ms)
    assert len(store.query(key.pk, "", deadline_ms=deadline_ms)) == 5
    proxy.plan = ["pass", *["drop"] * 100]

    with pytest.raises(StoreUnavailableError):
        store.query(key.pk, "", deadline_ms=deadline_ms)


# Writes


def writes(store, key, deadline_ms):
    """Each kind of write, which changes `n` of the item from 1 to 2."""
    return {
        "put": lambda: store.put_if(
            Put(Item(key, {"n": 2}), Condition(equals={"n": 1})), deadline_ms=deadline_ms
        ),
        "add": lambda: store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms),
        "transact": lambda: store.transact(
            [Add(key, {"n": 1}), Put(Item(Key(key.pk, "x"), {}), ABSENT)],
            token=key.pk[-36:],
            deadline_ms=deadline_ms,
        ),
    }


KINDS = ["put", "add", "transact"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "faults",
    [["drop"], ["lose"], ["lose", "lose", "drop"], *([fault] for fault in LATER.values())],
    ids=lambda faults: b"".join(f if isinstance(f, bytes) else f.encode() for f in faults)[:12],
)
def test_a_write_is_done_once_however_often_it_is_sent(
    *, store, direct, proxy, key, deadline_ms, kind, faults
):
    direct.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    proxy.plan = list(faults)

    answer = writes(store, key, deadline_ms)[kind]()

    assert proxy.scripts == len(faults) + 1
    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"n": 2}
    assert kind != "add" or answer == Item(key, {"n": 2})


def test_an_addition_that_is_repeated_answers_what_it_made(store, direct, proxy, key, deadline_ms):
    def add():
        direct.add_if(Add(key, {"n": 10}), deadline_ms=deadline_ms)

    proxy.plan = ["lose", add]

    assert store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms).attributes == {"n": 1}
    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"n": 11}


def test_a_repeated_put_does_not_undo_what_was_written_after_it(
    store, direct, proxy, key, deadline_ms
):
    def put():
        direct.put_if(Put(Item(key, {"writer": "second"})), deadline_ms=deadline_ms)

    proxy.plan = ["lose", put]

    store.put_if(Put(Item(key, {"writer": "first"})), deadline_ms=deadline_ms)

    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"writer": "second"}


def test_a_repeated_deletion_does_not_take_what_was_written_after_it(
    store, direct, proxy, key, deadline_ms
):
    def put():
        direct.put_if(Put(Item(key, {"writer": "second"})), deadline_ms=deadline_ms)

    direct.put_if(Put(Item(key, {"writer": "first"})), deadline_ms=deadline_ms)
    proxy.plan = ["lose", put]

    store.delete(key, deadline_ms=deadline_ms)

    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"writer": "second"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["drop", "lose"])
def test_a_write_whose_answers_are_all_lost_is_uncertain(
    *, store, direct, proxy, key, deadline_ms, kind, fault
):
    direct.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    proxy.plan = [fault] * 100

    with pytest.raises(WriteUncertainError, match="may have been written"):
        writes(store, key, deadline_ms)[kind]()

    assert proxy.scripts == redis.ATTEMPTS_MAX
    stands = direct.get(key, deadline_ms=deadline_ms).attributes["n"]
    assert stands == (1 if fault == "drop" else 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_answer_and_refusals_then_are_uncertain(
    store, direct, proxy, key, deadline_ms, kind
):
    direct.put_if(Put(Item(key, {"n": 1})), deadline_ms=deadline_ms)
    proxy.plan = ["lose", *[LATER["loading"]] * 100]
    with pytest.raises(WriteUncertainError):
        writes(store, key, deadline_ms)[kind]()

    proxy.plan = ["lose", b"-NOPERM this user has no permissions\r\n"]
    with pytest.raises(WriteUncertainError, match=r"NOPERM|permissions"):
        store.put_if(Put(Item(key, {"n": 5})), deadline_ms=deadline_ms)


@pytest.mark.parametrize("refusal", LATER.values(), ids=LATER)
def test_a_write_that_is_refused_forever_was_certainly_not_done(
    store, direct, proxy, key, deadline_ms, refusal
):
    proxy.plan = [refusal] * 100

    with pytest.raises(StoreUnavailableError):
        store.put_if(Put(Item(key, {})), deadline_ms=deadline_ms)

    assert direct.get(key, deadline_ms=deadline_ms) is None


@pytest.mark.parametrize("condition", [PRESENT, Condition(equals={"n": 1})])
def test_a_condition_that_fails_after_a_lost_answer_did_nothing(
    store, proxy, key, deadline_ms, condition
):
    proxy.plan = ["drop"]
    with pytest.raises(ConditionFailedError):
        store.put_if(Put(Item(key, {}), condition), deadline_ms=deadline_ms)

    proxy.plan = ["drop"]
    with pytest.raises(ConditionFailedError):
        store.transact([Check(key, condition)], token=key.pk[-36:], deadline_ms=deadline_ms)


@pytest.mark.parametrize("strange", NOT_REDIS.values(), ids=NOT_REDIS)
def test_an_answer_that_is_not_redis_confirms_nothing(
    store, direct, proxy, key, deadline_ms, strange
):
    proxy.plan = [strange] * 100
    with pytest.raises(StoreUnavailableError):
        store.get(key, deadline_ms=deadline_ms)
    with pytest.raises(WriteUncertainError):
        store.put_if(Put(Item(key, {"a": 1})), deadline_ms=deadline_ms)

    proxy.plan = [strange]
    store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)
    assert direct.get(key, deadline_ms=deadline_ms).attributes == {"n": 1}


def test_a_refusal_of_the_item_is_not_repeated(store, proxy, key, deadline_ms):
    proxy.plan = [b"-ERR something of tomorrow\r\n"]

    with pytest.raises(StoreRefusedError, match="something of tomorrow"):
        store.put_if(Put(Item(key, {})), deadline_ms=deadline_ms)

    assert proxy.scripts == 1


# Deadlines


def test_after_the_deadline_nothing_is_asked(store, proxy, key):
    deadline_ms = SystemClock().epoch_ms() - 1

    with pytest.raises(StoreUnavailableError, match="No time left"):
        store.get(key, deadline_ms=deadline_ms)
    with pytest.raises(StoreUnavailableError, match="No time left"):
        store.put_if(Put(Item(key, {})), deadline_ms=deadline_ms)

    assert proxy.scripts == 0


@pytest.fixture
def dribbler():
    """A server that says a byte now and then, and never all of it."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve():
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            with connected:
                while not ended.wait(0.01):
                    try:
                        connected.sendall(b"1")
                    except OSError:
                        break

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
    ended.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_server_that_never_ends_its_answer_ends_with_the_deadline(connect, dribbler, key):
    store = connect(dribbler)

    with pytest.raises(StoreUnavailableError):
        store.get(key, deadline_ms=SystemClock().epoch_ms() + 400)


# Many at once


def test_many_writers_before_a_network_that_loses(store, direct, proxy, key, deadline_ms):
    dice = random.Random(7)
    proxy.plan = dice.choices(["pass", "lose", "drop"], [6, 2, 2], k=2_000)
    outcomes = []

    def write():
        for _ in range(25):
            try:
                store.add_if(Add(key, {"n": 1}), deadline_ms=deadline_ms)
                outcomes.append("acknowledged")
            except WriteUncertainError:
                outcomes.append("uncertain")

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    acknowledged, uncertain = map(outcomes.count, ("acknowledged", "uncertain"))
    assert acknowledged + uncertain == 150
    assert acknowledged > 130
    stands = direct.get(key, deadline_ms=deadline_ms).attributes["n"]
    assert acknowledged <= stands <= acknowledged + uncertain
