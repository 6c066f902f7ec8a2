"""Whose a call is that brings no unit of work: the only one's, its trace's, or nobody's."""

from typing import Any

import pytest

from lambdallm_extension.domain import flush
from lambdallm_extension.services.invocations import LONGEST_MS, Invocations
from lambdallm_extension.services.works import trace_root
from lambdallm_wire.tokens import NO_USAGE


def trace(name: str) -> str:
    return f"Root={name};Parent=53995c3f42cd8ad8;Sampled=1"


class Reports:
    def __init__(self) -> None:
        self.emitted: list[Any] = []

    def emit(self, report: Any) -> None:
        self.emitted.append(report)

    def log(self, message: str) -> None:
        raise AssertionError(message)


class Desk:
    def __init__(self, sessions: Any) -> None:
        self.clock = sessions.clock
        self.reports = Reports()
        self.invocations = Invocations(
            lambda: sessions.store, lambda: None, sessions.workers, sessions.clock,  # type: ignore[arg-type,return-value]
            self.reports, environment_id=lambda: "env", remembering=pytest.fail,  # type: ignore[arg-type]
        )  # fmt: skip

    def begin(self, work_id: str, trace_id: str = "", left_ms: int = 10_000) -> None:
        self.invocations.begin(
            {
                "work_id": work_id, "request_id": work_id, "session": None, "trace_id": trace_id,
                "deadline_epoch_ms": self.clock.now_ms + left_ms,
            },  # type: ignore[typeddict-item]
            1,
        )  # fmt: skip

    def whose(self, header: str = "") -> str | None:
        work = self.invocations.attribute(header)
        return work and work.work_id


@pytest.fixture
def desk(sessions: Any) -> Desk:
    return Desk(sessions)


def test_the_only_open_unit_pays_for_what_says_nothing(desk: Desk) -> None:
    assert desk.whose() is None
    desk.begin("w1")

    assert [desk.whose(), desk.whose(trace("t")), desk.whose("nonsense")] == ["w1"] * 3


def test_a_call_of_another_trace_is_not_the_only_units(desk: Desk) -> None:
    desk.begin("w1", trace("t1"))

    assert (desk.whose(), desk.whose(trace("t1")), desk.whose(trace("t2"))) == ("w1", "w1", None)


def test_among_several_the_trace_decides(desk: Desk) -> None:
    desk.begin("w1", trace("t1"))
    desk.begin("w2", trace("t2"))

    assert (desk.whose(), desk.whose(trace("t3"))) == (None, None)
    assert (desk.whose(trace("t1")), desk.whose(trace("t2"))) == ("w1", "w2")


def test_units_of_one_trace_are_not_told_apart(desk: Desk) -> None:
    """As the records of one batch: it is nobody's rather than the wrong one's."""
    desk.begin("w1", trace("t1"))
    desk.begin("w1-2", trace("t1"))

    assert desk.whose(trace("t1")) is None


def test_a_session_by_hand_is_not_the_payer_beside_its_event(desk: Desk) -> None:
    desk.invocations.invoked("w1", desk.clock.now_ms + 10_000)
    desk.begin("session-1", trace("t1"))
    desk.begin("w1", trace("t1"))

    assert [desk.whose(), desk.whose(trace("t1"))] == ["w1"] * 2


def test_where_several_invocations_run_at_once_only_the_trace_tells(desk: Desk) -> None:
    desk.invocations.never_frozen = True
    desk.begin("w1", trace("t1"))

    assert (desk.whose(), desk.whose(trace("t1"))) == (None, "w1")


def test_a_unit_that_nobody_can_end_any_more_is_nobodys_payer(desk: Desk) -> None:
    desk.begin("w1", trace("t1"))
    desk.clock.now_ms += 15_001

    assert (desk.whose(), desk.whose(trace("t1"))) == (None, None)
    desk.begin("w2")
    assert desk.whose() == "w2"


@pytest.mark.parametrize(
    ("header", "root"),
    [
        ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=5;Sampled=1",
         "1-5759e988-bd862e3fe1be46a994272793"),
        ("Sampled=0; Root=1-2", "1-2"), ("Root=", ""), ("root=1", ""), ("", ""), (";;=;Root", ""),
    ],
)  # fmt: skip
def test_the_root_of_a_trace_is_read(header: str, root: str) -> None:
    assert trace_root(header) == root


def test_a_call_that_is_nobodys_ends_before_the_invocation_that_runs(desk: Desk) -> None:
    assert desk.invocations.unattributed().deadline_ms == desk.clock.now_ms + LONGEST_MS
    desk.invocations.invoked("r1", desk.clock.now_ms + 3_000)
    payer = desk.invocations.unattributed()
    early_ms = round(flush.reserve_ms(3_000))  # so that its client can tell
    assert (payer.work_id, payer.deadline_ms) == ("", desk.clock.now_ms + 3_000 - early_ms)

    payer.totals.settle("m", {**NO_USAGE, "output_tokens": 2}, 70, 5)
    payer.end()
    (report,) = desk.reports.emitted
    assert (report.request_id, report.outcome, report.cost_pico_usd) == ("r1", "unattributed", 70)


def test_an_invocation_that_is_over_bounds_nothing(desk: Desk) -> None:
    desk.invocations.invoked("r1", desk.clock.now_ms + 3_000)
    desk.clock.now_ms += 3_000

    assert desk.invocations.unattributed().deadline_ms == desk.clock.now_ms + LONGEST_MS
