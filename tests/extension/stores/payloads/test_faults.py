"""What a fault leaves, and what its reader is told."""

import os
import signal
import subprocess
import sys
import threading
import zlib
from base64 import b64encode

import pytest

from extension.stores.payloads.large_turns import BUCKET, LARGE, TABLE_URL, turn
from fakes.s3_proxy import Refusal, S3Proxy
from lambdallm_extension.errors import (
    ConditionFailedError,
    StoreRefusedError,
    StoreUnavailableError,
)
from lambdallm_extension.ports import ABSENT, PRESENT, Add, Item, Key, Put
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores.memory import MemoryStore
from lambdallm_extension.stores.payloads import PayloadStore, open_payloads
from lambdallm_extension.stores.table_place import TablePlace


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Refusal(503, "SlowDown"), StoreUnavailableError, "SlowDown"),
        ("drop", StoreUnavailableError, "S3 did not do it in time"),
        ("silent", StoreUnavailableError, "S3 did not do it in time"),
        (Refusal(403, "AccessDenied"), StoreRefusedError, "s3:PutObject"),
        (Refusal(404, "NoSuchBucket"), StoreRefusedError, "There is no bucket"),
    ],
)
def test_what_the_bucket_does_not_take_is_not_written(  # noqa: PLR0917 - fixtures
    store, proxy, bare, key, prefix, fault, error, words
):
    deadline_ms = SystemClock().epoch_ms() + 1_000
    proxy.always = fault
    with pytest.raises(error, match=words):
        store.transact([turn(key)], token=prefix[-30:], deadline_ms=deadline_ms)
    assert bare.get(key, deadline_ms=deadline_ms + 5_000) is None

    proxy.always = "pass"
    store.transact([turn(key)], token=prefix[-30:], deadline_ms=deadline_ms + 20_000)
    assert store.get(key, deadline_ms=deadline_ms + 20_000).attributes["content"] == LARGE


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Refusal(503, "SlowDown"), StoreUnavailableError),
        ("silent", StoreUnavailableError),
        (Refusal(403, "AccessDenied"), StoreRefusedError),
        (Refusal(404, "NoSuchKey"), StoreRefusedError),
    ],
)
def test_what_the_bucket_does_not_give_is_an_error_and_never_empty(
    store, proxy, key, deadline_ms, fault, error
):
    store.put_if(turn(key), deadline_ms=deadline_ms)
    proxy.always = fault
    soon_ms = SystemClock().epoch_ms() + 1_000

    with pytest.raises(error):
        store.get(key, deadline_ms=soon_ms)
    with pytest.raises(error):
        store.query(key.pk, "", deadline_ms=soon_ms)


def test_what_the_way_has_damaged_is_fetched_again(store, proxy, key, deadline_ms):
    store.put_if(turn(key), deadline_ms=deadline_ms)
    proxy.plan = ["damage"]

    assert store.get(key, deadline_ms=deadline_ms).attributes["content"] == LARGE
    assert proxy.methods() == ["PUT", "GET", "GET"]


@pytest.mark.parametrize("body", [b"", b"another text", LARGE.encode()[:-1], LARGE.encode() + b"x"])
def test_a_changed_object_is_an_error_that_names_the_item(store, objects, key, deadline_ms, body):
    store.put_if(turn(key), deadline_ms=deadline_ms)
    (name,) = objects.names()
    objects.write(name, body)

    with pytest.raises(StoreRefusedError) as caught:
        store.get(key, deadline_ms=deadline_ms)

    assert key.pk in caught.value.detail
    assert name in caught.value.detail


def test_a_deleted_object_is_an_error_that_names_the_item(store, objects, key, deadline_ms):
    store.put_if(turn(key), deadline_ms=deadline_ms)
    (name,) = objects.names()
    objects.delete(name)

    with pytest.raises(StoreRefusedError, match="is gone from where it lay") as caught:
        store.query(key.pk, "", deadline_ms=deadline_ms)

    assert key.pk in caught.value.detail
    with pytest.raises(StoreRefusedError, match="is gone"):
        store.add_if(Add(key, expires_at=4_000_000_000, condition=PRESENT), deadline_ms=deadline_ms)


def stored_in_memory(clock, ticket):
    """A store whose one item holds this ticket, as somebody may have changed it."""
    base = MemoryStore(clock)
    item = Item(Key("p", "s"), {"schema": 1_001, "payloads": {"content": ticket}})
    base.put_if(Put(item), deadline_ms=clock.now_ms + 1_000)
    return open_payloads(base, Settings.from_environ({}), clock, None)


BOMB = b64encode(zlib.compress(bytes(100_000_000))).decode()


@pytest.mark.parametrize(
    "ticket",
    [
        {"bytes": 10, "sha256": "0" * 64, "coding": "zlib", "text": BOMB},
        {"bytes": 10**12, "sha256": "0" * 64, "coding": "zlib", "text": BOMB},
        {"bytes": 10, "sha256": "0" * 64, "coding": "zlib", "text": "no base64"},
        {"bytes": 10, "sha256": "0" * 64, "coding": "zlib", "text": "AAAA"},
        {"bytes": 1, "sha256": "0" * 64, "coding": "zstd", "text": "AAAA"},
        {"bytes": 0, "sha256": "0" * 64, "place": "table", "key": "k", "pieces": 0},
        {"bytes": 1, "sha256": "0" * 64, "place": "table", "key": "k", "pieces": 10**9},
        {"bytes": 1, "sha256": "0" * 64, "place": "table", "key": "k", "pieces": 1},
        {"bytes": 1, "sha256": "0" * 64, "place": "cloud", "key": "k", "pieces": 1},
        {"bytes": "1", "sha256": "0" * 64},
        {"bytes": 1},
        "no ticket",
        None,
    ],
)
def test_a_ticket_that_was_changed_is_an_error_and_fills_no_memory(hand_clock, ticket):
    import tracemalloc

    store = stored_in_memory(hand_clock, ticket)
    tracemalloc.start()
    try:
        with pytest.raises(StoreRefusedError, match="'content' of the item"):
            store.get(Key("p", "s"), deadline_ms=hand_clock.now_ms + 1_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


KILLED = """
import os, sys
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores import open_store

settings, clock = Settings.from_environ(), SystemClock()
store = open_store(settings, clock, CredentialSource(settings, clock))
key = Key(sys.argv[1], "TURN#000001#0")
put = Put(Item(key, {"schema": 1, "content": "z" * 900_000}, 4_000_000_000))
store.transact([put], token=sys.argv[1][-30:], deadline_ms=clock.epoch_ms() + 20_000)
"""


@pytest.mark.parametrize("with_bucket", [True, False])
def test_a_process_killed_between_text_and_item_leaves_no_item(  # noqa: PLR0917 - fixtures
    ministack, bare, store, objects, prefix, key, deadline_ms, with_bucket
):
    with S3Proxy(ministack) as proxy:
        environ = {
            **os.environ, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1", "LAMBDALLM_STORE": TABLE_URL, "AWS_ENDPOINT_URL": proxy.url,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        if with_bucket:
            environ["LAMBDALLM_PAYLOADS"] = f"s3://{BUCKET}/{prefix}"

        def start():
            return subprocess.Popen([sys.executable, "-c", KILLED, key.pk], env=environ)

        process = start()

        def kill():
            if "TransactWriteItems" not in proxy.seen[-1].headers.get("x-amz-target", ""):
                return "pass"
            process.send_signal(signal.SIGKILL)
            return "drop"

        proxy.always = kill
        assert process.wait(20) == -signal.SIGKILL
        assert store.query(key.pk, "", deadline_ms=deadline_ms) == []
        assert [each.partition("/")[0] for each in objects.names()] == ["keep"] * with_bucket

        proxy.always = "pass"
        assert start().wait(20) == 0
    found = (store if with_bucket else bare).get(key, deadline_ms=deadline_ms)
    assert found.attributes["content"] == "z" * 900_000


def test_writers_at_once_leave_one_whole_item(open_with, ministack, objects, key, deadline_ms):
    gate, outcomes = threading.Barrier(6), []

    def write(number):
        store = open_with(ministack)
        gate.wait()
        text = f"{number}" * 300_000
        try:
            store.put_if(turn(key, text)._replace(condition=ABSENT), deadline_ms=deadline_ms)
        except ConditionFailedError as error:
            outcomes.append((False, error.current[0].attributes["content"]))
        else:
            outcomes.append((True, text))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(won for won, _ in outcomes) == [False] * 5 + [True]
    (winner,) = {text for _, text in outcomes}
    assert open_with(ministack).get(key, deadline_ms=deadline_ms).attributes["content"] == winner
    assert len(objects.names()) == 6, "what lost is collected by its class"


def test_a_reader_beside_a_writer_sees_whole_texts(open_with, ministack, key, deadline_ms):
    writer, reader = open_with(ministack), open_with(ministack)
    texts = [f"{number}" * 200_000 for number in range(12)]
    writer.put_if(turn(key, texts[0]), deadline_ms=deadline_ms)
    seen = []
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.append(reader.get(key, deadline_ms=deadline_ms).attributes["content"])

    thread = threading.Thread(target=read)
    thread.start()
    for text in texts:
        writer.put_if(turn(key, text), deadline_ms=deadline_ms)
    done.set()
    thread.join()

    assert seen
    assert set(seen) <= set(texts)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("text", ["x", "no base64 at all", None])
def test_a_changed_piece_is_an_error_that_names_the_item(hand_clock, compressed, text):
    base = MemoryStore(hand_clock)
    variables = {"LAMBDALLM_COMPRESSION": "zlib"} if compressed else {}
    store = open_payloads(base, Settings.from_environ(variables), hand_clock, None)
    deadline_ms = hand_clock.now_ms + 1_000
    noise = b64encode(os.urandom(600_000)).decode()
    store.put_if(turn(Key("p", "s"), noise + "p" * 200_000), deadline_ms=deadline_ms)
    piece = base.scan("VALUE#", "PIECE#001", deadline_ms=deadline_ms).items[0]
    base.put_if(Put(piece._replace(attributes={"text": text})), deadline_ms=deadline_ms)

    with pytest.raises(StoreRefusedError, match="'content' of the item"):
        store.get(Key("p", "s"), deadline_ms=deadline_ms)


def test_thousands_of_large_texts_are_read_at_once(hand_clock):
    base, workers = MemoryStore(hand_clock), Workers(4)
    store = PayloadStore(
        base, [TablePlace(base)], clock=hand_clock, workers=workers, threshold_bytes=5_000
    )
    deadline_ms, count = hand_clock.now_ms + 1_000, 3_000
    for start in range(0, count, 100):
        puts = [turn(Key("p", f"{n:05d}"), f"{n:05d}" * 1_001) for n in range(start, start + 100)]
        store.transact(puts, token=f"{start}", deadline_ms=deadline_ms)

    found = store.query("p", "", deadline_ms=deadline_ms)

    assert [item.attributes["content"][:5] for item in found] == [f"{n:05d}" for n in range(count)]
    assert len(base.scan("VALUE#", "PIECE#000", deadline_ms=deadline_ms).items) == count
