"""How many requests a read takes, and that it finds the same however it asks."""

from typing import Any

import pytest

from lambdallm_extension.domain.memory import READ_AHEAD
from lambdallm_extension.services.session_reads import LONG_MAX, LongSessions

TURN = ("user", "question"), ("assistant", "answer")


def say(sessions: Any, events: int, **rule: Any) -> None:
    for number in range(events):
        sessions.say(("user", f"q{number}"), ("assistant", f"a{number}"), **rule)
    sessions.store.requests.clear()


def read(sessions: Any, long_sessions: LongSessions, **rule: Any) -> tuple[list[Any], list[str]]:
    """Return what a new event sees, and what was asked of the store for it."""
    sessions.store.requests.clear()
    window = sessions.begin(long_sessions=long_sessions, max_messages=4, **rule).window()
    said = [turn["content"] for turn in window["turns"]]
    return [window["version"], *said], sorted(sessions.store.requests)


@pytest.mark.parametrize("events", [0, 1, (4 + READ_AHEAD) // 2])
def test_a_short_session_is_read_with_one_request(sessions: Any, events: int) -> None:
    say(sessions, events)
    known = LongSessions()

    for _ in range(2):
        seen, requests = read(sessions, known)
        assert seen[0] == events
        assert seen[1:] == [f"{who}{n}" for n in range(max(0, events - 2), events) for who in "qa"]
        assert requests == ["query"]


def test_a_long_session_is_known_after_the_first_read(sessions: Any) -> None:
    say(sessions, 30)
    known = LongSessions()
    expected = [30, "q28", "a28", "q29", "a29"]

    assert read(sessions, known) == (expected, ["get", "query"])
    assert "SESSION#s" in known
    assert read(sessions, known) == (expected, ["get", "query"])


def test_a_session_that_became_short_is_read_with_one_request_again(sessions: Any) -> None:
    known = LongSessions()
    known.note("SESSION#s", is_long=True)
    say(sessions, 1)

    assert read(sessions, known)[1] == ["get", "query"]
    assert read(sessions, known) == ([1, "q0", "a0"], ["query"])


@pytest.mark.parametrize("is_long", [False, True])
def test_turns_that_outlived_their_head_are_hidden(sessions: Any, is_long: bool) -> None:
    say(sessions, 30)
    del sessions.store._partitions["SESSION#s"]["HEAD"]
    known = LongSessions()
    known.note("SESSION#s", is_long=is_long)

    assert read(sessions, known)[0] == [0]


def test_so_many_long_sessions_are_known_and_no_more() -> None:
    known = LongSessions()
    for number in range(LONG_MAX + 10):
        known.note(str(number), is_long=True)

    assert str(LONG_MAX + 9) in known
    assert "0" not in known
    assert sum(str(number) in known for number in range(LONG_MAX + 10)) == LONG_MAX


def test_a_deferred_read_is_made_for_whoever_comes_first(sessions: Any) -> None:
    say(sessions, 1)
    work = sessions.begin(deferred=True)
    other = sessions.begin(deferred=True)
    assert sessions.store.requests == []

    assert [turn["content"] for turn in work.window()["turns"]] == ["q0", "a0"]
    assert work.window()["version"] == 1
    other.append([{"role": "user", "content": "q", "metadata": {}, "at_epoch_ms": 1},
                  {"role": "assistant", "content": "a", "metadata": {}, "at_epoch_ms": 1}],
                 metadata=None, clear=False)  # fmt: skip
    assert other.save(5) == 2
    assert sessions.store.requests == ["query", "query"]
