"""One exchange and its writers: retries, deliveries at once, kills, and what they leave."""

from typing import Any

import pytest

from lambdallm_extension import errors
from lambdallm_extension.services.tasks import Workers

ASK, ANSWER = ("user", "question"), ("assistant", "answer")


def turn(role: str, content: object) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1}


def add(work: Any, *turns: tuple[str, str]) -> None:
    work.append([turn(*each) for each in turns], metadata=None, clear=False)


def fail(work: Any) -> None:
    work.fail()
    work.save(5)


@pytest.mark.parametrize("said", [[ASK, ("assistant", "let me look")], [("system", "you are")]])
def test_what_a_failed_event_said_gives_way_to_its_retry(sessions: Any, said: Any) -> None:
    first = sessions.begin("message-1")
    add(first, *said)
    fail(first)

    sessions.say(ASK, ("assistant", "final"), identity="message-1")

    assert sessions.seen() == ["question", "final"]


def test_what_was_answered_before_the_failure_stays_until_the_retry(sessions: Any) -> None:
    first = sessions.begin("message-1")
    add(first, ASK, ANSWER)
    fail(first)

    assert sessions.seen() == ["question", "answer"]


def test_the_same_change_twice_is_two_changes(sessions: Any) -> None:
    work = sessions.begin()
    for plan in ("pro", "free", "pro"):
        work.append([], metadata={"plan": plan}, clear=False)
        work.save(5)
    assert sessions.begin().window()["metadata"] == {"plan": "pro"}

    for _ in range(2):
        work.append([], metadata=None, clear=True)
        add(work, ASK, ANSWER)
        work.save(5)
    assert sessions.seen() == ["question", "answer"]


def both_open(sessions: Any) -> tuple[Any, Any]:
    """Two deliveries of an event whose first delivery was not answered, both having it open."""
    sessions.say(("user", "lost"), ("user", "lost too"), identity="message-1")
    deliveries = sessions.begin("message-1"), sessions.begin("message-1")
    for delivery in deliveries:
        delivery.append([], metadata=None, clear=False)
        delivery.save(5)
    return deliveries


def test_two_deliveries_never_mix(sessions: Any) -> None:
    one, other = both_open(sessions)
    add(one, ("user", "q"), ("assistant", "one's answer"))
    one.save(5)
    add(other, ("user", "q"), ("assistant", "other's answer"))
    other.save(5)
    add(one, ("user", "q2"), ("assistant", "one's second"))
    one.save(5)

    assert sessions.seen() == ["q", "one's answer", "q2", "one's second"]


def test_a_delivery_that_died_before_its_answer_is_taken_over(sessions: Any) -> None:
    one, other = both_open(sessions)
    add(one, ("user", "q"))
    one.flush()
    one.save(5)
    add(other, ("user", "q"), ("assistant", "other's answer"))
    other.save(5)

    assert sessions.seen() == ["q", "other's answer"]


def test_an_identity_outlives_its_session_without_harm(sessions: Any) -> None:
    sessions.say(ASK, ANSWER, identity="order-7", ttl_seconds=100)
    sessions.clock.now_ms += 250_000
    partition = sessions.store._partitions["SESSION#s"]
    for sk in [sk for sk in partition if not sk.startswith("EXCHANGE#")]:
        del partition[sk]

    sessions.say(("user", "new"), ("assistant", "life"), identity="order-7", ttl_seconds=100)

    assert sessions.seen() == ["new", "life"]


def test_what_was_cleared_never_comes_back(sessions: Any) -> None:
    older = sessions.begin("older")
    add(older, ("user", "a"), ("assistant", "b"))
    older.save(5)
    sessions.say(("user", "x"), ("assistant", "y"))
    newer = sessions.begin("newer")
    newer.append([], metadata=None, clear=True)
    add(newer, ASK, ANSWER)
    newer.save(5)

    older.append([], metadata=None, clear=True)
    older.save(5)

    assert sessions.seen() == ["question", "answer"]


def test_clearing_works_after_more_turns_than_one_transaction_takes(sessions: Any) -> None:
    work = sessions.begin()
    add(work, *[(("user", "assistant")[n % 2], str(n)) for n in range(240)])
    work.append([], metadata=None, clear=True)
    add(work, ASK, ANSWER)
    work.save(5)

    assert sessions.seen() == ["question", "answer"]
    assert all(len(actions) <= 100 for actions in sessions.store.transactions)


def test_a_long_event_delivered_again_still_sees_what_came_before_it(sessions: Any) -> None:
    sessions.say(ASK, ANSWER)
    sessions.say(*[(("user", "assistant")[n % 2], str(n)) for n in range(80)], identity="long")

    assert sessions.seen(identity="long", max_messages=4) == ["question", "answer"]


def test_a_session_that_ends_while_it_is_used_is_told(sessions: Any) -> None:
    work = sessions.begin()
    add(work, ASK, ANSWER)
    work.save(5)
    del sessions.store._partitions["SESSION#s"]["HEAD"]
    work.append([], metadata={"plan": "pro"}, clear=False)

    with pytest.raises(errors.StoreUnavailableError, match="deleted or moved while this event"):
        work.save(5)


def test_nothing_is_taken_after_the_end(sessions: Any) -> None:
    work = sessions.begin()
    work.close()

    with pytest.raises(errors.InvalidRequestError, match="has ended"):
        add(work, ASK)


# A unit of work that moves from a lost engine to another one; `sessions` numbers the writers

MORE, SECOND = ("user", "and"), ("assistant", "second answer")


def lost_after(sessions: Any, *turns: tuple[str, str]) -> Any:
    lost = sessions.begin("message-1")
    add(lost, *turns)
    lost.save(5)
    return lost


@pytest.mark.parametrize("written", [[], [ASK], [ASK, ANSWER], [ASK, ANSWER, MORE]])
def test_who_continues_a_unit_writes_all_of_it(sessions: Any, written: Any) -> None:
    lost_after(sessions, *written)
    other = sessions.begin("message-1", continues="1")
    add(other, ASK, ANSWER)
    add(other, MORE, SECOND)
    other.save(5)

    assert sessions.seen() == ["question", "answer", "and", "second answer"]


def test_an_answer_is_replaced_by_who_continues_its_writer_and_by_nobody_else(
    sessions: Any,
) -> None:
    lost_after(sessions, ASK, ANSWER)
    for continues, expected in (("", "answer"), ("7", "answer"), ("1", "another")):
        delivery = sessions.begin("message-1", continues=continues)
        add(delivery, ASK, ("assistant", "another"))
        delivery.save(5)

        assert sessions.seen() == ["question", expected]


def test_a_lost_engine_that_goes_on_takes_nothing_back(sessions: Any) -> None:
    """It learns that its line has ended, and opens the exchange for a retry: too late."""
    lost = lost_after(sessions, ASK, ANSWER)
    other = sessions.begin("message-1", continues="1")
    add(other, ASK, ANSWER)
    other.save(5)
    add(lost, MORE, SECOND)
    lost.save(5)
    fail(lost)

    assert sessions.seen() == ["question", "answer"]


@pytest.mark.parametrize("goes_on", ["writes", "fails"])
def test_a_lost_engine_that_goes_on_first_is_written_over(sessions: Any, goes_on: str) -> None:
    lost = lost_after(sessions, ASK, ANSWER)
    other = sessions.begin("message-1", continues="1")
    add(other, ASK)
    other.save(5)
    if goes_on == "writes":
        add(lost, MORE, SECOND)
        lost.save(5)
    else:
        fail(lost)
    add(other, ("assistant", "the answer that left"))
    other.save(5)

    assert sessions.seen() == ["question", "the answer that left"]


def test_a_lost_engine_between_two_writes_of_the_other_one_is_written_over(sessions: Any) -> None:
    lost = lost_after(sessions, ASK)
    other = sessions.begin("message-1", continues="1")
    add(other, ASK)
    other.save(5)

    def goes_on() -> None:
        add(lost, ANSWER)
        lost.save(5)

    sessions.store.before_transact = [goes_on]
    add(other, ANSWER, MORE, SECOND)
    other.save(5)

    assert sessions.seen() == ["question", "answer", "and", "second answer"]


# More than one transaction takes


def many(count: int, mark: str = "") -> list[tuple[str, str]]:
    return [(("user", "assistant")[n % 2], f"{mark}{n}") for n in range(count)]


@pytest.mark.parametrize("written", [0, 1, 95, 120, 240])
@pytest.mark.parametrize("more", [2, 96, 200])
def test_a_long_exchange_is_taken_over_whole(sessions: Any, written: int, more: int) -> None:
    lost_after(sessions, *many(written, "lost "))
    other = sessions.begin("message-1", continues="1")
    add(other, *many(100))
    other.save(5)
    add(other, *many(more, "more "))
    other.save(5)

    assert sessions.seen() == [text for _, text in [*many(100), *many(more, "more ")]]
    assert all(len(actions) <= 100 for actions in sessions.store.transactions)


def test_a_long_exchange_is_taken_over_again_in_the_middle_of_a_write(sessions: Any) -> None:
    lost = lost_after(sessions, *many(98, "lost "))
    other = sessions.begin("message-1", continues="1")
    add(other, *many(100))
    other.save(5)

    def goes_on() -> None:
        add(lost, *many(100, "late "))
        lost.save(5)

    sessions.store.before_transact = [goes_on]
    add(other, *many(100, "more "))
    other.save(5)

    assert sessions.seen() == [text for _, text in [*many(100), *many(100, "more ")]]


def test_what_a_killed_delivery_wrote_in_part_is_taken_over_by_its_retry(sessions: Any) -> None:
    """Its first transaction ends with an answer, and is none."""

    def die() -> None:
        raise errors.StoreUnavailableError("The environment was killed.")

    killed = sessions.begin("message-1")
    killed.append([], metadata=None, clear=False)
    add(killed, *many(92))
    killed.window()
    sessions.store.before_transact = [lambda: None, lambda: None, die]
    with pytest.raises(errors.StoreUnavailableError):
        killed.save(5)
    sessions.store.before_transact = []

    sessions.say(ASK, ANSWER, identity="message-1")

    assert sessions.seen() == ["question", "answer"]


# Losing


def test_who_loses_many_times_is_told_nothing_of_it(sessions: Any) -> None:
    def sneak_in() -> None:
        planned, sessions.store.before_transact = sessions.store.before_transact, []
        sessions.say(("user", "quick"), ("assistant", "one"))
        sessions.store.before_transact = planned

    sessions.store.before_transact = [sneak_in] * 60
    sessions.say(ASK, ANSWER)

    assert sessions.seen()[-2:] == ["question", "answer"]
    assert len(sessions.seen()) == 2 * 61


def test_who_loses_until_the_deadline_is_told_to_try_again(sessions: Any) -> None:
    def sneak_in() -> None:
        planned, sessions.store.before_transact = sessions.store.before_transact, []
        sessions.say(("user", "quick"), ("assistant", "one"))
        sessions.store.before_transact = planned
        sessions.clock.now_ms += 1_000

    deadline_ms = sessions.clock.now_ms + 5_000
    work = sessions.begin()
    work._exchange._attempts._deadline_ms = lambda: deadline_ms
    sessions.store.before_transact = [sneak_in] * 60
    add(work, ASK, ANSWER)

    with pytest.raises(errors.StoreUnavailableError, match="Too many writers"):
        work.save(5)
    assert "question" not in sessions.seen()


# Refused as a whole


class NoThreads(Workers):
    """An environment that has no thread left, for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1_000

    def start(self, call: Any) -> Any:
        if not self.left:
            raise errors.OverloadedError("No thread is left in this environment.")
        self.left -= 1
        return super().start(call)


def test_what_was_refused_was_not_taken(sessions: Any) -> None:
    sessions.say(("user", "before"), ("assistant", "known"))
    sessions.workers = NoThreads()
    work = sessions.begin()
    work.window()
    sessions.workers.left = 0
    waits = sessions.durability == "before_response"
    refused = [turn("user", str(number)) for number in range(1 if waits else 89)]
    with pytest.raises(errors.OverloadedError):
        work.append([*refused, turn(*ANSWER)], metadata={"n": 1}, clear=False)
    sessions.workers.left = 1_000
    add(work, ASK, ANSWER)
    work.save(5)

    assert sessions.seen() == ["before", "known", "question", "answer"]
    assert sessions.begin().window()["metadata"] == {}
