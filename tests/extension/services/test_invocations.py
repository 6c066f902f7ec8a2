"""Units of work: opened, closed once, reported once, whatever becomes of their process."""

from threading import Event, Thread
from typing import Any

import pytest

from lambdallm_extension import errors
from lambdallm_extension.ports import InvocationReport
from lambdallm_extension.services.invocations import Invocations
from lambdallm_extension.services.metering import Recorder
from lambdallm_extension.services.store_health import StoreHealth
from lambdallm_wire.tokens import NO_USAGE


class Reports:
    def __init__(self) -> None:
        self.emitted: list[InvocationReport] = []
        self.logged: list[str] = []

    def emit(self, report: InvocationReport) -> None:
        self.emitted.append(report)

    def log(self, message: str) -> None:
        self.logged.append(message)


class Desk:
    """An `Invocations` and what stands around it."""

    def __init__(self, sessions: Any) -> None:
        self.sessions = sessions
        self.reports = Reports()
        recorder = Recorder(
            sessions.store, sessions.workers, sessions.clock, StoreHealth(sessions.clock)
        )
        self.invocations = Invocations(
            lambda: sessions.store, lambda: recorder, sessions.workers, sessions.clock,
            self.reports, environment_id=lambda: "env", remembering=pytest.fail,
        )  # fmt: skip

    def begin(
        self, work_id: str = "w", *, connection: int = 1, durability: str = "", **more: Any
    ) -> None:
        rule: Any = None
        if durability:
            rule = {
                "session_id": "s", "identity": work_id, "ttl_seconds": 60,
                "memory": {"strategy": "full_history"}, "durability": durability,
            }  # fmt: skip
        self.invocations.begin(
            {
                "work_id": work_id, "request_id": work_id, "session": rule, "cold_start": True,
                "deadline_epoch_ms": self.sessions.clock.now_ms + 10_000, **more,
            },
            connection,
        )  # fmt: skip

    def say(self, work_id: str = "w") -> None:
        self.invocations.session(work_id).append(
            [
                {"role": role, "content": role, "metadata": {}, "at_epoch_ms": 1}
                for role in ("user", "assistant")
            ],
            metadata=None,
            clear=False,
        )


@pytest.fixture
def desk(sessions: Any) -> Desk:
    return Desk(sessions)


def test_end_returns_totals_and_emits_one_report(desk: Desk) -> None:
    desk.begin()
    desk.invocations.find("w").totals.settle(
        "m", {**NO_USAGE, "uncached_input_tokens": 3, "cache_read_tokens": 4, "output_tokens": 2},
        70, 5,
    )  # fmt: skip
    reply = desk.invocations.end({"work_id": "w", "outcome": "ok", "handler_ms": 12.5}, 1)

    assert reply == {
        "calls": 1, "input_tokens": 7, "output_tokens": 2, "cost_pico_usd": 70,
        "unpriced_calls": 0, "session_version": 0,
    }  # fmt: skip
    (report,) = desk.reports.emitted
    assert (report.outcome, report.handler_ms, report.cold_start) == ("ok", 12.5, True)
    with pytest.raises(errors.InvalidRequestError, match="not open"):
        desk.invocations.end({"work_id": "w"}, 1)


def test_end_waits_for_the_session(desk: Desk) -> None:
    desk.begin(durability="before_response")
    desk.say()

    assert desk.invocations.end({"work_id": "w", "outcome": "ok"}, 1)["session_version"] == 1
    assert desk.sessions.seen() == ["user", "assistant"]
    assert desk.reports.emitted[0].session_read_ms is not None
    assert desk.reports.emitted[0].session_save_ms is not None


def test_a_write_that_failed_is_told_and_the_unit_is_closed(desk: Desk) -> None:
    desk.begin(durability="before_response")

    def fail() -> None:
        raise errors.StoreRefusedError("No permission.")

    desk.sessions.store.before_transact = [fail]
    desk.say()
    with pytest.raises(errors.StoreRefusedError):
        desk.invocations.end({"work_id": "w", "outcome": "ok"}, 1)

    (report,) = desk.reports.emitted
    assert (report.outcome, report.error_code) == ("error", "state")
    assert desk.invocations.wait_persisted(0)


def hold_back_writes(desk: Desk) -> Event:
    go = Event()
    desk.sessions.store.before_transact = [lambda: go.wait(10) and None]
    return go


def test_after_response_answers_first_while_the_environment_is_held(desk: Desk) -> None:
    go = hold_back_writes(desk)
    desk.begin(durability="after_response")
    desk.invocations.hold("w")
    desk.say()
    desk.invocations.end({"work_id": "w", "outcome": "ok"}, 1)

    assert desk.sessions.store.partition() == {}
    assert not desk.invocations.wait_persisted(0)
    go.set()
    assert desk.invocations.wait_persisted(10)
    assert desk.sessions.seen() == ["user", "assistant"]


def test_after_response_waits_when_the_environment_could_be_frozen(desk: Desk) -> None:
    desk.begin(durability="after_response")
    desk.say()
    desk.invocations.end({"work_id": "w", "outcome": "ok"}, 1)

    assert desk.invocations.wait_persisted(0)
    assert desk.sessions.seen() == ["user", "assistant"]


@pytest.mark.parametrize("durability", ["before_response", "after_response"])
def test_a_process_that_died_is_settled_and_reported_as_killed(desk: Desk, durability: str) -> None:
    desk.begin("w1", durability=durability)
    desk.begin("w2", connection=2)
    desk.say("w1")
    desk.invocations.disconnected(1)

    (report,) = desk.reports.emitted
    assert (report.work_id, report.outcome) == ("w1", "killed")
    assert desk.sessions.seen() == ["user", "assistant"]
    assert desk.invocations.find("w2")


def test_a_session_that_somebody_comes_for_is_not_read_before(desk: Desk) -> None:
    desk.begin(durability="before_response", window_follows=True)
    assert desk.sessions.store.requests == []

    assert desk.invocations.session("w").window()["turns"] == []
    assert desk.sessions.store.requests == ["query"]


def test_a_unit_begun_again_closes_the_one_before(desk: Desk) -> None:
    desk.begin()
    desk.begin(connection=2)

    assert desk.invocations.wait_persisted(5)
    assert [report.outcome for report in desk.reports.emitted] == ["killed"]
    desk.invocations.disconnected(1)
    assert desk.invocations.find("w").connection == 2


def test_waiting_for_begin_and_end(desk: Desk) -> None:
    assert not desk.invocations.wait_begun("w", 0)
    desk.begin()
    assert desk.invocations.wait_begun("w", 0)
    assert not desk.invocations.wait_ended("w", 0)
    desk.invocations.end({"work_id": "w", "outcome": "ok"}, 1)
    assert desk.invocations.wait_ended("w", 0)


def test_a_session_that_was_not_declared_is_refused_with_words(desk: Desk) -> None:
    desk.begin()
    with pytest.raises(errors.InvalidRequestError, match="session=Session"):
        desk.invocations.session("w")


def test_what_a_process_left_at_its_deadline_is_still_written(desk: Desk) -> None:
    go = hold_back_writes(desk)
    desk.begin(durability="before_response")
    desk.say()
    desk.sessions.clock.now_ms += 10_001
    closing = Thread(target=desk.invocations.disconnected, args=[1])
    closing.start()

    assert not desk.invocations.wait_persisted(0.05)
    go.set()
    assert desk.invocations.wait_persisted(10)
    closing.join(10)
    assert desk.sessions.seen() == ["user", "assistant"]


def test_a_call_under_way_when_its_process_dies_is_in_the_report(desk: Desk) -> None:
    desk.begin()
    work = desk.invocations.find("w")
    with work.calling():
        closing = Thread(target=desk.invocations.disconnected, args=[1])
        closing.start()
        assert not desk.invocations.wait_persisted(0.05)
        work.totals.settle("m", {**NO_USAGE, "output_tokens": 2}, 70, 5)
    closing.join(10)

    (report,) = desk.reports.emitted
    assert (report.outcome, report.calls, report.cost_pico_usd) == ("killed", 1, 70)


def test_units_that_nobody_ends_make_way(desk: Desk) -> None:
    desk.begin("old")
    desk.sessions.clock.now_ms += 60_000
    desk.begin("new")

    assert desk.invocations.wait_persisted(5)
    assert [report.work_id for report in desk.reports.emitted] == ["old"]


def test_a_full_table_closes_its_oldest_unit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambdallm_extension.services.invocations.WORKS_MAX", 3)
    for name in "abcd":
        desk.begin(name)

    assert desk.invocations.wait_persisted(5)
    assert [report.work_id for report in desk.reports.emitted] == ["a"]
    assert desk.invocations.find("d")


def test_another_connection_cannot_end_a_unit(desk: Desk) -> None:
    desk.begin()
    with pytest.raises(errors.InvalidRequestError, match="another connection"):
        desk.invocations.end({"work_id": "w"}, 2)

    assert desk.invocations.find("w")


def test_a_report_that_cannot_be_written_leaves_nothing_hanging(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_report: InvocationReport) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(desk.reports, "emit", fail)
    desk.begin("a")
    desk.begin("b")
    desk.invocations.disconnected(1)

    assert desk.invocations.wait_persisted(0)
    assert len(desk.reports.logged) == 2


def test_a_silent_store_is_told_before_the_deadline(desk: Desk) -> None:
    desk.begin(durability="before_response")
    work = desk.invocations.find("w")

    assert work.deadline_ms - work.store_deadline_ms() == 500, "5 % of 10 s"
    desk.sessions.clock.now_ms += 9_501
    assert work.store_seconds() < 0
    go = hold_back_writes(desk)
    desk.say()
    with pytest.raises(errors.WriteUncertainError, match="may have been written"):
        desk.invocations.end({"work_id": "w", "outcome": "ok"}, 1)
    go.set()


def test_a_unit_that_has_moved_is_reported_as_that_and_leaves_the_session_alone(
    desk: Desk,
) -> None:
    """Whoever goes on with it writes all that was said, the question too."""
    desk.begin(durability="before_response")
    desk.invocations.session("w").append(
        [{"role": "user", "content": "q", "metadata": {}, "at_epoch_ms": 1}],
        metadata=None,
        clear=False,
    )
    desk.invocations.end({"work_id": "w", "outcome": "moved"}, 1)
    desk.invocations.disconnected(1)

    (report,) = desk.reports.emitted
    assert report.outcome == "moved"
    assert not [sk for sk in desk.sessions.store.partition() if sk.startswith("TURN")]
