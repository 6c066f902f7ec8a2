"""A session loses nothing, mixes nothing and shows nothing twice."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

from lambdallm_extension import errors
from lambdallm_extension.ports import Put
from lambdallm_extension.services import session_items

ASK, ANSWER = ("user", "question"), ("assistant", "answer")


def turn(role: str, content: object) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1}


def test_a_new_session_is_empty_and_reading_it_writes_nothing(sessions: Any) -> None:
    window = sessions.begin().window()

    assert (window["version"], window["turns"], window["metadata"]) == (0, [], {})
    assert sessions.store.partition() == {}


def test_after_the_response_all_is_written_in_one_transaction(sessions: Any) -> None:
    work = sessions.begin()
    work.append([turn(*ASK)], metadata=None, clear=False)
    work.append([turn(*ANSWER)], metadata=None, clear=False)
    work.window()
    if sessions.durability == "after_response":
        assert sessions.store.partition() == {}
    work.save(5)

    written = {"before_response": 2, "after_response": 1}[sessions.durability]
    assert len(sessions.store.transactions) == written
    assert sessions.seen() == ["question", "answer"]


def test_many_answers_do_not_wait_for_the_response(sessions: Any) -> None:
    work = sessions.begin()
    for number in range(60):
        work.append([turn("user", str(number)), turn(*ANSWER)], metadata=None, clear=False)
    work._lane.wait(5)

    assert len(work._pending) < 90
    assert sessions.store.transactions
    assert work.save(5) == 1
    assert len(sessions.seen()) == 120


def test_what_one_event_said_is_seen_by_the_next(sessions: Any) -> None:
    sessions.say(ASK, ANSWER)
    sessions.say(("user", "again"), ("assistant", "ok"))

    assert sessions.seen() == ["question", "answer", "again", "ok"]


def test_the_items_are_the_documented_ones(sessions: Any) -> None:
    sessions.say(ASK, ANSWER, identity="order-7")
    items = sessions.store.partition()

    assert sorted(items) == ["EXCHANGE#order-7", "HEAD", "TURN#000001#0", "TURN#000001#1"]
    assert items["HEAD"].attributes == {
        "schema": 1, "exchanges": 1, "first_exchange": 1, "metadata": "{}",
        "rewrites": session_items.birth("1", "order-7"), "at": 1_790_000_000_000,
    }  # fmt: skip
    assert items["EXCHANGE#order-7"].attributes == {
        "schema": 1, "number": 1, "turns": 2, "answered": True, "writer": "1",
    }  # fmt: skip
    assert items["TURN#000001#1"].attributes == {
        "schema": 1, "role": "assistant", "content": '"answer"', "at": 1_790_000_000_000,
        "exchange": "order-7",
    }  # fmt: skip


@pytest.mark.parametrize(
    "content", ["", "0", 0, 0.1, False, None, [], {}, "\ud83d half, 漢字 \u0000", [{"text": ""}]]
)
def test_content_comes_back_as_it_was(sessions: Any, content: object) -> None:
    work = sessions.begin()
    work.append([turn("user", content), turn("assistant", "a")], metadata=None, clear=False)
    work.save(5)

    assert sessions.seen() == [content, "a"]


def test_more_than_ten_turns_of_one_event_keep_their_order(sessions: Any) -> None:
    turns = [(("user", "assistant")[n % 2], str(n)) for n in range(24)]
    sessions.say(*turns)

    assert sessions.seen() == [str(n) for n in range(24)]


def test_more_turns_than_one_transaction_takes_arrive_whole(sessions: Any) -> None:
    turns = [(("user", "assistant")[n % 2], str(n)) for n in range(250)]
    sessions.say(*turns)

    assert sessions.seen() == [str(n) for n in range(250)]
    assert all(len(actions) <= 100 for actions in sessions.store.transactions)


def test_a_redelivered_event_writes_nothing_twice_and_does_not_see_itself(sessions: Any) -> None:
    sessions.say(ASK, ANSWER, identity="message-1")
    sessions.say(("user", "other"), ("assistant", "other answer"))
    before = sessions.store.partition()

    again = sessions.begin("message-1")
    assert [t["content"] for t in again.window()["turns"]] == ["other", "other answer"]
    again.append(
        [turn("user", "question"), turn("assistant", "changed")], metadata=None, clear=False
    )
    assert again.save(5) == 1

    assert sessions.store.partition() == before


def test_an_unanswered_exchange_stays_out_until_its_retry_answers_it(sessions: Any) -> None:
    sessions.say(ASK, ANSWER)
    sessions.say(("user", "lost"), ("user", "lost too"), identity="message-2")
    sessions.say(("user", "later"), ("assistant", "later answer"))
    assert sessions.seen() == ["question", "answer", "later", "later answer"]

    sessions.say(("assistant", "found"), identity="message-2")

    assert sessions.seen() == ["question", "answer", "found", "later", "later answer"]


def test_a_failed_read_raises_and_the_next_save_erases_nothing(sessions: Any) -> None:
    sessions.say(ASK, ANSWER)
    sessions.store.reads_fail = True
    work = sessions.begin()
    with pytest.raises(errors.StoreUnavailableError):
        work.window()
    work.append([turn("user", "x"), turn("assistant", "y")], metadata=None, clear=False)
    with pytest.raises(errors.StoreUnavailableError):
        work.save(5)

    sessions.store.reads_fail = False
    assert sessions.seen() == ["question", "answer"]


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_answer_writes_once(sessions: Any, lost: int) -> None:
    sessions.store.lost_answers = lost
    sessions.say(ASK, ANSWER)
    sessions.store.lost_answers = lost
    sessions.say(("user", "b"), ("assistant", "c"))

    assert sessions.seen() == ["question", "answer", "b", "c"]
    assert sessions.begin().window()["version"] == 2


def test_a_lost_answer_is_not_forgotten_over_a_retry_that_was_not_sent(sessions: Any) -> None:
    sessions.store.lost_answers, sessions.store.unsent = 1, True
    with pytest.raises(errors.WriteUncertainError):
        sessions.say(ASK, ANSWER)

    sessions.store.lost_answers = 0
    with pytest.raises(errors.StoreUnavailableError, match="nothing was sent"):
        sessions.say(ASK, ANSWER)


def test_writers_that_read_the_same_number_take_different_ones(sessions: Any) -> None:
    def sneak_in() -> None:
        sessions.store.before_transact = []
        sessions.say(("user", "first"), ("assistant", "first answer"))

    sessions.store.before_transact = [sneak_in]
    sessions.say(ASK, ANSWER)

    assert sessions.seen() == ["first", "first answer", "question", "answer"]


def run_at_once(*calls: Callable[[], object]) -> None:
    barrier = Barrier(len(calls))
    failures: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            barrier.wait(10)
            call()
        except BaseException as failure:  # noqa: BLE001 - told below
            failures.append(failure)

    threads = [Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []


def test_twenty_writers_at_once_lose_and_mix_nothing(sessions: Any) -> None:
    run_at_once(
        *(lambda n=n: sessions.say(("user", f"q{n}"), ("assistant", f"a{n}")) for n in range(20))
    )

    seen = sessions.seen()
    assert sorted(seen) == sorted([f"q{n}" for n in range(20)] + [f"a{n}" for n in range(20)])
    assert all(
        answer == f"a{question[1:]}" for question, answer in zip(seen[::2], seen[1::2], strict=True)
    )


def test_two_deliveries_of_one_event_at_once_are_stored_as_one(sessions: Any) -> None:
    run_at_once(
        *(
            lambda n=n: sessions.say(("user", "q"), ("assistant", f"a{n}"), identity="message-1")
            for n in range(8)
        )
    )

    seen = sessions.seen()
    assert len(seen) == 2
    assert seen[1] in [f"a{n}" for n in range(8)]


def test_an_expired_session_is_empty_and_its_turns_never_come_back(sessions: Any) -> None:
    sessions.say(ASK, ANSWER, ttl_seconds=100)
    sessions.clock.now_ms += 99_000
    assert sessions.seen() == ["question", "answer"]
    sessions.clock.now_ms += 2_000
    assert sessions.seen() == []

    sessions.say(("user", "new"), ("assistant", "life"), ttl_seconds=100)

    assert sessions.seen() == ["new", "life"]
    assert sessions.begin().window()["version"] == 2


def test_a_head_that_the_store_deleted_does_not_bring_old_turns_back(sessions: Any) -> None:
    sessions.say(ASK, ANSWER, ttl_seconds=100)
    sessions.clock.now_ms += 101_000
    del sessions.store._partitions["SESSION#s"]["HEAD"]

    sessions.say(("user", "new"), ("assistant", "life"), ttl_seconds=100)

    assert sessions.seen() == ["new", "life"]


def test_a_session_in_use_outlives_many_periods(sessions: Any) -> None:
    for n in range(12):
        sessions.say(("user", f"q{n}"), ("assistant", f"a{n}"), ttl_seconds=100)
        sessions.clock.now_ms += 60_000

    assert len(sessions.seen()) == 24


def test_an_identity_can_be_used_again_after_the_session_expired(sessions: Any) -> None:
    sessions.say(ASK, ANSWER, identity="order-7", ttl_seconds=100)
    sessions.clock.now_ms += 101_000

    sessions.say(("user", "new"), ("assistant", "life"), identity="order-7", ttl_seconds=100)

    assert sessions.seen() == ["new", "life"]


def test_clearing_hides_what_came_before_and_keeps_what_follows(sessions: Any) -> None:
    sessions.say(ASK, ANSWER)
    work = sessions.begin()
    work.append([turn("user", "x"), turn("assistant", "y")], metadata=None, clear=False)
    work.append([], metadata=None, clear=True)
    work.append([turn("user", "q"), turn("assistant", "a")], metadata=None, clear=False)
    work.save(5)

    assert sessions.seen() == ["q", "a"]

    work = sessions.begin()
    work.append([], metadata=None, clear=True)
    work.save(5)
    assert sessions.seen() == []


def test_metadata_is_kept_and_replaced_whole(sessions: Any) -> None:
    work = sessions.begin()
    work.append([], metadata={"plan": "pro", "ratio": 0.5}, clear=False)
    work.save(5)

    assert sessions.begin().window()["metadata"] == {"plan": "pro", "ratio": 0.5}


def test_a_discarded_question_is_not_stored(sessions: Any) -> None:
    work = sessions.begin()
    work.append([turn("user", "q")], metadata=None, clear=False)
    work.fail()
    work.save(5)

    assert not any(sk.startswith("TURN#") for sk in sessions.store.partition())


def test_an_item_of_a_newer_version_is_refused_with_words(sessions: Any) -> None:
    sessions.say(ASK, ANSWER)
    newer = sessions.store.partition()["HEAD"]
    attributes = {**newer.attributes, "schema": 2}
    sessions.store.put_if(Put(newer._replace(attributes=attributes)), deadline_ms=0)

    with pytest.raises(errors.StoreRefusedError, match="Update the layer"):
        sessions.begin().window()


def test_the_window_reads_no_more_than_it_needs(sessions: Any) -> None:
    for n in range(40):
        sessions.say(("user", f"q{n}"), ("assistant", f"a{n}"))

    assert sessions.seen(max_messages=4) == ["q38", "a38", "q39", "a39"]
