"""Whole sessions on every store: larger than a page, taken out, put in, moved, deleted."""

import uuid

import pytest

from fakes.every_store import SLOW_OVER_MOTO
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key
from lambdallm_extension.services import session_pages
from lambdallm_extension.services.session_archive import SessionArchive
from lambdallm_extension.services.sessions import SessionWork
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import SystemClock

TO = "jwt:x|ada"
LARGE = 'é"\n' * 100_000
"""Too large for an item of DynamoDB."""

CLOCK = SystemClock()
WORKERS = Workers()


def archive(store):
    return SessionArchive(store, WORKERS, CLOCK, deadline_ms=CLOCK.epoch_ms() + 60_000)


def begin(store, session_id, identity, owner=""):
    rule = {
        "session_id": session_id, "identity": identity, "ttl_seconds": 3_600, "principal": owner,
        "memory": {"strategy": "full_history"}, "durability": "before_response",
    }  # fmt: skip
    return SessionWork(
        rule, nonce=uuid.uuid4().hex, store=store, workers=WORKERS, clock=CLOCK,
        deadline_ms=lambda: CLOCK.epoch_ms() + 30_000,
    )  # fmt: skip


def say(store, session_id, identity, *texts):
    work = begin(store, session_id, identity)
    turns = [
        {"role": role, "content": text, "metadata": {}, "at_epoch_ms": 1}
        for role, text in zip(("user", "assistant"), texts, strict=True)
    ]
    work.append(turns, metadata={"large": "m" * 40_000}, clear=False)
    work.save(30)


def seen(store, session_id, owner=""):
    window = begin(store, session_id, "reader", owner).window()
    return [turn["content"] for turn in window["turns"]], window["metadata"]


def pages(store, session_id, owner="", *, turns=False):
    cursor, found = "", []
    while not found or cursor:
        page = archive(store).read(session_id, owner, cursor=cursor, turns=turns)
        assert not page["changed"]
        found.append(page)
        cursor = page["cursor"]
    return found


def move(store, session_id, owners):
    cursor, steps = "", 0
    while True:
        step = archive(store).move(session_id, *owners, cursor)
        cursor, steps = step.cursor, steps + 1
        if step.outcome != "moving":
            return step.outcome, steps


@pytest.fixture
def session(store):
    """A session of four large turns and ten small ones, and what is seen of it."""
    session_id, texts = uuid.uuid4().hex, []
    for number in range(7):
        said = [f"{number} {LARGE if number in (2, 3) else ''}", f"{LARGE if number == 3 else ''}"]
        say(store, session_id, f"e{number}", *said)
        texts += said
    return session_id, (texts, {"large": "m" * 40_000})


@SLOW_OVER_MOTO
def test_it_is_read_in_pages_put_in_in_parts_and_moved_in_steps(store, session, monkeypatch):
    monkeypatch.setattr(session_pages, "PAGE_BYTES", 300_000)
    session_id, whole = session
    read = pages(store, session_id)
    items = [item for page in read for item in page["record"]["items"]]
    assert len(read) > 3
    assert [item["sk"] for item in items] == sorted({item["sk"] for item in items})
    said = [turn for page in pages(store, session_id, turns=True) for turn in page["turns"]]
    assert [turn["content"] for turn in said] == whole[0]

    assert move(store, session_id, ("", TO)) == ("moved", len(read))

    assert seen(store, session_id, TO) == whole
    assert seen(store, session_id) == ([], {})
    (head,) = [item for item in items if item["sk"] == keys.HEAD]
    claim = ""
    for number, item in enumerate(items):
        record = {**read[0]["record"], "items": [head] if item is head else [head, item]}
        written = archive(store).write(record, claim=claim, more=number < len(items) - 1)
        claim = claim or written.claim
    assert written.outcome == "written"
    assert seen(store, session_id) == whole
    again = [item for page in pages(store, session_id) for item in page["record"]["items"]]
    assert again == items


@SLOW_OVER_MOTO
def test_nothing_is_left_of_it(store, session):
    session_id, _ = session
    move(store, session_id, ("", TO))
    archive(store).delete(session_id, TO, records=True)

    deadline_ms = CLOCK.epoch_ms() + 5_000
    for owner in ("", TO):
        pk = keys.session_pk(session_id, owner)
        (head,) = store.query(pk, "", deadline_ms=deadline_ms)
        assert head.key.sk == keys.HEAD


def test_a_query_begins_within_its_prefix_or_anywhere(query, put, key):
    sks = ["A#1", "A#2", "A#3", "B#1"]
    for sk in sks:
        put(Key(key.pk, sk))

    assert [item.key.sk for item in query(key.pk, "A#", first="A#2")] == ["A#2", "A#3"]
    assert [item.key.sk for item in query(key.pk, "A#", first="A#2\0")] == ["A#3"]
    assert [item.key.sk for item in query(key.pk, "", first="A#2\0")] == ["A#3", "B#1"]
    assert [item.key.sk for item in query(key.pk, "", first="A#2\0", limit=1)] == ["A#3"]
    assert [item.key.sk for item in query(key.pk, "A#", first="A#2", reverse=True)] == [
        "A#3", "A#2",
    ]  # fmt: skip
