"""A call that belongs to no unit of work is paid for and reported all the same."""

from typing import Any

from fakes.clocks import HandClock
from lambdallm_extension.ports import InvocationReport
from lambdallm_extension.services.unattributed import Unattributed
from lambdallm_wire.tokens import NO_USAGE


class Reports(list[InvocationReport]):
    emit = list.append

    def log(self, message: str) -> None: ...

    def drop(self, records: int, *, epoch_ms: int) -> None: ...


def payer(reports: Reports) -> Unattributed:
    clock: Any = HandClock()
    return Unattributed(reports, clock, lambda: "env", request_id="r", deadline_ms=clock.now_ms + 5)


def test_what_it_used_is_reported_once_as_nobodys() -> None:
    reports = Reports()
    call = payer(reports)
    call.begin()
    call.totals.settle("m", {**NO_USAGE, "output_tokens": 3}, None, 40)
    call.totals.fail(throttled=True)
    call.end()
    call.end()

    (report,) = reports
    assert (report.outcome, report.work_id, report.request_id) == ("unattributed", "", "r")
    assert (report.calls, report.errors, report.throttles) == (1, 1, 1)
    assert (report.usage["output_tokens"], report.unpriced_calls) == (3, 1)
    assert (report.models, report.model_latency_ms, report.cost_pico_usd) == (("m",), 40, 0)


def test_what_used_nothing_is_not_reported() -> None:
    reports = Reports()
    call = payer(reports)
    call.begin()
    call.end()

    assert reports == []
