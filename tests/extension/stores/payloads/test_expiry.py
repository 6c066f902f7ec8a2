"""How long texts live that lie elsewhere, and what takes them along."""

import subprocess
import sys

import pytest

from extension.stores.payloads.large_turns import BUCKET, DAY, LARGE, TABLE_URL, turn
from fakes.clocks import START_MS
from fakes.s3_proxy import Refusal, S3Proxy
from lambdallm_extension.errors import (
    StoreRefusedError,
)
from lambdallm_extension.ports import PRESENT, Add, Key
from lambdallm_extension.settings import Settings
from lambdallm_extension.stores.bucket_place import expiry_class
from lambdallm_extension.stores.memory import MemoryStore
from lambdallm_extension.stores.payloads import open_payloads


@pytest.mark.parametrize(
    ("seconds", "name"),
    [(1, "d1"), (DAY, "d1"), (DAY + 1, "d2"), (2 * DAY, "d2"), (60 * DAY, "d64"),
     (1_024 * DAY, "d1024"), (1_024 * DAY + 1, "keep"), (None, "keep")],
)  # fmt: skip
def test_a_class_lasts_as_long_as_its_texts(seconds, name):
    assert expiry_class(seconds) == name


def test_longer_life_copies_the_object_before_the_item_says_so(
    open_at, ministack, prefix, hand_clock, objects, key
):
    with S3Proxy(ministack) as proxy:
        store = open_at(
            TABLE_URL, hand_clock, AWS_ENDPOINT_URL=proxy.url,
            LAMBDALLM_PAYLOADS=f"s3://{BUCKET}/{prefix}",
        )  # fmt: skip
        now = START_MS // 1_000
        deadline_ms = START_MS + 60_000
        store.put_if(turn(key, expires_at=now + 2 * DAY), deadline_ms=deadline_ms)
        (name,) = objects.names()
        assert name.startswith("d2/")
        proxy.seen.clear()

        store.add_if(Add(key, expires_at=now + 2 * DAY, condition=PRESENT), deadline_ms=deadline_ms)

        asked = [(each.method, each.headers.get("x-amz-target", "")[18:]) for each in proxy.seen]
        assert asked == [("POST", "GetItem"), ("PUT", ""), ("POST", "UpdateItem"), ("GET", "")]
        assert proxy.seen[1].headers["x-amz-copy-source"].endswith(name)
        assert objects.names() == [name]

        store.add_if(
            Add(key, expires_at=now + 30 * DAY, condition=PRESENT), deadline_ms=deadline_ms
        )

        assert [each.partition("/")[0] for each in sorted(objects.names())] == ["d2", "d32"]
        objects.delete(name)  # as its class does
        assert store.get(key, deadline_ms=deadline_ms).attributes["content"] == LARGE


def test_a_longer_life_that_the_bucket_refuses_is_not_begun(store, proxy, key, deadline_ms):
    store.put_if(turn(key, expires_at=4_000_000_000), deadline_ms=deadline_ms)
    proxy.plan = [Refusal(403, "AccessDenied")]

    with pytest.raises(StoreRefusedError):
        store.add_if(Add(key, expires_at=4_100_000_000, condition=PRESENT), deadline_ms=deadline_ms)

    assert store.get(key, deadline_ms=deadline_ms).expires_at == 4_000_000_000


def test_what_has_expired_needs_no_object_any_more(open_with, proxy, hand_clock, partition):
    store = open_with(proxy.url, hand_clock)
    now, deadline_ms = START_MS // 1_000, START_MS + 10 * DAY * 1_000
    for number, lasts in enumerate((100, 1_000, 100)):
        put = turn(Key(partition, f"TURN#{number}"), expires_at=now + lasts)
        store.put_if(put, deadline_ms=deadline_ms)
    hand_clock.now_ms += 100_000
    proxy.seen.clear()

    assert [
        item.key.sk for item in store.query(partition, "", limit=2, deadline_ms=deadline_ms)
    ] == ["TURN#1"]
    assert store.get(Key(partition, "TURN#0"), deadline_ms=deadline_ms) is None
    assert proxy.methods() == ["GET"]


def test_deletion_takes_the_object_first_and_is_finished_by_the_next_one(
    store, proxy, objects, key, deadline_ms
):
    store.put_if(turn(key), deadline_ms=deadline_ms)
    proxy.plan = [Refusal(403, "AccessDenied")]
    with pytest.raises(StoreRefusedError, match="s3:DeleteObject"):
        store.delete(key, deadline_ms=deadline_ms)
    assert store.get(key, deadline_ms=deadline_ms) is not None

    for _ in range(2):
        store.delete(key, deadline_ms=deadline_ms)
        assert objects.names() == []
        assert store.get(key, deadline_ms=deadline_ms) is None


def test_pieces_in_the_table_live_as_long_as_their_item(hand_clock):
    base = MemoryStore(hand_clock)
    store = open_payloads(base, Settings.from_environ({}), hand_clock, None)
    deadline_ms, key = START_MS + 60_000, Key("p", "s")
    store.put_if(
        turn(key, "p" * 900_000, expires_at=START_MS // 1_000 + 100), deadline_ms=deadline_ms
    )
    pieces = base.scan("VALUE#", "PIECE#001", deadline_ms=deadline_ms).items
    assert [piece.expires_at for piece in pieces] == [START_MS // 1_000 + 100]

    store.add_if(Add(key, expires_at=START_MS // 1_000 + 500), deadline_ms=deadline_ms)
    pieces = base.scan("VALUE#", "PIECE#001", deadline_ms=deadline_ms).items
    assert [piece.expires_at for piece in pieces] == [START_MS // 1_000 + 500]

    store.delete(key, deadline_ms=deadline_ms)
    assert base.scan("VALUE#", "PIECE#001", deadline_ms=deadline_ms).items == []


def test_a_store_that_nobody_asks_for_objects_loads_nothing_for_them():
    code = (
        "from lambdallm_extension.settings import Settings, SystemClock\n"
        "from lambdallm_extension.stores import open_store\n"
        "settings = Settings.from_environ({'LAMBDALLM_STORE': 'memory:'})\n"
        "open_store(settings, SystemClock(), None)\n"
        "import sys; print('lambdallm_extension.aws.s3' in sys.modules, 'zlib' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.split() == ["False", "False"]


def test_who_deletes_finds_what_is_gone_and_what_has_expired(
    open_with, proxy, hand_clock, objects, partition
):
    store = open_with(proxy.url, hand_clock)
    now, deadline_ms = START_MS // 1_000, START_MS + 10 * DAY * 1_000
    puts = [turn(Key(partition, f"TURN#{n}"), expires_at=now + n) for n in (0, 100)]
    store.transact(puts, token=partition[-30:], deadline_ms=deadline_ms)
    for name in objects.names():
        objects.delete(name)
    with pytest.raises(StoreRefusedError):
        store.query(partition, "", deadline_ms=deadline_ms)
    proxy.seen.clear()

    found = store.outline(partition, deadline_ms=deadline_ms)

    assert [(item.key.sk, item.attributes) for item in found] == [
        ("TURN#0", {"schema": 1}),
        ("TURN#100", {"schema": 1}),
    ]
    assert proxy.seen == []
    for item in found:
        store.delete(item.key, deadline_ms=deadline_ms)
    assert store.outline(partition, deadline_ms=deadline_ms) == []
