"""What is read beside the newest turns, and that nothing else is."""

from typing import Any

import pytest


def turn(role: str, content: str, **more: Any) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1, **more}


def say(sessions: Any, *turns: Any) -> None:
    work = sessions.begin()
    work.append([*turns], metadata=None, clear=False)
    work.save(5)


def talk(sessions: Any, count: int) -> None:
    for number in range(count):
        say(sessions, turn("user", f"q{number}"), turn("assistant", f"a{number}"))


def requests(sessions: Any) -> list[str]:
    """Return what the store is asked for a new event's window of two messages."""
    sessions.store.requests.clear()
    sessions.begin(max_messages=2).window()
    return [*sessions.store.requests]


def test_a_turn_that_stays_costs_one_request_when_it_is_old(sessions: Any) -> None:
    say(sessions, turn("system", "be kind"), turn("user", "q"), turn("assistant", "a"))
    assert sessions.seen(max_messages=2) == ["be kind", "q", "a"]
    before = requests(sessions)
    talk(sessions, 20)

    assert sessions.seen(max_messages=2) == ["be kind", "q19", "a19"]
    assert before == ["query"], "it stands among the newest"
    assert requests(sessions).count("query") == 2


def test_pinned_turns_of_the_same_exchange_come_together(sessions: Any) -> None:
    say(
        sessions, turn("user", "one"), turn("assistant", "1"),
        turn("user", "two", pinned=True), turn("assistant", "2"),
    )  # fmt: skip
    talk(sessions, 20)

    assert sessions.seen(max_messages=2) == ["two", "2", "q19", "a19"]


def test_what_stays_is_gone_when_it_is_cleared_or_expired(sessions: Any) -> None:
    say(sessions, turn("user", "old", pinned=True), turn("assistant", "a"))
    talk(sessions, 20)
    work = sessions.begin()
    work.append([turn("user", "new"), turn("assistant", "b")], metadata=None, clear=True)
    work.save(5)
    assert sessions.seen(max_messages=2) == ["new", "b"]

    say(sessions, turn("user", "again", pinned=True), turn("assistant", "c"))
    sessions.clock.now_ms += 3_601_000
    talk(sessions, 20)
    assert sessions.seen(max_messages=2) == ["q19", "a19"]


def test_an_answer_that_replaces_another_one_takes_its_pin_away(sessions: Any) -> None:
    work = sessions.begin("event")
    work.append(
        [turn("user", "q", pinned=True), turn("assistant", "a")], metadata=None, clear=False
    )
    work.save(5)
    work.fail()
    work.save(5)
    again = sessions.begin("event")
    again.append([turn("user", "q"), turn("assistant", "a")], metadata=None, clear=False)
    again.save(5)
    talk(sessions, 20)

    assert sessions.seen(max_messages=2) == ["q19", "a19"]


@pytest.mark.parametrize("batches", [1, 3])
def test_turns_that_stay_are_named_however_they_are_written(sessions: Any, batches: int) -> None:
    work = sessions.begin()
    for number in range(batches):
        pinned = turn("user", f"p{number}", pinned=True)
        work.append([pinned, turn("assistant", f"r{number}")], metadata=None, clear=False)
    work.save(5)
    talk(sessions, 20)

    kept = [text for number in range(batches) for text in (f"p{number}", f"r{number}")]
    assert sessions.seen(max_messages=2) == [*kept, "q19", "a19"]
