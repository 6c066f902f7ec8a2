"""One invocation after another: when the phases run, what the caller hears, what is logged.

first       INIT (10 s) ─► INVOKE ─► INVOKE ─► … ─► SHUTDOWN
INIT fails  reset ─► INIT again, inside the invocation and its timeout
INVOKE fails, or times out: the caller is told ─► reset ─► next INVOKE begins with such an INIT
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from lambda_runtime_api.emulator import api as apis, phases as phase
from lambda_runtime_api.emulator.confinement import MB_PER_CPU
from lambda_runtime_api.emulator.platform_events import TIMED_OUT, Bill, Done
from lambda_runtime_api.emulator.responses import Response, problem_payload
from lambda_runtime_api.emulator.snapshots import RESTORE_SECONDS
from lambda_runtime_api.emulator.streams import Invocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambda_runtime_api.emulator.logs import LogPump
    from lambda_runtime_api.emulator.moves import Fault
    from lambda_runtime_api.emulator.streams import Receiver
    from lambda_runtime_api.emulator.variables import Function

_PASSED_ON = (
    ("x-amz-client-context", "Lambda-Runtime-Client-Context"),
    ("x-amz-tenant-id", "Lambda-Runtime-Aws-Tenant-Id"),
)


class Call(NamedTuple):
    """An invocation on its way."""

    request_id: str
    payload: bytes
    headers: Mapping[str, str]
    """Of the caller's request, by lower-case names."""
    receiver: Receiver
    """Told as soon as the runtime has answered, or cannot any more."""


class Lifecycle:
    """Drives the phases of one environment; not for two threads at once."""

    def __init__(
        self,
        function: Function,
        phases: phase.Phases,
        pump: LogPump,
        *,
        init_seconds: float,
        freeze: bool = False,
    ) -> None:
        self._freeze = freeze
        self._function = function
        self._phases = phases
        self._pump = pump
        self._init_seconds = init_seconds
        self._unclean = False

    def shut_down(self, reason: str) -> None:
        """End the processes, if there are any; what comes next is a new environment."""
        if self._phases.alive:
            self._phases.reset(reason)
        self._unclean = False

    def kill(self) -> None:
        """End the processes without SHUTDOWN; what comes next is a new environment."""
        self._phases.kill()
        self._unclean = False

    def initialise(self) -> None:
        """Run the Init phase alone, to the snapshot where there is one, unless it has been."""
        if not self._phases.alive and not self._unclean:
            self._initialise_first()
        if self._freeze:
            self._phases.freeze()

    def run(self, call: Call) -> None:
        """Run one invocation to its end, with the Init phase that it needs."""
        self._phases.thaw()
        first_line = self._pump.count
        cold = not self._phases.alive
        init_ms = self._initialise_first() if cold and not self._unclean else None
        begun = time.monotonic()
        deadline = begun + self._function.timeout_seconds
        tracing = call.headers.get("x-amzn-trace-id") or new_trace()
        fault = self._prepare(deadline)
        self._start(call, tracing)
        response = fault or self._invoke(call, deadline, tracing)
        answer = _as_response(call.request_id, response)
        duration_ms = _ms_since(begun)
        logs = self._pump.lines_from(first_line)
        said = (answer.payload, answer.error_type)
        ended = Invocation(call.request_id, *said, cold, init_ms, duration_ms, logs)
        call.receiver.finish(ended, answer.content_type)
        fault = None if isinstance(response, Response) else response
        fault = fault or self._phases.wait_for_runtime(deadline)
        done = Done(
            duration_ms,
            produced_bytes(call.receiver, answer, answered=fault is None),
            _failed(fault),
            overhead_ms=_ms_since(begun) - duration_ms,
            response_ms=call.receiver.response_ms,
        )
        self._phases.events.runtime_done(call.request_id, done, tracing)
        waited = time.monotonic()
        fault = fault or self._phases.wait_for_all(deadline)
        done = Done(_ms_since(begun), 0, _failed(fault), overhead_ms=_ms_since(waited))
        bill = self._finish(call, fault, begun, init_ms)
        self._phases.events.ended(call.request_id, done, tracing, bill)
        logs[:] = self._pump.lines_from(first_line)
        if self._freeze:
            self._phases.freeze()

    def _initialise_first(self) -> float | None:
        """Run the Init phase of a new environment; None when it failed and must be repeated."""
        begun = time.monotonic()
        self._phases.limit_cpu(None)  # Lambda gives Init more than the function's own share
        fault = self._phases.initialise(begun + self._init_seconds)
        self._phases.limit_cpu(self._function.memory_mb / MB_PER_CPU)
        init_ms = _ms_since(begun)
        if fault is None:
            return init_ms
        timed_out = fault.error_type == TIMED_OUT
        self._pump.note(
            f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: init"
            f"\tStatus: {'timeout' if timed_out else 'error'}\tError Type: {fault.error_type}"
        )
        self._phases.reset("timeout" if timed_out else "failure")
        return None

    def _prepare(self, deadline: float) -> Fault | None:
        """Run what is part of the invocation and comes before it: an Init phase, a restore."""
        fault = None if self._phases.alive else self._phases.initialise(deadline, "invoke")
        return fault or self._phases.restore(time.monotonic() + RESTORE_SECONDS)

    def _start(self, call: Call, tracing: str) -> None:
        """Tell that an invocation begins."""
        self._pump.note(f"START RequestId: {call.request_id} Version: {self._function.version}")
        tenant = call.headers.get("x-amz-tenant-id", "")
        self._phases.events.started(call.request_id, tracing, tenant)

    def _invoke(self, call: Call, deadline: float, tracing: str) -> Response | Fault:
        invocation = as_told_to_the_runtime(call, self._function.arn, deadline, tracing)
        self._phases.begin_invoke(call.request_id, deadline, tracing, invocation)
        return self._phases.wait_for_response(deadline)

    def _finish(self, call: Call, fault: Fault | None, begun: float, init_ms: float | None) -> Bill:
        """Report the invocation; reset the environment if it failed."""
        duration_ms = _ms_since(begun)
        billed_ms = int(duration_ms + (init_ms or 0)) + 1
        bill = Bill(billed_ms, self._phases.memory_used_mb, init_ms)
        report = [
            f"REPORT RequestId: {call.request_id}",
            f"Duration: {duration_ms:.2f} ms",
            f"Billed Duration: {billed_ms} ms",
            f"Memory Size: {self._function.memory_mb} MB",
        ]
        if init_ms is not None:
            report.append(f"Init Duration: {init_ms:.2f} ms")
        if fault is not None:
            timed_out = fault.error_type == TIMED_OUT
            report.append("Status: timeout" if timed_out else "Status: error")
            report.append(f"Error Type: {fault.error_type}")
            self._pump.note(f"RequestId: {call.request_id} Error: {fault.message}")
            if self._phases.alive:
                self._phases.reset("timeout" if timed_out else "failure")
        self._unclean = fault is not None
        self._pump.note(f"END RequestId: {call.request_id}")
        self._pump.note("\t".join(report))
        return bill


def as_told_to_the_runtime(call: Call, arn: str, deadline: float, tracing: str) -> apis.Invocation:
    """Make what the runtime gets of a call."""
    headers = [
        ("Lambda-Runtime-Aws-Request-Id", call.request_id),
        ("Lambda-Runtime-Deadline-Ms", str(phase.epoch_ms_at(deadline))),
        ("Lambda-Runtime-Invoked-Function-Arn", arn),
        ("Lambda-Runtime-Trace-Id", tracing),
    ]
    headers += [(theirs, call.headers[ours]) for ours, theirs in _PASSED_ON if ours in call.headers]
    return apis.Invocation(headers, call.payload, call.receiver)


def produced_bytes(receiver: Receiver, response: Response, *, answered: bool) -> int:
    """Count what the runtime has answered: of a stream what came of it, whatever ended it."""
    if receiver.begun:
        return receiver.size_bytes
    return len(response.payload) if answered else 0


def _as_response(request_id: str, response: Response | Fault) -> Response:
    """Word a fault as Lambda does for the caller."""
    if isinstance(response, Response):
        return response
    message = f"RequestId: {request_id} Error: {response.message}"
    payload = response.payload or problem_payload(response.error_type, message)
    return Response(payload, response.error_type)


def _ms_since(begun: float) -> float:
    return (time.monotonic() - begun) * 1_000


def _failed(fault: Fault | None) -> str:
    return fault.error_type if fault else ""


def new_trace() -> str:
    """Make a trace header, as the service does for calls that bring none."""
    root, parent = uuid4().hex, uuid4().hex
    return f"Root=1-{root[:8]}-{root[8:]};Parent={parent[:16]};Sampled=0"
