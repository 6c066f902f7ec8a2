"""Deleting a session: killed at any step, and with events that are still writing in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fakes.clocks import START_MS
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.services.session_deletion import Deletion, SessionDeletion

PK = keys.session_pk("s")
STEPS_MAX = 400


class KilledError(BaseException):
    """The process that deletes is gone."""


class Watched:
    """A store that calls `before(number)` in front of each operation of whoever deletes."""

    def __init__(self, store: Any, before: Callable[[int], None]) -> None:
        self._store = store
        self._before = before
        self._number = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in ("get", "query", "outline", "put_if", "delete", "transact", "add_if"):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._number += 1
            self._before(self._number)
            return found(*arguments, **named)

        return call


def delete(sessions: Any, before: Callable[[int], None] = lambda _: None, **how: bool) -> Any:
    clock = sessions.clock
    store = Watched(sessions.store, before)
    deletion = SessionDeletion(
        store, sessions.workers, clock, PK, deadline_ms=clock.now_ms + 5_000  # type: ignore[arg-type]
    )  # fmt: skip
    return deletion.run(**how)


def said(role: str, content: str, **more: Any) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": START_MS, **more}


def add(work: Any, *turns: Any) -> None:
    work.append([*turns], metadata=None, clear=False)


def record(sessions: Any, call_id: str) -> None:
    key = Key(keys.call_pk(call_id), keys.CALL)
    sessions.store.put_if(Put(Item(key, {"schema": 1})), deadline_ms=0)


def fill(sessions: Any) -> None:
    """Three exchanges, one of them unanswered, with calls, metadata, a summary and a vector."""
    for number in range(2):
        work = sessions.begin(f"old-{number}")
        answer = said("assistant", "old answer", call_id=f"c{number}", other_call_ids=["tool"])
        add(work, said("user", "old question"), answer)
        work.append([], metadata={"old": number}, clear=False)
        work.save(5)
        record(sessions, f"c{number}")
    add(waiting := sessions.begin("old-waiting"), said("user", "old and unanswered"))
    waiting.save(5)
    for call_id in ("tool", "of the summary", "somebody else's", "c1-hedge", "tool-hedge"):
        record(sessions, call_id)
    beside = {
        keys.DIGEST: {
            "schema": 1,
            "text": "old",
            "covers": 2,
            "first": 1,
            "call": "of the summary",
        },
        "VECTOR#000001": {"schema": 1, "steps": "old"},
        "SOMETHING#NEW": {"schema": 9, "text": "old"},
    }
    for sk, attributes in beside.items():
        sessions.store.put_if(Put(Item(Key(PK, sk), attributes)), deadline_ms=0)


def calls_left(sessions: Any) -> list[str]:
    page = sessions.store.scan("CALL#", keys.CALL, deadline_ms=0)
    return [item.key.pk.removeprefix("CALL#") for item in page.items]


def is_old(item: Item) -> bool:
    return item.key.sk != keys.HEAD and "old" in f"{item.key.sk} {item.attributes}"


def test_everything_goes_with_it(sessions: Any) -> None:
    fill(sessions)

    done = delete(sessions)

    assert done == Deletion(items=3 + 5 + 3, calls=5)
    assert list(sessions.store.partition()) == [keys.HEAD]
    assert calls_left(sessions) == ["somebody else's"]
    assert sessions.seen() == []
    assert sessions.begin().window()["metadata"] == {}
    assert delete(sessions) is None, "twice does no harm"


def test_records_of_calls_may_stay(sessions: Any) -> None:
    fill(sessions)

    delete(sessions, records=False)

    assert len(calls_left(sessions)) == 7


def test_there_may_be_nothing(sessions: Any) -> None:
    assert delete(sessions) is None
    assert sessions.store.partition() == {}


def test_a_new_session_under_the_same_id_begins_with_nothing(sessions: Any) -> None:
    fill(sessions)
    delete(sessions)

    sessions.say(("user", "new"), ("assistant", "yes"), identity="old-0")

    assert sessions.seen() == ["new", "yes"]
    assert sessions.begin().window()["metadata"] == {}


def test_killed_before_any_step_it_goes_on_and_nobody_sees_half(sessions: Any) -> None:
    for step in range(1, STEPS_MAX):
        fill(sessions)
        whole = sessions.seen()

        def kill(number: int, step: int = step) -> None:
            if number >= step:
                raise KilledError

        try:
            delete(sessions, kill)
        except KilledError:
            assert sessions.seen() in (whole, []), step
            delete(sessions)
            assert not [item for item in sessions.store.partition().values() if is_old(item)], step
            assert calls_left(sessions) == ["somebody else's"], step
        else:
            assert step > 20
            return
    pytest.fail("it never ended")


def late_answer(sessions: Any) -> Callable[[], None]:
    """An event whose exchange stands open, and that is about to be answered."""
    work = sessions.begin("late")
    add(work, said("user", "old late question"))
    work.append([], metadata=None, clear=False)
    work.save(5)
    return lambda: add(work, said("assistant", "old late answer")) or work.save(5)


def late_opening(sessions: Any) -> Callable[[], None]:
    """An event that has read the session, and says something now."""
    work = sessions.begin("late")
    work.window()

    def say() -> None:
        add(work, said("user", "old q"), said("assistant", "old a"))
        work.append([], metadata={"old": "changed"}, clear=False)
        work.save(5)

    return say


def late_metadata(sessions: Any) -> Callable[[], None]:
    """An event that has changed the session's metadata, which came of the old one."""
    work = sessions.begin("late")
    work.window()
    work.append([], metadata={"old": "changed"}, clear=False)
    return lambda: work.save(5)


def retry_of_the_unanswered(sessions: Any) -> Callable[[], None]:
    """Another delivery of an event that was not answered."""
    work = sessions.begin("old-waiting")
    work.window()
    return lambda: add(work, said("user", "old q"), said("assistant", "old a")) or work.save(5)


LATE = (late_answer, late_opening, late_metadata, retry_of_the_unanswered)


@pytest.mark.parametrize("make", LATE)
def test_who_is_late_resurrects_nothing(sessions: Any, make: Any) -> None:
    """Whatever the step before which he comes: he is refused, or what he wrote goes too."""
    refused = 0
    for step in range(1, STEPS_MAX):
        fill(sessions)
        write, outcome = make(sessions), []

        def come(number: int, step: int = step, write: Any = write, outcome: Any = outcome) -> None:
            if number == step:
                try:
                    write()
                except errors.StoreError as error:
                    outcome.append(error)

        delete(sessions, come)
        refused += len(outcome)

        left = [item for item in sessions.store.partition().values() if is_old(item)]
        assert not left, (step, left)
        assert sessions.seen() == []
        assert sessions.begin().window()["metadata"] == {}
        if step > 45:
            break
    assert refused


def test_an_event_that_comes_meanwhile_begins_a_new_session(sessions: Any) -> None:
    for step in range(1, 45):
        fill(sessions)

        def come(number: int, step: int = step) -> None:
            if number == step:
                sessions.say(("user", f"new {step}"), ("assistant", "yes"), identity=f"n{step}")

        delete(sessions, come)

        assert sessions.seen() in ([], [f"new {step}", "yes"])
        assert not [item for item in sessions.store.partition().values() if is_old(item)]
        delete(sessions)


def test_an_old_event_that_comes_again_meanwhile_is_still_told_once(sessions: Any) -> None:
    for step in range(1, 45):
        fill(sessions)
        new = (("user", f"new {step}"), ("assistant", "yes"))

        def come(number: int, step: int = step, new: Any = new) -> None:
            if number == step:
                sessions.say(*new, identity="old-0")

        delete(sessions, come)
        seen = sessions.seen()
        if seen:
            sessions.say(*new, identity="old-0")  # another delivery of it
            assert sessions.seen() == seen == [f"new {step}", "yes"], step
        delete(sessions)


def test_answers_that_are_lost_on_the_way_are_asked_again(sessions: Any) -> None:
    fill(sessions)
    lost: list[str] = []
    put = sessions.store.put_if

    def put_and_lose(put_: Put, *, deadline_ms: int) -> None:
        put(put_, deadline_ms=deadline_ms)
        if put_.item.key.sk == keys.HEAD and not lost:
            lost.append("answer")
            raise errors.WriteUncertainError("The answer was lost.")

    sessions.store.put_if = put_and_lose

    delete(sessions)

    assert lost
    assert list(sessions.store.partition()) == [keys.HEAD]
    assert sessions.seen() == []


@pytest.mark.parametrize("damage", [{"exchanges": "many"}, {}])
def test_a_damaged_head_is_deleted_too(sessions: Any, damage: dict[str, Any]) -> None:
    fill(sessions)
    sessions.store.put_if(Put(Item(Key(PK, keys.HEAD), damage)), deadline_ms=0)

    assert delete(sessions).items == 11
    assert sessions.seen() == []


def test_writers_who_never_pause_do_not_hold_it_up(sessions: Any) -> None:
    """An event comes in front of each write of whoever deletes, and he reads all of it once."""
    fill(sessions)
    came: list[int] = []
    outlined: list[str] = []
    outline = sessions.store.outline

    def counted(pk: str, *, deadline_ms: int) -> list[Item]:
        outlined.append(pk)
        return outline(pk, deadline_ms=deadline_ms)

    def come(number: int) -> None:
        hidden = sessions.store.get(Key(PK, keys.HEAD), deadline_ms=0).expires_at
        if hidden is not None and hidden > sessions.clock.now_ms // 1_000 and number > 1:
            for _ in range(5):
                came.append(number)
                sessions.say(
                    ("user", "old q"), ("assistant", "old a"), identity=f"came-{len(came)}"
                )

    sessions.store.outline = counted

    delete(sessions, come)

    assert len(came) > 5, "more came than the first margin has room for"
    assert not [item for item in sessions.store.partition().values() if is_old(item)]
    assert len(outlined) <= 3, "the head alone is read again"
