"""What is asked of table and bucket, and who can read what was written."""

import json
import os
import zlib
from base64 import b64encode

import pytest

from extension.stores.payloads.large_turns import BUCKET, DAY, LARGE, TABLE_URL, turn
from fakes.clocks import START_MS
from fakes.s3_proxy import S3Proxy
from lambdallm_extension.errors import (
    SettingError,
    StoreRefusedError,
)
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.settings import Settings, SystemClock


def test_a_large_text_is_one_object_and_its_item_is_small(
    open_at, ministack, prefix, key, deadline_ms
):
    with S3Proxy(ministack) as table, S3Proxy(ministack) as bucket:
        store = open_at(
            TABLE_URL,
            AWS_ENDPOINT_URL_DYNAMODB=table.url,
            AWS_ENDPOINT_URL_S3=bucket.url,
            LAMBDALLM_PAYLOADS=f"s3://{BUCKET}/{prefix}",
        )
        text = "x" * 2_000_000
        store.transact([turn(key, text)], token=prefix[-30:], deadline_ms=deadline_ms)

        assert bucket.methods() == ["PUT"]
        assert bucket.seen[0].body == text.encode()
        assert [len(each.body) < 1_000 for each in table.seen] == [True]

        assert (
            store.query(key.pk, "TURN#", deadline_ms=deadline_ms)[0].attributes["content"] == text
        )
        assert bucket.methods() == ["PUT", "GET"]
        assert len(table.seen) == 2


def test_a_window_of_a_long_conversation_reads_no_more_than_it_needs(
    open_at, ministack, partition, deadline_ms
):
    with S3Proxy(ministack) as table:
        store = open_at(TABLE_URL, AWS_ENDPOINT_URL_DYNAMODB=table.url)
        for start in range(0, 170, 10):  # 5 MB
            puts = [
                turn(Key(partition, f"TURN#{n:06d}#0"), "y" * 30_000)
                for n in range(start, start + 10)
            ]
            store.transact(puts, token=f"{partition[-12:]}{start}", deadline_ms=deadline_ms)
        table.seen.clear()

        window = store.query(partition, "TURN#", reverse=True, limit=33, deadline_ms=deadline_ms)

        assert [item.key.sk for item in window] == [f"TURN#{n:06d}#0" for n in range(169, 136, -1)]
        assert len(table.seen) == 1
        assert json.loads(table.seen[0].body)["Limit"] == 33

        table.seen.clear()
        assert len(store.query(partition, "TURN#", deadline_ms=deadline_ms)) == 170
        assert 5 <= len(table.seen) <= 7, "pages of 1 MB, and nothing twice"


def test_small_texts_ask_the_bucket_nothing(store, proxy, key, deadline_ms):
    store.put_if(turn(key, "x" * 32_768), deadline_ms=deadline_ms)

    assert store.get(key, deadline_ms=deadline_ms).attributes["content"] == "x" * 32_768
    assert proxy.seen == []


def test_the_same_write_makes_the_same_object_and_another_one_another(
    store, objects, key, prefix, deadline_ms
):
    for _ in range(2):
        store.transact([turn(key)], token=prefix[-30:], deadline_ms=deadline_ms)
    (first,) = objects.names()
    store.transact([turn(key)], token=prefix[-29:], deadline_ms=deadline_ms)

    assert len(objects.names()) == 2
    assert len(first.rpartition("/")[2]) == 40, "nobody guesses 160 bits"


def test_the_same_write_is_the_same_when_time_has_passed_between(
    open_with, proxy, hand_clock, objects, key, prefix
):
    store = open_with(proxy.url, hand_clock)
    put = turn(key, expires_at=START_MS // 1_000 + 2 * DAY + 1)
    for _ in range(2):
        store.transact([put], token=prefix[-30:], deadline_ms=hand_clock.now_ms + 60_000)
        hand_clock.now_ms += 5_000  # the rest of its life fits into a lower class now

    assert [each.partition("/")[0] for each in objects.names()] == ["d4"]


def test_heads_keep_what_they_have(store, proxy, partition, deadline_ms):
    head = Key(partition, "HEAD")
    store.put_if(Put(Item(head, {"metadata": LARGE[:90_000]})), deadline_ms=deadline_ms)

    assert store.get(head, deadline_ms=deadline_ms).attributes["metadata"] == LARGE[:90_000]
    assert proxy.seen == [], "each exchange extends it in a transaction, which extends no objects"


def test_who_knows_no_tickets_takes_it_for_newer(ministack, open_with, key, deadline_ms):
    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.stores import dynamodb

    open_with(ministack).put_if(turn(key), deadline_ms=deadline_ms)
    environ = {
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_DYNAMODB": ministack,
    }  # fmt: skip
    settings, clock = Settings.from_environ(environ), SystemClock()
    table = dynamodb.connect(
        "lambdallm-contract", settings, clock, CredentialSource(settings, clock)
    )
    stored = table.get(key, deadline_ms=deadline_ms).attributes
    table.close()

    assert stored["schema"] == 1_001
    assert "content" not in stored


def test_without_the_bucket_the_variable_is_named(store, bare, key, deadline_ms):
    store.put_if(turn(key), deadline_ms=deadline_ms)

    for read in (
        lambda: bare.get(key, deadline_ms=deadline_ms),
        lambda: bare.query(key.pk, "", deadline_ms=deadline_ms),
        lambda: bare.delete(key, deadline_ms=deadline_ms),
    ):
        with pytest.raises(StoreRefusedError, match="LAMBDALLM_PAYLOADS"):
            read()
    assert store.get(key, deadline_ms=deadline_ms).attributes["content"] == LARGE


@pytest.mark.parametrize("coding", ["off", "zlib"])
@pytest.mark.parametrize("size", [1_500, 30_000, 2_000_000])
def test_every_reader_of_this_version_reads_what_another_setting_wrote(  # noqa: PLR0917 - fixtures
    open_at, open_with, ministack, key, deadline_ms, coding, size
):
    text = (LARGE * 30)[:size]
    writer = open_at(TABLE_URL, AWS_ENDPOINT_URL_DYNAMODB=ministack, LAMBDALLM_COMPRESSION=coding)
    writer.put_if(turn(key, text), deadline_ms=deadline_ms)

    assert open_with(ministack).get(key, deadline_ms=deadline_ms).attributes == {
        "schema": 1, "content": text,
    }  # fmt: skip


def test_compression_makes_less_of_it(open_with, proxy, objects, key, deadline_ms):
    store = open_with(proxy.url, LAMBDALLM_COMPRESSION="zlib")
    words = "".join(f"{n} bottles of beer on the wall, " for n in range(60_000))
    store.put_if(turn(key, words), deadline_ms=deadline_ms)

    (name,) = objects.names()
    assert len(objects.read(name)) < len(words) / 4
    assert zlib.decompress(objects.read(name)).decode() == words
    assert store.get(key, deadline_ms=deadline_ms).attributes["content"] == words


def test_what_gets_no_smaller_stays_as_it_is(open_with, proxy, objects, key, deadline_ms):
    store = open_with(proxy.url, LAMBDALLM_COMPRESSION="zlib")
    noise = b64encode(os.urandom(60_000)).decode()
    store.put_if(turn(key, noise), deadline_ms=deadline_ms)

    (name,) = objects.names()
    assert objects.read(name).decode() == noise


@pytest.mark.parametrize(
    ("name", "value"), [("LAMBDALLM_PAYLOADS", "bucket"), ("LAMBDALLM_COMPRESSION", "zstd")]
)
def test_a_wrong_setting_is_named(open_at, name, value):
    with pytest.raises(SettingError, match=name):
        open_at("memory:", **{name: value})
