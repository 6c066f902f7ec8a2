"""What a receipt may cost: who makes one up, or brings another session's, holds nobody up."""

from typing import Any

import pytest

from lambdallm_extension import errors
from lambdallm_extension.services.seen_exchanges import (
    EVENT_MAX_MS,
    FORGOTTEN_MS,
    SKEW_MS,
    VAIN_MAX,
    VainWaits,
)
from lambdallm_wire.receipts import session_mark


class Sleeper:
    """Time that passes while somebody waits."""

    def __init__(self, sessions: Any) -> None:
        self._clock, self.slept = sessions.clock, 0.0

    def __call__(self, seconds: float) -> None:
        self.slept += seconds
        self._clock.now_ms += round(seconds * 1_000)


def present(sessions: Any, waits: VainWaits, identity: str, **receipt: Any) -> float:
    """Present a receipt of what is not there; return how long that was waited for."""
    after = {"identity": identity, "version": 1,
             "until_epoch_ms": sessions.clock.now_ms + 60_000, **receipt}  # fmt: skip
    sleep = Sleeper(sessions)
    work = sessions.begin(after=after, vain_waits=waits, sleep=sleep)
    with pytest.raises(errors.NotYetStoredError):
        work.window()
    return round(sleep.slept, 3)


def test_made_up_receipts_cost_less_each_time(sessions: Any) -> None:
    waits = VainWaits()

    assert [present(sessions, waits, f"made up {each}") for each in range(6)] == [
        2.0, 0.8, 0.3, 0.07, 0.0, 0.0,
    ]  # fmt: skip
    sessions.clock.now_ms += FORGOTTEN_MS + 1
    assert [present(sessions, waits, f"made up {each}") for each in range(2)] == [2.0, 0.8]


def test_one_that_comes_is_waited_for_in_full_again(sessions: Any) -> None:
    waits = VainWaits()
    for each in range(5):
        present(sessions, waits, f"made up {each}")
    sessions.say(("user", "question"), ("assistant", "answer"), identity="known")
    for each in range(20):
        sessions.say(("user", f"q{each}"), ("assistant", f"a{each}"))
    after = {"identity": "known", "version": 0, "until_epoch_ms": sessions.clock.now_ms}
    window = sessions.begin(after=after, vain_waits=waits, max_messages=2).window()

    assert [turn["content"] for turn in window["turns"]] == ["q19", "a19"]
    assert present(sessions, waits, "another") == 2.0


def test_sessions_wait_apart_and_are_forgotten_at_last() -> None:
    waits = VainWaits()
    waits.note("a", 0, vain=True)
    assert (len(waits.waits("a", 0)), len(waits.waits("b", 0))) == (7, 11)

    for number in range(VAIN_MAX):
        waits.note(f"other {number}", 0, vain=True)

    assert len(waits.waits("a", 0)) == 11


@pytest.mark.parametrize(
    ("receipt", "reason"),
    [
        ({"session": session_mark("other")}, "another session's"),
        ({"session": session_mark("s", "owner")}, "another session's"),
        ({"late_ms": EVENT_MAX_MS + SKEW_MS + 1}, "no event is over so late"),
    ],
)
def test_what_no_answer_here_said_is_refused_before_anything_is_read(
    sessions: Any, receipt: Any, reason: str
) -> None:
    until = sessions.clock.now_ms + receipt.get("late_ms", 1_000)
    after = {"identity": "made up", "version": 1, "until_epoch_ms": until, **receipt}
    sleep = Sleeper(sessions)
    work = sessions.begin(after=after, sleep=sleep)

    with pytest.raises(errors.InvalidRequestError, match=reason):
        work.window()
    assert (sleep.slept, sessions.store.requests) == (0.0, [])


def test_the_mark_of_its_own_session_is_one_of_its_own(sessions: Any) -> None:
    sessions.say(("user", "question"), ("assistant", "answer"), identity="known")
    until = sessions.clock.now_ms + EVENT_MAX_MS
    after = {"identity": "known", "version": 1, "until_epoch_ms": until,
             "session": session_mark("s")}  # fmt: skip

    assert len(sessions.begin(after=after).window()["turns"]) == 2
