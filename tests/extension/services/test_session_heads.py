"""What one event changes in a session's head while others do: metadata, expiry, what is hidden."""

from typing import Any

import pytest

from lambdallm_extension import errors
from lambdallm_extension.domain import keys

ASK, ANSWER = ("user", "question"), ("assistant", "answer")
MORE, SECOND = ("user", "and"), ("assistant", "second answer")
TTL_SECONDS = 1_000


def turn(role: str, content: object) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1}


def add(work: Any, *turns: tuple[str, str]) -> None:
    work.append([turn(*each) for each in turns], metadata=None, clear=False)


def put(work: Any, metadata: dict[str, object], *named: str, clear: bool = False) -> None:
    work.append([], metadata=metadata, metadata_keys=named, clear=clear)


def metadata_of(sessions: Any) -> Any:
    return sessions.begin().window()["metadata"]


def head_of(sessions: Any) -> Any:
    return sessions.store.partition()[keys.HEAD]


# Metadata


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("durability", ["before_response", "after_response"])
def test_what_somebody_else_has_set_meanwhile_stays(
    sessions: Any, durability: str, clear: bool
) -> None:
    other = sessions.begin()
    put(other, {"plan": "free", "seen": 1}, "plan", "seen")
    add(other, ASK, ANSWER)
    other.save(5)
    sessions.durability = durability
    work = sessions.begin()
    work.window()
    put(other, {"language": "fr"}, "language")
    other.save(5)
    sessions.store.transactions.clear()

    put(work, {"plan": "pro"}, "plan", "seen", clear=clear)
    add(work, MORE, SECOND)
    work.save(5)

    assert metadata_of(sessions) == {"plan": "pro", "language": "fr"}
    assert sessions.seen()[-2:] == ["and", "second answer"]


def test_nothing_more_is_asked_for_where_nobody_else_writes(sessions: Any) -> None:
    sessions.say(ASK, ANSWER)
    work = sessions.begin()
    add(work, MORE, SECOND)
    work.save(5)
    sent = len(sessions.store.transactions)
    sessions.store.requests.clear()
    for number in range(3):
        put(work, {"number": number, str(number): 0}, "number", str(number))
        work.save(5)

    assert len(sessions.store.transactions) == sent + 3
    assert sessions.store.requests == []
    assert metadata_of(sessions) == {"number": 2, "0": 0, "1": 0, "2": 0}


def test_without_names_the_last_one_replaces_all(sessions: Any) -> None:
    work, other = sessions.begin(), sessions.begin()
    add(work, ASK, ANSWER)
    work.save(5)
    put(other, {"language": "fr"}, "language")
    add(other, MORE, SECOND)
    other.save(5)
    work.append([], metadata={"plan": "pro"}, clear=False)
    put(work, {"more": 1}, "more")
    work.save(5)

    assert metadata_of(sessions) == {"plan": "pro", "more": 1}


def test_keys_of_an_expired_life_do_not_come_back(sessions: Any) -> None:
    sessions.say(ASK, ANSWER, ttl_seconds=TTL_SECONDS)
    before = sessions.begin(ttl_seconds=TTL_SECONDS)
    put(before, {"old": 1}, "old")
    before.save(5)
    sessions.clock.now_ms += 1_001_000

    sessions.say(ASK, ANSWER, ttl_seconds=TTL_SECONDS)
    work = sessions.begin(ttl_seconds=TTL_SECONDS)
    put(work, {"new": 1}, "new")
    work.save(5)

    assert metadata_of(sessions) == {"new": 1}


def test_whose_clock_is_behind_brings_no_keys_of_an_expired_life_back(sessions: Any) -> None:
    work = sessions.begin(ttl_seconds=TTL_SECONDS)
    put(work, {"old": 1}, "old")
    add(work, ASK, ANSWER)
    work.save(5)
    sessions.clock.now_ms += 1_001_000
    sessions.say(("user", "new"), ("assistant", "life"), ttl_seconds=TTL_SECONDS)
    sessions.clock.now_ms -= 2_000
    put(work, {"old": 1, "late": 1}, "late")
    work.save(5)

    assert metadata_of(sessions) == {"late": 1}


# Expiry


def test_the_expiry_counts_from_the_last_message(sessions: Any) -> None:
    work = sessions.begin(ttl_seconds=TTL_SECONDS)
    add(work, ASK, ANSWER)
    work.save(5)
    for _ in range(3):
        sessions.clock.now_ms += 900_000
        add(work, MORE, SECOND)
        work.save(5)
    said = ["question", "answer", *["and", "second answer"] * 3]

    assert head_of(sessions).expires_at == sessions.clock.now_ms // 1_000 + TTL_SECONDS
    sessions.clock.now_ms += 999_000
    assert sessions.seen(ttl_seconds=TTL_SECONDS) == said, "what it said first lives on with it"
    sessions.clock.now_ms += 1_000
    assert sessions.seen(ttl_seconds=TTL_SECONDS) == []


def test_what_was_there_before_a_long_event_lives_on_with_it(sessions: Any) -> None:
    sessions.say(ASK, ANSWER, ttl_seconds=TTL_SECONDS)
    sessions.clock.now_ms += 500_000
    work = sessions.begin(ttl_seconds=TTL_SECONDS)
    add(work, MORE, SECOND)
    work.save(5)
    for _ in range(3):
        sessions.clock.now_ms += 900_000
        add(work, MORE, SECOND)
        work.save(5)
        work._upkeep.wait(5)
    sessions.clock.now_ms += 999_000

    assert sessions.seen(ttl_seconds=TTL_SECONDS)[:2] == ["question", "answer"]


def test_the_head_is_left_alone_where_its_expiry_is_as_good(sessions: Any) -> None:
    work = sessions.begin(ttl_seconds=TTL_SECONDS)
    add(work, ASK, ANSWER)
    work.save(5)
    before = head_of(sessions).expires_at
    sessions.clock.now_ms += 10_000
    add(work, MORE, SECOND)
    work.save(5)

    assert head_of(sessions).expires_at == before


def test_an_event_that_outlasts_its_session_begins_it_anew(sessions: Any) -> None:
    sessions.say(("user", "old"), ("assistant", "known"), ttl_seconds=TTL_SECONDS)
    work = sessions.begin(ttl_seconds=TTL_SECONDS)
    put(work, {"kept": 1}, "kept")
    add(work, ASK, ANSWER)
    work.save(5)
    sessions.clock.now_ms += 1_001_000
    assert sessions.seen(ttl_seconds=TTL_SECONDS) == []
    add(work, MORE, SECOND)
    work.save(5)

    seen = sessions.begin(ttl_seconds=TTL_SECONDS).window()
    assert [each["content"] for each in seen["turns"]] == [
        "question", "answer", "and", "second answer",
    ]  # fmt: skip
    assert seen["metadata"] == {}


def test_of_two_events_that_outlast_their_session_none_hides_the_other(sessions: Any) -> None:
    works = [sessions.begin(ttl_seconds=TTL_SECONDS) for _ in range(2)]
    for work in works:
        add(work, ASK, ANSWER)
        work.save(5)
    sessions.clock.now_ms += 1_001_000
    for work in works:
        add(work, MORE, SECOND)
        work.save(5)

    assert (
        sessions.seen(ttl_seconds=TTL_SECONDS) == ["question", "answer", "and", "second answer"] * 2
    )


def test_who_outlasts_a_session_that_was_begun_anew_is_told(sessions: Any) -> None:
    work = sessions.begin(ttl_seconds=TTL_SECONDS)
    add(work, ASK, ANSWER)
    work.save(5)
    sessions.clock.now_ms += 1_001_000
    sessions.say(("user", "new"), ("assistant", "life"), ttl_seconds=TTL_SECONDS)
    add(work, MORE, SECOND)

    with pytest.raises(errors.StoreRefusedError, match="expired while it was in use"):
        work.save(5)
    assert sessions.seen(ttl_seconds=TTL_SECONDS) == ["new", "life"]
