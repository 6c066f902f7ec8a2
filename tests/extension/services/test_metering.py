"""Call records on their way to a store that takes them, refuses them, or does not answer."""

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from lambdallm_extension import errors
from lambdallm_extension.domain.circuit import FAILURES_MAX, FIRST_PAUSE_MS
from lambdallm_extension.ports import Key
from lambdallm_extension.services.metering import RECORDS_MAX, CallRecord, Recorder
from lambdallm_extension.services.store_health import StoreHealth
from lambdallm_extension.services.tasks import Workers

Tries = list[str]


@pytest.fixture
def recorder(sessions: Any) -> Recorder:
    health = StoreHealth(sessions.clock)
    return Recorder(sessions.store, sessions.workers, sessions.clock, health)


@pytest.fixture
def fail(sessions: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tries]:
    """Let every write raise; returns the list of those that were tried."""

    def fail(error: Exception) -> Tries:
        tried: Tries = []

        def put_if(put: Any, **_: object) -> None:
            tried.append(put.item.key.pk)
            raise error

        monkeypatch.setattr(sessions.store, "put_if", put_if)
        return tried

    return fail


def record(recorder: Recorder, *names: str, state: str = "settled") -> None:
    for name in names:
        recorder.record(CallRecord(name, state, {}), deadline_ms=0)


def stored(sessions: Any, name: str) -> object:
    item = sessions.store.get(Key(f"CALL#{name}", "CALL"), deadline_ms=0)
    return item and item.attributes["state"]


class Interrupted(Workers):
    """Lets something happen each time when a task has ended, before its waiter goes on."""

    def __init__(self, *steps: Callable[[], None]) -> None:
        super().__init__()
        self._steps = list(steps)

    def start(self, call: Callable[[], Any]) -> Any:
        task = super().start(call)
        wait = task.wait

        def interrupted(seconds: float) -> Any:
            wait(seconds)
            if self._steps:
                self._steps.pop(0)()

        task.wait = interrupted  # type: ignore[method-assign]
        return task


def test_a_record_that_comes_just_then_is_waited_for(sessions: Any) -> None:
    workers = Interrupted(lambda: record(recorder, "c2"), lambda: record(recorder, "c3"))
    recorder = Recorder(sessions.store, workers, sessions.clock, StoreHealth(sessions.clock))
    record(recorder, "c1")

    assert recorder.wait(5)
    assert [stored(sessions, name) for name in ("c1", "c2", "c3")] == ["settled"] * 3


def test_a_record_that_cannot_be_encoded_is_dropped_and_the_others_are_written(
    sessions: Any, recorder: Recorder
) -> None:
    recorder.record(CallRecord("c1", "settled", {"bad": object()}), deadline_ms=0)  # type: ignore[dict-item]
    record(recorder, "c2")

    assert recorder.wait(5)
    assert recorder.take_dropped().records == 1
    assert stored(sessions, "c2") == "settled"


def test_a_refused_record_is_dropped_at_once_and_counted_once(
    recorder: Recorder, fail: Callable[..., Tries]
) -> None:
    tried = fail(errors.StoreRefusedError("Give the function's role dynamodb:PutItem."))
    record(recorder, "c1")

    assert recorder.wait(5)
    assert tried == ["CALL#c1"]
    assert recorder.take_dropped() == (1, "Give the function's role dynamodb:PutItem.")
    assert recorder.take_dropped().records == 0


def test_a_store_that_is_down_is_left_alone_and_the_records_wait(
    sessions: Any, recorder: Recorder, fail: Callable[..., Tries], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fail(errors.StoreUnavailableError("No answer."))
    record(recorder, "c1", "c2")
    assert not recorder.wait(5)
    assert len(tried) == FAILURES_MAX
    record(recorder, "c3")
    assert not recorder.wait(5)
    assert len(tried) == FAILURES_MAX, "not tried while the circuit is open"

    monkeypatch.undo()
    sessions.clock.now_ms += FIRST_PAUSE_MS
    assert recorder.wait(5)
    assert [stored(sessions, name) for name in ("c1", "c2", "c3")] == ["settled"] * 3
    assert recorder.take_dropped().records == 0


def test_an_intent_that_was_kept_never_replaces_its_settlement(
    sessions: Any, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go = Event(), Event()
    put_if = sessions.store.put_if

    def fail_once(put: Any, **rest: Any) -> None:
        monkeypatch.setattr(sessions.store, "put_if", put_if)
        reached.set()
        go.wait(5)
        raise errors.WriteUncertainError("The answer was lost.")

    monkeypatch.setattr(sessions.store, "put_if", fail_once)
    record(recorder, "c1", state="intent")
    reached.wait(5)
    record(recorder, "c1", state="settled")
    go.set()

    assert recorder.wait(5)
    assert stored(sessions, "c1") == "settled"


def test_what_waits_is_bounded_and_the_oldest_is_dropped(
    sessions: Any, recorder: Recorder, fail: Callable[..., Tries], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(errors.StoreUnavailableError("No answer."))
    record(recorder, *(f"c{number}" for number in range(RECORDS_MAX + 50)))
    recorder.wait(5)
    assert recorder.take_dropped() == (50, "No answer.")

    monkeypatch.undo()
    sessions.clock.now_ms += FIRST_PAUSE_MS
    assert recorder.wait(30)
    assert (stored(sessions, "c49"), stored(sessions, "c50")) == (None, "settled")


def test_what_is_abandoned_is_counted(recorder: Recorder, fail: Callable[..., Tries]) -> None:
    fail(errors.StoreUnavailableError("No answer."))
    record(recorder, "c1", "c2")
    recorder.wait(5)

    assert recorder.abandon() == (2, "No answer.")
    assert recorder.wait(5), "nothing is waiting any more"
