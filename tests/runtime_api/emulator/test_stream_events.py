"""What a subscriber of the Telemetry API is told of streamed responses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e import telemetry_seen
from fakes.streaming_runtime import END, plan, write_runtime
from lambda_runtime_api.emulator import Environment

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("awslambdaric")


def told(
    tmp_path: Path, *last: list[Any], managed: bool = False
) -> list[tuple[str, dict[str, Any]]]:
    """Stream "one" and then this; return the events of its end."""
    wanted = {"schema": "2025-01-29", "events": ["SHUTDOWN"]}
    gate = tmp_path / "gate"
    with Environment(
        write_runtime(tmp_path / "runtime"),
        "none",
        opt=telemetry_seen.install(tmp_path / "subscriber"),
        variables={"SUBSCRIBER_PLAN": json.dumps(wanted)},
        timeout_seconds=2,
        managed_concurrency=1 if managed else 0,
    ) as environment:
        stream = environment.invoke_stream(plan(["chunk", "one"], ["gate", str(gate)], *last))
        assert next(stream) == b"one"
        gate.touch()
        list(stream)
        environment.wait_until_idle()
        environment.shutdown()
        seen = telemetry_seen.read(environment.logs)
    kinds = {"platform.runtimeDone": "runtimeDone", "platform.report": "report"}
    events = [(event["type"], event["record"]) for event in seen.telemetry]
    return [(kinds[kind], record) for kind, record in events if kind in kinds]


def test_bytes_are_counted_and_times_parted(tmp_path: Path) -> None:
    [(_, done), (_, report)] = told(tmp_path, ["chunk", "two"], *END)

    assert (done["status"], done["metrics"]["producedBytes"]) == ("success", 6)
    spans = {span["name"]: span["durationMs"] for span in done["spans"]}
    assert all(spans[name] > 0 for name in ("responseLatency", "responseDuration"))
    assert report["status"] == "success"


@pytest.mark.parametrize(
    ("last", "status", "error_type"),
    [
        ([["fail", "ValueError", {}], ["told"]], "success", None),
        ([], "success", None),
        ([["exit", 1]], "error", "Runtime.ExitError"),
        ([["pause", 60]], "timeout", None),
    ],
    ids=["trailers", "cut", "exit", "timeout"],
)
def test_what_has_come_is_counted_whatever_ended_it(
    tmp_path: Path, last: list[list[Any]], status: str, error_type: str | None
) -> None:
    """Lambda calls a stream with an error in its trailers a success."""
    [(kind, done), *_] = told(tmp_path, *last)

    assert kind == "runtimeDone"
    assert done["metrics"]["producedBytes"] == 3
    assert (done["status"], done.get("errorType")) == (status, error_type)


@pytest.mark.parametrize(
    ("last", "error_type"),
    [
        ([["fail", "Function.Mine", {}], ["told"]], "Function.Mine"),
        ([["fail", "ValueError", {}], ["told"]], "Runtime.Unknown"),
        ([], "Runtime.TruncatedResponse"),
    ],
    ids=["Lambda's name", "an exception's", "cut"],
)
def test_managed_instances_call_it_an_error(
    tmp_path: Path, last: list[list[Any]], error_type: str
) -> None:
    [(kind, report)] = told(tmp_path, *last, managed=True)

    assert kind == "report"
    assert (report["status"], report["errorType"]) == ("error", error_type)
