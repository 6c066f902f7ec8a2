"""One exchange and its writers: retries, deliveries at once, kills, and what they leave."""

from typing import Any

import pytest

from lambdallm_extension import errors

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

    with pytest.raises(errors.StoreRefusedError, match="expired while it was in use"):
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
