"""Moving a session while events write in it, while others move or delete it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from fakes.session_moves import (
    STEPS_MAX,
    TO,
    KilledError,
    archive,
    begin_of,
    fill,
    items_of,
    move,
    said,
    say,
    seen,
)
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.services import session_pages


@pytest.fixture(params=[session_pages.PAGE_BYTES, 1])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page, and one for each item."""
    monkeypatch.setattr(session_pages, "PAGE_BYTES", request.param)


def late_answer(sessions: Any) -> Callable[[], list[str]]:
    """An event whose exchange stands open, and that is about to be answered."""
    work = sessions.begin("late")
    work.append([said("user", "late")], metadata=None, clear=False)
    work.save(5)

    def write() -> list[str]:
        work.append([said("assistant", "answer")], metadata=None, clear=False)
        work.save(5)
        return ["late", "answer"]

    return write


def late_opening(sessions: Any) -> Callable[[], list[str]]:
    """An event that has read the session, and says something now."""
    work = sessions.begin("late")
    work.window()

    def write() -> list[str]:
        turns = [said("user", "late"), said("assistant", "answer")]
        work.append(turns, metadata=None, clear=False)
        work.save(5)
        return ["late", "answer"]

    return write


def late_second_answer(sessions: Any) -> Callable[[], list[str]]:
    """An event that has an answer stored, and says another one."""
    work = sessions.begin("late")
    work.append([said("user", "late"), said("assistant", "1")], metadata=None, clear=False)
    work.save(5)

    def write() -> list[str]:
        work.append([said("user", "more"), said("assistant", "2")], metadata=None, clear=False)
        work.save(5)
        return ["late", "1", "more", "2"]

    return write


def late_metadata(sessions: Any) -> Callable[[], list[str]]:
    """An event that has an answer stored, and changes the metadata alone."""
    work = sessions.begin("late")
    work.append([said("user", "late"), said("assistant", "1")], metadata=None, clear=False)
    work.save(5)

    def write() -> list[str]:
        work.append([], metadata={"late": True}, clear=False)
        work.save(5)
        return ["metadata"]

    return write


def late_first_turns(sessions: Any) -> Callable[[], list[str]]:
    """An event that has opened its exchange, and has said nothing in it."""
    work = sessions.begin("late")
    work.append([], metadata=None, clear=False)
    work.save(5)

    def write() -> list[str]:
        turns = [said("user", "late"), said("assistant", "answer")]
        work.append(turns, metadata=None, clear=False)
        work.save(5)
        return ["late", "answer"]

    return write


LATE = (late_answer, late_opening, late_second_answer, late_metadata, late_first_turns)


@pytest.mark.parametrize("make", LATE)
def test_who_writes_meanwhile_is_refused_or_finds_it_at_the_new_owner(
    sessions: Any, make: Any
) -> None:
    refused = kept = 0
    for step in range(1, STEPS_MAX):
        whole, write, outcome = fill(sessions), make(sessions), []

        def come(number: int, step: int = step, write: Any = write, outcome: Any = outcome) -> None:
            if number == step:
                try:
                    outcome.append(write())
                except errors.StoreError as error:
                    outcome.append(error)

        assert move(sessions, come).outcome == "moved", step
        if not outcome:
            assert step > 20
            break
        found = [*seen(sessions, TO), *seen(sessions)]
        if isinstance(outcome[0], errors.StoreError):
            refused += 1
            assert found[: len(whole)] == whole
        elif outcome[0] == ["metadata"]:
            kept += 1
            assert begin_of(sessions, TO).window()["metadata"].get("late"), step
        else:
            kept += 1
            assert [each for each in found if each not in whole] == outcome[0], step
        for owner in (TO, ""):
            archive(sessions).delete("s", owner, records=True)
    assert refused
    assert kept


def test_who_begins_meanwhile_is_refused_or_has_a_session_of_his_own(sessions: Any) -> None:
    for owner in ("", TO):
        for step in range(1, STEPS_MAX):
            whole, outcome = fill(sessions), []

            def come(
                number: int, step: int = step, owner: str = owner, outcome: Any = outcome
            ) -> None:
                if number == step:
                    try:
                        say(sessions, "new", "yes", owner=owner, identity=f"new-{step}")
                        outcome.append("said")
                    except errors.StoreError as error:
                        outcome.append(error)

            ended = move(sessions, come)
            found = seen(sessions), seen(sessions, TO)
            new = ["new", "yes"] if outcome == ["said"] else []
            if ended.outcome == "exists":
                assert (owner, found) == (TO, (whole, new)), step
            elif owner == TO or found[1] != whole:
                assert found == ([], [*whole, *new]), step
            else:
                assert found == (new, whole), step
            for each in (TO, ""):
                archive(sessions).delete("s", each, records=True)
            if not outcome:
                assert step > 20
                break


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize(
    "killed_at",
    [STEPS_MAX, 12, *(pytest.param(each, marks=pytest.mark.slow) for each in (6, 18))],
)
@pytest.mark.parametrize("to", [TO, "lambda:eve"])
def test_two_at_once_leave_it_whole_with_one_owner(sessions: Any, to: str, killed_at: int) -> None:
    """The other one comes in front of any step, and runs to his end, or is killed on his way."""
    for step in range(1, STEPS_MAX):
        whole, others = fill(sessions), []

        def kill(number: int) -> None:
            if number >= killed_at:
                raise KilledError

        def come(number: int, step: int = step, others: Any = others, kill: Any = kill) -> None:
            if number == step:
                others.append("killed")
                with suppress(KilledError):
                    others.append(move(sessions, kill, owners=("", to)).outcome)

        first = move(sessions, come).outcome
        for _ in range(2):  # who was told that another one is at it looks again
            again = {each: move(sessions, owners=("", each)).outcome for each in (TO, to)}
        found = {each: seen(sessions, each) for each in (TO, to)}
        where = (step, first, others, again)
        assert sorted(found.values()) == [*([] if to == TO else [[]]), whole], where
        assert seen(sessions) == [], where
        assert "exists" not in (first, *others), where
        for owner in {TO, to, ""}:
            archive(sessions).delete("s", owner, records=True)
        if not others:
            assert step > 20
            return
    pytest.fail("it never ended")


def test_two_at_once_go_on_with_one_that_was_killed(sessions: Any) -> None:
    for step in range(1, STEPS_MAX):
        whole, others = fill(sessions), []

        def kill(_: int) -> None:
            if len(items_of(sessions, TO)) > 1:
                raise KilledError

        def come(number: int, step: int = step, others: Any = others) -> None:
            if number == step:
                others.append(move(sessions).outcome)

        with pytest.raises(KilledError):
            move(sessions, kill)
        outcomes = [move(sessions, come).outcome, *others]

        assert "moved" in outcomes, (step, outcomes)
        assert (seen(sessions), seen(sessions, TO)) == ([], whole), (step, outcomes)
        assert list(items_of(sessions)) == [keys.HEAD]
        archive(sessions).delete("s", TO, records=True)
        if not others:
            return
    pytest.fail("it never ended")


def test_a_second_owner_is_refused_while_a_move_is_under_way(sessions: Any) -> None:
    whole = fill(sessions)

    def kill(number: int) -> None:
        if hidden(sessions):
            raise KilledError

    with pytest.raises(KilledError):
        move(sessions, kill)

    eve = move(sessions, owners=("", "lambda:eve"))
    assert (eve.outcome, eve.other) == ("busy", TO)
    assert move(sessions, owners=("lambda:bob", TO)).outcome == "absent"
    assert move(sessions).outcome == "moved"
    assert (seen(sessions, TO), seen(sessions, "lambda:eve")) == (whole, [])


def hidden(sessions: Any) -> bool:
    return items_of(sessions)[keys.HEAD].attributes.get("moving") == 1


def test_who_deletes_meanwhile_has_it_deleted_or_finds_it_moved(sessions: Any) -> None:
    for step in range(1, STEPS_MAX):
        whole, done = fill(sessions), []

        def come(number: int, step: int = step, done: Any = done) -> None:
            if number == step:
                done.append(archive(sessions).delete("s", "", records=True))

        outcome = move(sessions, come).outcome
        assert seen(sessions) == []
        assert seen(sessions, TO) == (whole if outcome == "moved" else []), (step, outcome)
        assert outcome in ("moved", "absent")
        archive(sessions).delete("s", TO, records=True)
        if not done:
            return
    pytest.fail("it never ended")
