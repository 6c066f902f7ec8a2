"""What a subscriber is told of an environment that is none of Managed Instances.

AWS's emulator has no Telemetry API there: what is expected is the documentation's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e import telemetry_seen
from lambda_runtime_api.emulator.platform_events import Bill, Done, PlatformEvents
from lambda_runtime_api.emulator.snapshots import SnapshotUnavailableError, same_world
from lambda_runtime_api.emulator.variables import MANAGED_INSTANCES, Function

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambda_runtime_api.emulator import Environment

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")

TRACE = "Root=1-00000000-000000000000000000000000;Parent=0123456789abcdef;Sampled=0"


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    return telemetry_seen.install(tmp_path / "subscriber")


@pytest.fixture
def told(start: Callable[..., Environment], opt: Path) -> Callable[..., telemetry_seen.Told]:
    """Run a function with a subscriber; tell what that was told until the end."""

    def run(events: list[Any], schema: str = "2022-12-13", **options: Any) -> telemetry_seen.Told:
        plan = {"schema": schema, "events": ["INVOKE", "SHUTDOWN"]}
        variables = {"SUBSCRIBER_PLAN": json.dumps(plan)}
        with start(opt=opt, variables=variables, **{"timeout_seconds": 20, **options}) as one:
            for event in events:
                one.invoke(event, headers={"x-amzn-trace-id": TRACE, "x-amz-tenant-id": "blue"})
            one.shutdown()
            return telemetry_seen.read(one.logs)

    return run


def platform(told: telemetry_seen.Told) -> list[tuple[str, Any]]:
    """Return what is told to whoever subscribes, and when."""
    return [event for event in told.platform() if event[0] != telemetry_seen.SUBSCRIPTION]


def kinds(told: telemetry_seen.Told) -> list[str]:
    return [kind.removeprefix("platform.") for kind, _ in platform(told)]


INIT = ["initStart", "initRuntimeDone", "extension", "initReport"]
INVOKE = ["start", "runtimeDone", "report"]


@pytest.mark.parametrize("schema", ["2022-07-01", "2022-12-13", "2025-01-29"])
def test_from_init_to_shutdown(told: Callable[..., telemetry_seen.Told], schema: str) -> None:
    seen = told(["one", "two"], schema)

    assert kinds(seen) == [*INIT, *INVOKE, *INVOKE]
    records = [record for _, record in platform(seen)]
    newer = {
        "functionName": "function",
        "functionVersion": "$LATEST",
        "instanceId": "text",
        "instanceMaxMemory": 256 * 1_048_576,
    }
    old = schema == "2022-07-01"
    assert records[0] == {
        "initializationType": "on-demand",
        "phase": "init",
        "runtimeVersion": "",
        "runtimeVersionArn": "",
        **({} if old else newer),
    }
    assert records[1] == {"initializationType": "on-demand", "phase": "init", "status": "success"}
    assert records[2] == {"name": "subscriber", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}
    assert records[3] == {
        "initializationType": "on-demand",
        "phase": "init",
        "metrics": {"durationMs": "number"},
        **({} if old else {"status": "success"}),
    }
    start, done, report = records[4:7]
    assert start == {"requestId": "request 1", "version": "$LATEST", "tenantId": "blue"}
    assert done["status"] == "success"
    assert done["metrics"] == {"durationMs": "number", "producedBytes": len('"one"')}
    assert [span["name"] for span in done["spans"]] == [
        "responseLatency", "responseDuration", "runtimeOverhead"
    ]  # fmt: skip
    assert report["metrics"].keys() == {
        "durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"
    }  # fmt: skip
    assert [span["name"] for span in report["spans"]] == ["extensionOverhead"]
    assert "initDurationMs" not in records[9]["metrics"]
    assert records[9]["requestId"] == "request 2"


def test_the_trace_stands_in_each_event_of_an_invocation(
    told: Callable[..., telemetry_seen.Told],
) -> None:
    events = [event for event in told([1]).telemetry if event["type"][9:] in INVOKE]

    expected = {"type": "X-Amzn-Trace-Id", "value": TRACE, "spanId": "0123456789abcdef"}
    assert [event["record"]["tracing"] for event in events] == [expected] * 3


def test_lines_are_told_with_who_printed_them(told: Callable[..., telemetry_seen.Told]) -> None:
    seen = told([{"a": 1}])

    assert 'event {"a": 1}' in seen.lines("function")
    assert seen.lines("extension") == ["subscribed"]


@pytest.mark.parametrize(
    ("event", "status", "error_type"),
    [("stubborn", "timeout", None), ("exit", "error", "Runtime.ExitError")],
)
def test_a_failure_is_told_before_its_shutdown(
    told: Callable[..., telemetry_seen.Told], event: str, status: str, error_type: str | None
) -> None:
    """Its subscriber ends with it; the next one hears of an Init inside an invocation."""
    seen = told([1, event, 2], timeout_seconds=2)

    before, after = kinds(seen)[: len(INIT) + 5], kinds(seen)[len(INIT) + 5 :]
    assert before == [*INIT, *INVOKE, "start", "runtimeDone"]
    assert after == [*INIT, *INVOKE]
    done = platform(seen)[len(before) - 1][1]
    assert (done["status"], done.get("errorType")) == (status, error_type)
    assert done["metrics"]["producedBytes"] == 0
    assert platform(seen)[len(before)][1]["phase"] == "invoke"
    reasons = [event for event in seen.events if event[0] == "SHUTDOWN"]
    reason = "timeout" if status == "timeout" else "failure"
    assert reasons == [["SHUTDOWN", reason], ["SHUTDOWN", "spindown"]]


def test_a_frozen_subscriber_hears_of_it_when_it_is_thawed(
    told: Callable[..., telemetry_seen.Told],
) -> None:
    seen = told([1, 2], freeze=True)

    assert kinds(seen) == [*INIT, *INVOKE, *INVOKE]


def test_a_restore_comes_before_its_invocation(told: Callable[..., telemetry_seen.Told]) -> None:
    try:
        same_world()
    except SnapshotUnavailableError as error:
        pytest.skip(str(error))

    seen = told([1], snap_start=True)

    restore = ["restoreStart", "restoreRuntimeDone", "restoreReport"]
    assert kinds(seen) == [*INIT, *restore, *INVOKE]
    assert platform(seen)[0][1]["initializationType"] == "snap-start"
    assert platform(seen)[len(INIT) + 1][1] == {"status": "success"}


# Without an environment


def worded(initialization_type: str, tell: Callable[[PlatformEvents], None]) -> dict[str, Any]:
    """Return the one record that was published."""
    records: list[dict[str, Any]] = []
    function = Function("function", "app.handler", 3.0, 512)
    tell(
        PlatformEvents(
            lambda _, record: records.append(dict(record)), function, initialization_type
        )
    )
    (record,) = records
    return record


@pytest.mark.parametrize(
    ("initialization_type", "error_type", "status", "named"),
    [
        ("on-demand", "", "success", None),
        ("on-demand", "Extension.Crash", "error", "Extension.Crash"),
        ("on-demand", "Sandbox.Timedout", "timeout", None),
        (MANAGED_INSTANCES, "Sandbox.Timedout", "timeout", "Sandbox.Timedout"),
    ],
)
def test_how_a_report_names_its_end(
    initialization_type: str, error_type: str, status: str, named: str | None
) -> None:
    done = Done(12.3456, 7, error_type)

    record = worded(initialization_type, lambda events: events.ended("id", done, ""))

    assert (record["status"], record.get("errorType")) == (status, named)
    assert record["metrics"] == {"durationMs": 12.346}
    assert "tracing" not in record


def test_what_a_bill_says() -> None:
    record = worded(
        "on-demand", lambda events: events.ended("id", Done(1.0, 0), TRACE, Bill(2, 30, 4.5))
    )

    assert record["metrics"] == {
        "durationMs": 1.0,
        "billedDurationMs": 2,
        "memorySizeMB": 512,
        "maxMemoryUsedMB": 30,
        "initDurationMs": 4.5,
    }
