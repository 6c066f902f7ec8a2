"""Moving a session: whole, once, to where nobody loses one; killed at any step."""

from __future__ import annotations

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


@pytest.mark.usefixtures("pages")
def test_it_is_his_as_it_was_and_nobody_elses(sessions: Any) -> None:
    whole = fill(sessions)
    waiting = sessions.begin("waiting")
    waiting.append([said("user", "unanswered")], metadata=None, clear=False)
    waiting.save(5)
    before = items_of(sessions)

    assert move(sessions).outcome == "moved"

    assert seen(sessions) == []
    assert seen(sessions, TO) == whole
    assert begin_of(sessions, TO).window()["metadata"] == {"plan": 1}
    assert list(items_of(sessions)) == [keys.HEAD]
    after = items_of(sessions, TO)
    head = after.pop(keys.HEAD)
    old_head = before.pop(keys.HEAD)
    assert {sk: (item.attributes, item.expires_at) for sk, item in after.items()} == {
        sk: (item.attributes, item.expires_at) for sk, item in before.items()
    }
    one_life = {"rewrites", "move"}
    assert {name: head.attributes[name] for name in head.attributes.keys() - one_life} == {
        name: old_head.attributes[name] for name in old_head.attributes.keys() - one_life
    }
    assert head.expires_at == old_head.expires_at
    say(sessions, "more", "yes", owner=TO)
    assert seen(sessions, TO) == [*whole, "more", "yes"]
    say(sessions, "new", "here")
    assert seen(sessions) == ["new", "here"]


def test_what_has_been_moved_is_told_again(sessions: Any) -> None:
    fill(sessions)
    assert move(sessions).outcome == "moved"
    assert move(sessions).outcome == "moved"
    assert move(sessions, owners=(TO, "")).outcome == "moved"
    assert len(seen(sessions)) == 8


def test_what_is_not_there_is_not_moved(sessions: Any) -> None:
    assert move(sessions).outcome == "absent"
    fill(sessions)
    sessions.clock.now_ms += 3_700_000
    assert move(sessions).outcome == "absent"
    assert items_of(sessions, TO) == {}


def test_nobody_loses_a_session_to_one_that_comes(sessions: Any) -> None:
    whole = fill(sessions)
    say(sessions, "his", "own", owner=TO)

    assert move(sessions).outcome == "exists"

    assert (seen(sessions), seen(sessions, TO)) == (whole, ["his", "own"])


def test_what_is_left_of_an_expired_session_does_not_come_back(sessions: Any) -> None:
    for number in range(9):
        say(sessions, f"dead {number}", "x", owner=TO, identity=f"dead-{number}")
    sessions.clock.now_ms += 3_700_000
    whole = fill(sessions)

    assert move(sessions).outcome == "moved"

    assert seen(sessions, TO) == whole
    assert not [sk for sk in items_of(sessions, TO) if "dead" in sk]


def seen_or_told(sessions: Any, owner: str) -> list[Any]:
    try:
        return seen(sessions, owner)
    except errors.StoreUnavailableError as error:
        if "another owner" not in error.detail:
            raise
        return []


@pytest.mark.usefixtures("pages")
def test_killed_before_any_step_it_goes_on_and_nobody_sees_half(sessions: Any) -> None:
    for step in range(1, STEPS_MAX):
        whole = fill(sessions)

        def kill(number: int, step: int = step) -> None:
            if number >= step:
                raise KilledError

        try:
            outcome = move(sessions, kill).outcome
        except KilledError:
            found = [seen_or_told(sessions, owner) for owner in ("", TO)]
            assert sorted(found) in ([[], []], [[], whole]), step
            assert move(sessions).outcome == "moved", step
        else:
            assert outcome == "moved"
        assert (seen(sessions), seen(sessions, TO)) == ([], whole), step
        assert list(items_of(sessions)) == [keys.HEAD]
        archive(sessions).delete("s", TO, records=True)
        if "outcome" in locals():
            assert step > 20
            return
    pytest.fail("it never ended")
