"""Who holds `/next`: each line of the table in ARCHITECTURE.md, on a clock set by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fakes.clocks import START_MS, HandClock
from lambda_runtime_api.extensions import ApiRefusedError
from lambdallm_extension.domain import flush
from lambdallm_extension.domain.circuit import FAILURES_MAX, Circuit
from lambdallm_extension.lifecycle import REFUSALS_MAX, SHUTDOWN_RESERVE_MS, Lifecycle

TIMEOUT_MS = 10_000


class Host:
    """Answers the loop from a script and notes what it was asked, with the time it granted."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.begun: set[str] = set()
        self.ends = True
        self.persists = True
        self.store = Circuit()
        self.asked: list[tuple[str, int]] = []
        self.held: list[str] = []
        self.reopened = 0
        self.cloned = False
        self.invoked_until: dict[str, int] = {}

    def invoked(self, request_id: str, deadline_ms: int) -> None:
        self.invoked_until[request_id] = deadline_ms

    def hold(self, request_id: str) -> None:
        self.held.append(request_id)

    def _wait(self, what: str, seconds: float, outcome: bool) -> bool:
        if seconds:
            self.asked.append((what, round(seconds * 1_000)))
        if not outcome:
            self.clock.now_ms += round(seconds * 1_000)
        return outcome

    def wait_begun(self, request_id: str, seconds: float) -> bool:
        return self._wait("begun", seconds, request_id in self.begun)

    def wait_ended(self, request_id: str, seconds: float) -> bool:
        return self._wait("ended", seconds, self.ends)

    def wait_persisted(self, seconds: float) -> bool:
        return self._wait("persisted", seconds, self.persists)

    def hold_ms(self) -> int:
        return flush.persist_max_ms(self.store.state(self.clock.now_ms))

    def renew(self) -> bool:
        cloned, self.cloned = self.cloned, False
        return cloned

    def reopen(self) -> None:
        self.reopened += 1

    def finish(self, seconds: float) -> None:
        self.asked.append(("finish", round(seconds * 1_000)))


class Api:
    """Plays events; an event may be a call that makes it, or raises."""

    def __init__(self, *events: Any) -> None:
        self.events = list(events)
        self.polls = 0
        self.ended: Any = None

    def next_event(self) -> Mapping[str, Any]:
        self.polls += 1
        event = self.events.pop(0) if self.events else SHUTDOWN
        return event() if callable(event) else event


SHUTDOWN = {"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": START_MS + 2_000}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def host(clock: HandClock) -> Host:
    return Host(clock)


def invoke(clock: HandClock, request_id: str = "r") -> Callable[[], dict[str, Any]]:
    return lambda: {
        "eventType": "INVOKE", "requestId": request_id, "invokedFunctionArn": "arn",
        "deadlineMs": clock.now_ms + TIMEOUT_MS,
    }  # fmt: skip


def run(clock: HandClock, host: Host | None, *events: Any) -> tuple[Api, list[float], list[str]]:
    api, slept, logged = Api(*events), [], []
    loop = Lifecycle(api, lambda: host, clock, slept.append, logged.append)
    api.ended = loop.run()
    return api, slept, logged


def test_without_the_sdk_the_environment_is_released_at_once(clock: HandClock, host: Host) -> None:
    run(clock, host, invoke(clock, "1"), invoke(clock, "2"))

    assert host.held == []
    assert clock.now_ms == START_MS


def test_with_the_sdk_it_is_held_until_the_end_and_the_store(clock: HandClock, host: Host) -> None:
    host.begun = {"1"}
    run(clock, host, invoke(clock, "1"))

    assert host.held == ["1", ""]
    assert [what for what, _ in host.asked][:3] == ["begun", "ended", "persisted"]
    assert host.asked[2] == ("persisted", flush.PERSIST_MAX_MS)


def test_an_sdk_that_was_there_last_time_is_waited_for_a_moment(
    clock: HandClock, host: Host
) -> None:
    host.begun = {"1"}
    run(clock, host, invoke(clock, "1"), invoke(clock, "2"), invoke(clock, "3"))

    assert ("begun", flush.BEGIN_GRACE_MS) in host.asked
    assert clock.now_ms == START_MS + flush.BEGIN_GRACE_MS, "once for invocation 2, not for 3"
    assert host.held == ["1", "", "2", ""]


def test_a_store_that_is_down_does_not_hold_the_environment(clock: HandClock, host: Host) -> None:
    host.begun, host.persists = {"1", "2", "3"}, False
    host.store = Circuit().failed(clock.now_ms)
    run(clock, host, invoke(clock, "1"))
    assert ("persisted", flush.OUTAGE_MAX_MS) in host.asked

    host.asked = []
    for _ in range(FAILURES_MAX):
        host.store = host.store.failed(clock.now_ms)
    run(clock, host, invoke(clock, "2"))
    assert "persisted" not in [what for what, _ in host.asked], "not at all while it is open"

    clock.now_ms = host.store.retry_at_ms
    run(clock, host, invoke(clock, "3"))
    assert ("persisted", flush.OUTAGE_MAX_MS) in host.asked, "one try when the pause is over"


def test_whatever_happens_it_is_released_before_the_deadline(clock: HandClock, host: Host) -> None:
    host.begun, host.ends = {"1"}, False
    run(clock, host, invoke(clock, "1"))

    reserve = flush.reserve_ms(TIMEOUT_MS)
    assert ("ended", TIMEOUT_MS - reserve) in host.asked
    assert host.held == ["1", ""], "a late `end` knows that it must not answer first"


def test_persisting_never_crosses_the_deadline_either(clock: HandClock, host: Host) -> None:
    host.begun = {"1"}

    def late() -> dict[str, Any]:
        return {**invoke(clock, "1")(), "deadlineMs": clock.now_ms + 900}

    run(clock, host, late)

    assert ("persisted", 800) in host.asked


def test_connections_are_replaced_after_a_gap_and_not_without(clock: HandClock, host: Host) -> None:
    def after_a_freeze() -> dict[str, Any]:
        clock.now_ms += 60_000
        return invoke(clock, "2")()

    run(clock, host, invoke(clock, "1"), after_a_freeze, invoke(clock, "3"))

    assert host.reopened == 1


def test_shutdown_uses_its_time_and_keeps_a_reserve(clock: HandClock, host: Host) -> None:
    run(clock, host)

    assert host.asked == [("finish", 2_000 - SHUTDOWN_RESERVE_MS)]


def test_an_engine_that_never_loaded_releases_every_invocation(clock: HandClock) -> None:
    api, _, _ = run(clock, None, invoke(clock, "1"), invoke(clock, "2"))

    assert api.polls == 3


def refuse() -> dict[str, Any]:
    raise ApiRefusedError(500, "", "container error")


@pytest.mark.parametrize(
    "fault",
    [
        refuse,
        {},
        {"eventType": "INVOKE"},
        lambda: (_ for _ in ()).throw(ConnectionResetError()),
    ],
)
def test_a_faulty_answer_is_waited_out_and_logged_once(
    clock: HandClock, host: Host, fault: Any
) -> None:
    api, slept, logged = run(clock, host, fault, fault, invoke(clock))

    if fault == {}:
        assert api.polls == 4, "an event of an unknown type is no fault: the next one is asked for"
    else:
        assert (len(slept), len(logged)) == (2, 1)


def test_it_ends_when_nobody_answers_any_more(clock: HandClock, host: Host) -> None:
    api, slept, _ = run(clock, host, *[refuse] * 100)

    assert api.polls == REFUSALS_MAX
    assert max(slept) == 1.0
    assert not api.ended, "so that the launcher knows that this was no SHUTDOWN"


def test_a_fault_while_holding_does_not_end_the_loop(
    clock: HandClock, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_request_id: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(host, "hold", fail)
    host.begun = {"1"}
    api, _, logged = run(clock, host, invoke(clock, "1"), invoke(clock, "2"))

    assert api.ended.reason == "spindown"
    assert "ZeroDivisionError" in logged[0]


@pytest.mark.parametrize("which", ["wall", "monotonic", "boottime"])
def test_a_gap_on_any_clock_may_have_been_a_freeze(
    clock: HandClock, host: Host, which: str
) -> None:
    def later() -> dict[str, Any]:
        clock.jump(which, 60)
        return invoke(clock, "2")()

    run(clock, host, invoke(clock, "1"), later)

    assert host.reopened == 1


def test_the_first_invoke_after_a_restore_renews_and_opens_nothing_twice(
    clock: HandClock, host: Host
) -> None:
    def restored() -> dict[str, Any]:
        clock.jump("wall", 86_400)
        return invoke(clock, "1")()

    host.cloned = True
    run(clock, host, restored, invoke(clock, "2"))

    assert not host.cloned
    assert host.reopened == 0


def test_the_engine_knows_which_invocation_runs_and_until_when(
    clock: HandClock, host: Host
) -> None:
    run(clock, host, invoke(clock, "1"))

    assert list(host.invoked_until) == ["1"]
    assert host.invoked_until["1"] > clock.now_ms
