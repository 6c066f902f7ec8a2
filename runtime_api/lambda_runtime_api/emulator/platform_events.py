"""The records of `platform.*` events, in the shape of the newest schema.

    initStart ─► initRuntimeDone ─► extension … ─► initReport ─► [restoreStart ─► restoreRuntimeDone
    ─► restoreReport] ─► (start ─► runtimeDone ─► report) …

On Managed Instances there is no `runtimeDone`, a report has a duration and no bill, and an
exception in the handler is an error; elsewhere the runtime has then done its work. There a timeout
has no type, and `start` comes after an Init phase or a restore that is part of the invocation.

Source: Lambda developer guide, "Telemetry API Event schema reference", 2026-10; `handlers.go` of
AWS's Runtime Interface Emulator, and what that sends for Managed Instances.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from lambda_runtime_api.emulator.telemetry import timestamp
from lambda_runtime_api.emulator.variables import MANAGED_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lambda_runtime_api.emulator.moves import Fault
    from lambda_runtime_api.emulator.states import Extension
    from lambda_runtime_api.emulator.variables import Function

TIMED_OUT = "Sandbox.Timedout"

MIB = 1_048_576
INSTANCE_ID = "0123456789abcdef0123456789abcdef"
"""Stands in the name of the log stream too, as on AWS."""


class Done(NamedTuple):
    """What the runtime made of an invocation, or what prevented it."""

    duration_ms: float
    produced_bytes: int
    error_type: str = ""
    """What Lambda itself says of it; "" for success."""
    answered: bool = True
    """Whether the runtime said something."""
    overhead_ms: float = 0.0
    """How long the runtime was busy with itself after its answer, or extensions after that."""
    response_ms: float = 0.0
    """How long a streamed answer took, from its first byte to its last."""

    @property
    def status(self) -> str:
        """`success`, `error` or `timeout`."""
        return _status(self.error_type)


class Bill(NamedTuple):
    """What a report says of an invocation, beside its duration."""

    billed_ms: int
    memory_used_mb: int
    init_ms: float | None


class PlatformEvents:
    """Words what happens to one environment, and publishes it."""

    def __init__(
        self,
        publish: Callable[[str, Mapping[str, Any]], None],
        function: Function,
        initialization_type: str,
    ) -> None:
        """Remember whose events these are.

        Args:
            publish: Told of a kind and a record.
            function: The function.
            initialization_type: As in `AWS_LAMBDA_INITIALIZATION_TYPE`.
        """
        self._publish = publish
        self._function = function
        self._type = initialization_type
        self._managed = initialization_type == MANAGED_INSTANCES

    def init_started(self, phase: str) -> None:
        """Init begins: `phase` is `init`, or `invoke` for one inside an invocation."""
        self._publish(
            "platform.initStart",
            {
                "initializationType": self._type,
                "phase": phase,
                "runtimeVersion": "",
                "runtimeVersionArn": "",
                "functionName": self._function.name,
                "functionVersion": self._function.version,
                "instanceId": INSTANCE_ID,
                "instanceMaxMemory": self._function.memory_mb * MIB,
            },
        )

    def runtime_initialised(self, phase: str, fault: Fault | None) -> None:
        """The runtime asked for its first event, or never will."""
        record = {"initializationType": self._type, "phase": phase, **_outcome(fault)}
        self._publish("platform.initRuntimeDone", record)

    def extensions_initialised(self, extensions: Iterable[Extension]) -> None:
        """Each extension stands where it stands at the end of Init."""
        for extension in extensions:
            record = {
                "name": extension.name,
                "state": extension.state.value,
                "events": list(extension.events),
            }
            self._publish("platform.extension", record)

    def init_ended(self, phase: str, duration_ms: float, fault: Fault | None) -> None:
        """Init is over."""
        record = {
            "initializationType": self._type,
            "phase": phase,
            "metrics": {"durationMs": round(duration_ms, 3)},
            **_outcome(fault),
        }
        self._publish("platform.initReport", record)

    def restore_started(self) -> None:
        """The environment goes on from its snapshot."""
        record = {
            "functionName": self._function.name,
            "functionVersion": self._function.version,
            "instanceId": INSTANCE_ID,
            "instanceMaxMemory": str(self._function.memory_mb * MIB),
            "runtimeVersion": "",
            "runtimeVersionArn": "",
        }
        self._publish("platform.restoreStart", record)

    def restore_ended(self, duration_ms: float, fault: Fault | None) -> None:
        """The hooks of the restore have run, or failed."""
        self._publish("platform.restoreRuntimeDone", _outcome(fault))
        record = {"metrics": {"durationMs": round(duration_ms, 3)}, **_outcome(fault)}
        self._publish("platform.restoreReport", record)

    def started(self, request_id: str, tracing: str, tenant: str = "") -> None:
        """An invocation begins."""
        record: dict[str, Any] = {"requestId": request_id, "version": self._function.version}
        if self._managed:
            record["functionArn"] = self._function.arn
        if tenant:
            record["tenantId"] = tenant
        self._publish("platform.start", {**record, **_tracing(tracing)})

    def runtime_done(self, request_id: str, done: Done, tracing: str) -> None:
        """The runtime has answered, or cannot any more."""
        record = {
            "requestId": request_id,
            "status": done.status,
            **self._error(done),
            "metrics": {
                "durationMs": round(done.duration_ms + done.overhead_ms, 3),
                "producedBytes": done.produced_bytes,
            },
            "spans": [*_spans(done), _span("runtimeOverhead", done.overhead_ms)],
            **_tracing(tracing),
        }
        self._publish("platform.runtimeDone", record)

    def ended(self, request_id: str, done: Done, tracing: str, bill: Bill | None = None) -> None:
        """The invocation is over for extensions too; Managed Instances have no bill."""
        metrics: dict[str, Any] = {"durationMs": round(done.duration_ms, 3)}
        spans: dict[str, Any] = {}
        if bill is None:
            spans = {"spans": _spans(done)} if done.answered else {}
        else:
            spans = {"spans": [_span("extensionOverhead", done.overhead_ms)]}
            metrics["billedDurationMs"] = bill.billed_ms
            metrics["memorySizeMB"] = self._function.memory_mb
            metrics["maxMemoryUsedMB"] = bill.memory_used_mb
            if bill.init_ms is not None:
                metrics["initDurationMs"] = round(bill.init_ms, 3)
        record = {
            "requestId": request_id,
            "status": done.status,
            **self._error(done),
            "metrics": metrics,
            **spans,
            **_tracing(tracing),
        }
        self._publish("platform.report", record)

    def _error(self, done: Done) -> dict[str, str]:
        """Name what failed, where that has a name."""
        named = done.error_type and (self._managed or done.status != "timeout")
        return {"errorType": done.error_type} if named else {}


def _status(error_type: str) -> str:
    if not error_type:
        return "success"
    return "timeout" if error_type == TIMED_OUT else "error"


def _outcome(fault: Fault | None) -> dict[str, str]:
    if fault is None:
        return {"status": "success"}
    return {"status": _status(fault.error_type), "errorType": fault.error_type}


def _tracing(header: str) -> dict[str, Any]:
    """Shape: {"tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=…", "spanId": "…"}}."""
    if not header:
        return {}
    parts = dict(part.partition("=")[::2] for part in header.split(";"))
    tracing = {"type": "X-Amzn-Trace-Id", "value": header}
    if parts.get("Parent"):
        tracing["spanId"] = parts["Parent"]
    return {"tracing": tracing}


def _spans(done: Done) -> list[dict[str, Any]]:
    """Until the first byte of the answer, and until its last: one that is not streamed is one."""
    answered, latency_ms = done.overhead_ms, max(0.0, done.duration_ms - done.response_ms)
    return [
        _span("responseLatency", latency_ms, answered + done.response_ms),
        _span("responseDuration", done.response_ms, answered),
    ]


def _span(name: str, duration_ms: float, ended_ms_ago: float = 0.0) -> dict[str, Any]:
    start = time.time() - (ended_ms_ago + duration_ms) / 1_000
    return {"name": name, "start": timestamp(start), "durationMs": round(duration_ms, 3)}
