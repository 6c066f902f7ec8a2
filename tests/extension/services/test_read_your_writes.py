"""Who has seen an answer is never shown a session without it, whoever wrote it and wherever."""

from typing import Any

import pytest

from lambdallm_extension import errors
from lambdallm_extension.services.recent_sessions import RecentSessions
from lambdallm_extension.services.seen_exchanges import LATE_WRITES_MS

SEEN = ["before", "known", "question", "answer"]


def turn(role: str, content: object) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": 1}


def after(sessions: Any, identity: str = "early", lives_ms: int = 30_000) -> Any:
    return {"identity": identity, "version": 1, "until_epoch_ms": sessions.clock.now_ms + lives_ms}


class Sleeper:
    """Time that passes while somebody waits, and what happens then."""

    def __init__(self, sessions: Any, at: float = 1e9, happens: Any = None) -> None:
        self._clock, self._at, self._happens, self.slept = sessions.clock, at, happens, 0.0

    def __call__(self, seconds: float) -> None:
        self.slept += seconds
        self._clock.now_ms += round(seconds * 1_000)
        if self._happens is not None and self.slept >= self._at:
            happens, self._happens = self._happens, None
            happens()


def early(sessions: Any) -> Any:
    """An event that has answered, and is still to be written."""
    sessions.say(("user", "before"), ("assistant", "known"))
    sessions.durability = "after_response"
    work = sessions.begin("early")
    work.append([turn("user", "question"), turn("assistant", "answer")], metadata=None, clear=False)
    assert work.may_answer_first
    return work


def see(sessions: Any, receipt: Any, sleep: Any, **more: Any) -> list[Any]:
    window = sessions.begin(after=receipt, sleep=sleep, **more).window()
    return [each["content"] for each in window["turns"]]


@pytest.mark.parametrize("max_messages", [None, 4])
def test_a_reader_waits_for_what_its_caller_has_seen(
    sessions: Any, max_messages: int | None
) -> None:
    work = early(sessions)
    recent = RecentSessions()
    for _ in range(3):
        sessions.begin(recent_sessions=recent, max_messages=max_messages).window()
    sleep = Sleeper(sessions, 1.0, lambda: work.save(5))

    assert see(sessions, after(sessions), sleep, recent_sessions=recent,
               max_messages=max_messages) == SEEN  # fmt: skip
    assert 1.0 <= sleep.slept < 2.0


def test_what_is_there_is_not_waited_for_and_costs_no_request(sessions: Any) -> None:
    early(sessions).save(5)
    sessions.store.requests.clear()
    sleep = Sleeper(sessions)

    assert see(sessions, after(sessions), sleep) == SEEN
    assert (sleep.slept, sessions.store.requests) == (0.0, ["query"])


def test_a_window_that_has_moved_on_is_shown_as_it_is(sessions: Any) -> None:
    early(sessions).save(5)
    for number in range(5):
        sessions.say(("user", f"q{number}"), ("assistant", f"a{number}"))

    assert see(sessions, after(sessions), Sleeper(sessions), max_messages=2) == ["q4", "a4"]


def test_after_two_seconds_the_reader_is_told_to_ask_again_and_writes_nothing(
    sessions: Any,
) -> None:
    early(sessions)
    sleep = Sleeper(sessions)
    reader = sessions.begin(after=after(sessions), sleep=sleep)
    before = sessions.store.partition()

    with pytest.raises(errors.NotYetStoredError, match="not stored yet") as told:
        reader.window()
    assert (told.value.retryable, told.value.retry_after_seconds) == (True, 1.0)
    assert round(sleep.slept, 3) == 2.0

    reader.append([turn("user", "x"), turn("assistant", "y")], metadata=None, clear=False)
    with pytest.raises(errors.NotYetStoredError):
        reader.save(5)
    assert sessions.store.partition() == before


def test_what_will_never_come_is_said_to_be_lost(sessions: Any) -> None:
    early(sessions)  # and its writer dies
    receipt = after(sessions, lives_ms=1_000)
    sessions.clock.now_ms += 1_000 + LATE_WRITES_MS + 1

    with pytest.raises(errors.LostExchangeError, match="never stored") as told:
        see(sessions, receipt, Sleeper(sessions))
    assert not told.value.retryable


def test_what_would_have_expired_is_not_asked_for(sessions: Any) -> None:
    receipt = after(sessions, lives_ms=0)
    sessions.clock.now_ms += 3_700_000

    assert see(sessions, receipt, Sleeper(sessions)) == []


def test_another_delivery_of_the_event_is_as_good(sessions: Any) -> None:
    early(sessions)  # dies
    again = sessions.begin("early")
    again.append([turn("user", "question"), turn("assistant", "another")], metadata=None,
                 clear=False)  # fmt: skip
    sleep = Sleeper(sessions, 0.5, lambda: again.save(5))

    assert see(sessions, after(sessions), sleep) == ["before", "known", "question", "another"]


def test_what_another_delivery_has_left_unanswered_is_waited_for(sessions: Any) -> None:
    sessions.durability = "before_response"
    first = sessions.begin("early")
    first.append([turn("user", "question")], metadata=None, clear=False)
    first.save(5)
    sessions.durability = "after_response"
    again = sessions.begin("early")
    again.append([turn("user", "question"), turn("assistant", "answer")], metadata=None,
                 clear=False)  # fmt: skip
    sleep = Sleeper(sessions, 0.5, lambda: again.save(5))

    assert see(sessions, after(sessions), sleep) == ["question", "answer"]
    assert sleep.slept >= 0.5


def test_an_event_that_presents_itself_waits_for_nobody(sessions: Any) -> None:
    sessions.say(("user", "before"), ("assistant", "known"))
    sleep = Sleeper(sessions)

    assert see(sessions, after(sessions), sleep, identity="early") == ["before", "known"]
    assert sleep.slept == 0.0


def test_who_asks_again_within_an_event_is_shown_what_has_come(sessions: Any) -> None:
    work = early(sessions)
    reader = sessions.begin()
    assert [each["content"] for each in reader.window()["turns"]] == ["before", "known"]
    work.save(5)

    assert [each["content"] for each in reader.window(after(sessions))["turns"]] == SEEN


@pytest.mark.parametrize(
    "said", [["user"], ["user", "assistant", "user"], ["user", "assistant"] * 46]
)
def test_what_a_reader_could_not_tell_is_waited_for_before_the_response(
    sessions: Any, said: list[str]
) -> None:
    sessions.durability = "after_response"
    work = sessions.begin()
    work.append([turn(role, "x") for role in said], metadata=None, clear=False)

    assert not work.may_answer_first


def test_metadata_and_clearing_come_with_the_exchange_in_one_transaction(sessions: Any) -> None:
    sessions.say(("user", "before"), ("assistant", "known"))
    sessions.durability = "after_response"
    work = sessions.begin()
    work.append([], metadata=None, clear=True)
    work.append([turn("user", "q"), turn("assistant", "a")], metadata={"n": 1}, clear=False)
    assert work.may_answer_first
    del sessions.store.transactions[:]
    work.save(5)

    assert len(sessions.store.transactions) == 1
    window = sessions.begin().window()
    assert [each["content"] for each in window["turns"]] == ["q", "a"]
    assert window["metadata"] == {"n": 1}
