"""Whole sessions: listed, taken out, and put in so that they are what they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fakes.clocks import START_MS
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.services import memory_items, session_items
from lambdallm_extension.services.session_archive import SessionArchive


class KilledError(BaseException):
    """The process that puts sessions in is gone."""


class Watched:
    """A store that calls `before(number)` in front of each write of whoever puts sessions in."""

    def __init__(self, store: Any, before: Callable[[int], None]) -> None:
        self._store = store
        self._before = before
        self._number = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("get", "query", "outline", "put_if", "delete", "transact"):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._number += 1
            self._before(self._number)
            return found(*arguments, **named)

        return call


def archive(sessions: Any, before: Callable[[int], None] = lambda _: None) -> SessionArchive:
    return SessionArchive(
        Watched(sessions.store, before),  # type: ignore[arg-type]
        sessions.workers,
        sessions.clock,
        deadline_ms=sessions.clock.now_ms + 5_000,
    )


def read(sessions: Any, owner: str = "", session_id: str = "s") -> dict[str, Any] | None:
    """Read a session whole: what it is, its record and its turns; None where there is none."""
    found: dict[str, Any] = {}
    for turns in (False, True):
        cursor = ""
        while True:
            page = archive(sessions).read(session_id, owner, cursor=cursor, turns=turns)
            if page["session"] is None:
                return None
            assert not page["changed"]
            if not found:
                found = {"session": page["session"], "record": page["record"], "turns": []}
            elif not turns:
                found["record"]["items"] += page["record"]["items"]
            found["turns"] += page["turns"]
            cursor = page["cursor"]
            if not cursor:
                break
    return found


def write(sessions: Any, record: Any) -> str:
    return archive(sessions).write(record).outcome


def fill(sessions: Any, count: int = 3) -> None:
    for number in range(count):
        work = sessions.begin(f"event-{number}")
        turns = [
            {"role": "system", "content": "rule", "metadata": {}, "at_epoch_ms": START_MS},
            {
                "role": "user",
                "content": [{"text": "é😀"}],
                "metadata": {"f": 0.1},
                "at_epoch_ms": 1,
            },
            {"role": "assistant", "content": "", "metadata": {}, "at_epoch_ms": 2, "call_id": "c"},
        ]
        work.append(turns[number > 0 :], metadata=None, clear=False)
        work.append([], metadata={"n": [number, None]}, clear=False)
        work.save(5)


def test_what_is_put_in_is_what_was_taken_out(sessions: Any) -> None:
    fill(sessions)
    before = read(sessions)
    assert before is not None
    window = sessions.begin("new").window()
    archive(sessions).delete("s", "", records=True)
    assert read(sessions) is None

    assert write(sessions, before["record"]) == "written"

    assert read(sessions) == before
    assert sessions.begin("new").window() == window


def test_summary_and_vectors_are_those_of_the_session_that_was_put_in(sessions: Any) -> None:
    fill(sessions)
    head = sessions.store.partition()[keys.HEAD]
    life = head.attributes["rewrites"]
    later = sessions.clock.now_ms // 1_000 + 7_200
    digest = {"schema": 1, "text": "they spoke", "covers": 1, "first": 1, "call": "c", "life": life}
    key = Key(keys.session_pk("s"), keys.DIGEST)
    sessions.store.put_if(Put(Item(key, digest, later)), deadline_ms=0)
    found = read(sessions)
    assert found is not None
    archive(sessions).delete("s", "", records=True)

    write(sessions, found["record"])

    items = sessions.store.partition()
    after = session_items.read_head(items[keys.HEAD], now=sessions.clock.now_ms // 1_000,
                                    last_exchange=3)  # fmt: skip
    assert after.rewrites not in (None, life), "nothing kept of before is taken for it"
    summary = memory_items.read_digest(items[keys.DIGEST], after, now=later - 1)
    assert summary is not None
    assert summary.text == "they spoke"


def test_it_may_be_put_in_elsewhere_and_goes_on_there(sessions: Any) -> None:
    fill(sessions)
    found = read(sessions)
    assert found is not None
    record = {**found["record"], "owner": "jwt:x|ada"}

    assert write(sessions, record) == "written"

    moved = read(sessions, "jwt:x|ada")
    assert moved is not None
    assert moved["turns"] == found["turns"]
    assert moved["record"] == record
    assert len(archive(sessions).page("", None)["sessions"]) == 2
    (of_ada,) = archive(sessions).page("", "jwt:x|ada")["sessions"]
    assert of_ada["owner"] == "jwt:x|ada"
    (nobodys,) = archive(sessions).page("", "")["sessions"]
    assert nobodys["owner"] == ""


def test_nothing_that_lives_is_overwritten(sessions: Any) -> None:
    fill(sessions)
    found = read(sessions)
    assert found is not None
    sessions.say(("user", "newer"), ("assistant", "yes"))
    seen = sessions.seen()

    assert write(sessions, found["record"]) == "exists"

    assert sessions.seen() == seen


def test_what_has_expired_is_neither_listed_nor_read_nor_put_in(sessions: Any) -> None:
    fill(sessions)
    found = read(sessions)
    assert found is not None
    sessions.clock.now_ms += 3_700_000

    assert archive(sessions).page("", None) == {"sessions": [], "cursor": ""}
    assert read(sessions) is None
    assert write(sessions, found["record"]) == "expired"


def test_what_is_left_of_an_expired_session_does_not_come_back(sessions: Any) -> None:
    fill(sessions, 5)
    sessions.say(("user", "of before"), ("assistant", "x"))
    sessions.clock.now_ms += 3_700_000
    fill_other = [{"role": "user", "content": "q", "at_epoch_ms": 1},
                  {"role": "assistant", "content": "a", "at_epoch_ms": 2}]  # fmt: skip
    expires_at = sessions.clock.now_ms // 1_000 + 3_600
    record = {"lambdallm_session": 1, "session_id": "s", "owner": "", "expires_at": expires_at,
              "messages": fill_other, "metadata": {"a": 1.5}}  # fmt: skip

    assert write(sessions, record) == "written"

    assert sessions.seen() == ["q", "a"]
    assert sessions.begin().window()["metadata"] == {"a": 1.5}


def test_killed_before_any_step_it_goes_on_and_nobody_sees_half(sessions: Any) -> None:
    fill(sessions)
    found = read(sessions)
    assert found is not None
    archive(sessions).delete("s", "", records=True)
    for step in range(1, 100):

        def kill(number: int, step: int = step) -> None:
            if number >= step:
                raise KilledError

        try:
            outcome = archive(sessions, kill).write(found["record"]).outcome
        except KilledError:
            assert sessions.seen() == [], step
            assert archive(sessions).page("", None)["sessions"] == []
        else:
            assert outcome == "written"
            break
    assert step > 5
    assert read(sessions) == found


def test_who_begins_a_session_meanwhile_is_not_mixed_with_it(sessions: Any) -> None:
    fill(sessions)
    found = read(sessions)
    assert found is not None
    whole = sessions.seen()
    for step in range(1, 25):
        archive(sessions).delete("s", "", records=True)

        def come(number: int, step: int = step) -> None:
            if number == step:
                sessions.say(("user", "new"), ("assistant", "yes"), identity=f"new-{step}")

        outcome = archive(sessions, come).write(found["record"]).outcome

        seen = sessions.seen()
        if outcome == "written":
            assert seen == whole
        else:
            assert (outcome, seen) == ("exists", ["new", "yes"]), step


def messages(*roles: str) -> list[dict[str, Any]]:
    return [
        {"role": role, "content": f"{number}", "at_epoch_ms": number}
        for number, role in enumerate(roles)
    ]


def plain_record(said: Any, **more: Any) -> dict[str, Any]:
    return {
        "lambdallm_session": 1, "session_id": "s", "expires_at": START_MS // 1_000 + 3_600,
        "messages": said, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("roles", "exchanges", "seen"),
    [
        ("user assistant user assistant", 2, "0123"),
        ("system user assistant", 1, "012"),
        ("user assistant assistant user assistant", 2, "01234"),
        ("user assistant system user assistant", 2, "01234"),
        ("user assistant user", 2, "01"),
        ("user", 1, ""),
    ],
)
def test_messages_become_the_exchanges_that_they_would_have_been(
    sessions: Any, roles: str, exchanges: int, seen: str
) -> None:
    assert write(sessions, plain_record(messages(*roles.split()))) == "written"

    (listed,) = archive(sessions).page("", None)["sessions"]
    assert listed["exchanges"] == exchanges
    assert sessions.seen() == list(seen)
    sessions.say(("user", "go"), ("assistant", "on"))
    assert sessions.seen() == [*seen, "go", "on"]


@pytest.mark.parametrize(
    "record",
    [
        {"session_id": "s"},
        {"lambdallm_session": 2, "session_id": "s", "items": []},
        {"lambdallm_session": 1, "session_id": "s", "items": []},
        {"lambdallm_session": 1, "session_id": "s", "items": "none"},
        {"lambdallm_session": 1, "session_id": "s", "items": [{"sk": "HEAD"}]},
        {"lambdallm_session": 1, "session_id": "s",
         "items": [{"sk": "HEAD", "attributes": {"schema": 99}, "expires_at": None}]},
        {"lambdallm_session": 1, "session_id": "s",
         "items": [{"sk": "HEAD", "attributes": {"schema": 1, "exchanges": 0}}]},
        {"lambdallm_session": 1, "session_id": "s",
         "items": 2 * [{"sk": "HEAD", "attributes": {"schema": 1, "exchanges": 1}}]},
        plain_record([]),
        plain_record([{"role": "tool", "content": "x"}]),
        plain_record([{"role": "user", "content": "x", "metadata": 7}]),
        plain_record([{"role": "user", "content": "x", "at_epoch_ms": 0.5}]),
        plain_record(["x"]),
        plain_record(messages("user"), expires_at="soon"),
        plain_record(messages("user"), metadata=[]),
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused_and_nothing_is_written(sessions: Any, record: Any) -> None:
    with pytest.raises(errors.InvalidRequestError):
        write(sessions, record)

    assert sessions.store.partition() == {}


def test_a_session_that_cannot_be_read_is_listed_with_its_fault(sessions: Any) -> None:
    fill(sessions)
    head = Key(keys.session_pk("t"), keys.HEAD)
    later = sessions.clock.now_ms // 1_000 + 60
    sessions.store.put_if(Put(Item(head, {"schema": 99}, later)), deadline_ms=0)

    listed = archive(sessions).page("", None)["sessions"]

    assert [(each["session_id"], "fault" in each) for each in listed] == [("s", False), ("t", True)]
