"""What an extension asks of the Telemetry API, and what it reads of a batch, garbage too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from lambda_runtime_api import telemetry
from lambda_runtime_api.emulator.telemetry import parse_subscription
from lambda_runtime_api.telemetry import Report, RuntimeDone

REPORT = {
    "time": "2026-11-21T09:28:36.035Z",
    "type": "platform.report",
    "record": {
        "requestId": "r1",
        "status": "success",
        "metrics": {
            "durationMs": 1836.2, "billedDurationMs": 1837, "memorySizeMB": 512,
            "maxMemoryUsedMB": 88, "initDurationMs": 210.5,
        },
    },
}  # fmt: skip


def with_metrics(**metrics: Any) -> list[Any]:
    record = REPORT["record"]
    assert isinstance(record, dict)
    return [{**REPORT, "record": {**record, "metrics": {**record["metrics"], **metrics}}}]


def test_the_emulator_takes_what_is_asked() -> None:
    subscription = parse_subscription(telemetry.subscription(4_711, "/bills"))

    assert subscription.types == ("platform",)
    assert subscription.schema == telemetry.SCHEMA
    assert (subscription.destination.protocol, subscription.destination.port) == ("HTTP", 4_711)
    assert subscription.buffering.timeout_ms == telemetry.LATEST_MS
    managed = telemetry.subscription(1, "/", schema=telemetry.MANAGED_SCHEMA)
    assert parse_subscription(managed, [telemetry.MANAGED_SCHEMA]).schema == "2025-01-29"


def test_reports_are_read_and_what_else_is_told_is_not() -> None:
    done = {
        "type": "platform.runtimeDone",
        "record": {"requestId": "r2", "status": "timeout", "metrics": {"durationMs": 3000.25}},
    }
    others: list[Any] = [
        {"type": "platform.start", "record": {"requestId": "r1"}},
        {"type": "platform.future", "record": 7},
        {"type": "function", "record": "a line"},
        {"type": ["platform.report"]},
        "nonsense",
        None,
    ]

    assert telemetry.read_events([others[0], REPORT, *others[1:], done]) == [
        Report("r1", "success", 1_837, 512, 88, 210.5),
        RuntimeDone("r2", "timeout", 3000.25),
    ]


def test_a_report_without_a_bill_is_none() -> None:
    without = {"requestId": "r1", "status": "success", "metrics": {"durationMs": 12.5}}

    assert telemetry.read_events([{"type": "platform.report", "record": without}]) == []


@pytest.mark.parametrize("number", [-1, "1837", None, True, 1e300, float("nan"), float("inf"), []])
def test_a_bill_that_nobody_has_measured_is_none(number: Any) -> None:
    assert telemetry.read_events(with_metrics(billedDurationMs=number)) == []
    assert telemetry.read_events(with_metrics(memorySizeMB=number)) == []
    (report,) = telemetry.read_events(with_metrics(initDurationMs=number))
    assert isinstance(report, Report)
    assert report.init_ms is None


@pytest.mark.parametrize("batch", [{}, None, "[]", 7])
def test_what_is_no_batch_is_refused(batch: Any) -> None:
    with pytest.raises(ValueError, match="JSON array"):
        telemetry.read_events(batch)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_KINDS = st.sampled_from(["platform.report", "platform.runtimeDone", "platform.start"])
_RECORDS = st.dictionaries(st.sampled_from(["requestId", "status", "metrics"]), _ANY)


@given(st.lists(st.fixed_dictionaries({"type": _KINDS | _ANY, "record": _RECORDS | _ANY}) | _ANY))
def test_nothing_in_a_batch_is_a_fault(batch: list[Any]) -> None:
    for event in telemetry.read_events(json.loads(json.dumps(batch))):
        assert event.request_id is not None
