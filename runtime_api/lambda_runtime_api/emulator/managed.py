"""Managed Instances: one environment that runs several invocations at once, and is never frozen.

    Init, before anybody invokes ─► N workers wait ─► INVOKE, INVOKE, … at once ─► SHUTDOWN
                                                       └─ an extension or the runtime ends: all end

The runtime forks N workers, each of which asks for invocations itself. Extensions get SHUTDOWN and
nothing else. A timeout tells the caller, and touches nobody: a worker that goes on is told with its
answer that it comes too late. A worker that dies is not replaced, and its caller hears of it when
the time is over, or at once where it was streaming its answer; a stream may end by an `error`, too.

Source: AWS's Runtime Interface Emulator with `AWS_LAMBDA_MAX_CONCURRENCY` set, observed from
outside (`tests/e2e/test_managed_agreement.py` asks both), and the Lambda developer guide, "Lambda
Managed Instances", 2026-10.
"""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lambda_runtime_api.emulator.api import LOGS_PATH, Api, not_found
from lambda_runtime_api.emulator.lifecycle import (
    as_told_to_the_runtime,
    new_trace,
    produced_bytes,
)
from lambda_runtime_api.emulator.moves import RefusedError, State
from lambda_runtime_api.emulator.phases import CUT_SECONDS
from lambda_runtime_api.emulator.platform_events import TIMED_OUT, Done
from lambda_runtime_api.emulator.responses import ERROR_TYPE, Response
from lambda_runtime_api.emulator.server import Answer
from lambda_runtime_api.emulator.states import Life
from lambda_runtime_api.emulator.streams import Invocation
from lambda_runtime_api.emulator.variables import MANAGED_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambda_runtime_api.emulator import phases as phase
    from lambda_runtime_api.emulator.api import Invocation as Event
    from lambda_runtime_api.emulator.lifecycle import Call
    from lambda_runtime_api.emulator.logs import LogPump
    from lambda_runtime_api.emulator.moves import Fault
    from lambda_runtime_api.emulator.states import Extension
    from lambda_runtime_api.emulator.streams import Receiver
    from lambda_runtime_api.emulator.variables import Function
    from lambda_runtime_api.http1 import Request

INIT_SECONDS = 130.0
"""How long Init may take at least. Source: the guide, "Execution environment lifecycle"."""

UNAVAILABLE = "Runtime.Unavailable"
WORKER_SECONDS = 1.0
"""How long an invocation waits for a worker that has just answered another one; AWS's emulator
refuses it at once.
"""

TOO_LATE_MAX = 1_000
"""So many invocations that timed out are remembered, for workers that answer them yet."""

_INVALID_ID = (400, "InvalidRequestID", "Invalid request ID")

_LAMBDAS_OWN = re.compile(r"(Runtime|Function|Extension)\.[A-Z][A-Za-z]+$")
"""Names of errors that telemetry repeats; any other becomes `Runtime.Unknown`."""


class Worker:
    """One worker's question for an invocation, which waits for it."""

    def __init__(self) -> None:
        self.event: Event | None = None


class Running:
    """One invocation that a worker has got."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self.responding = False
        self.response: Response | None = None
        self.error_name = ""
        """What telemetry calls the error that the runtime told of."""


class ManagedLife(Life):
    """One life in which many invocations run at once."""

    def __init__(self, external_names: Iterable[str], workers: int) -> None:
        """Expect the registrations of external extensions, and this many workers."""
        super().__init__(external_names, lambda: str(uuid4()))
        self._workers = workers
        self._waiting: list[Worker] = []
        self._running: dict[str, Running] = {}
        self._timed_out: dict[str, None] = {}

    @property
    def runtime_waits(self) -> bool:
        """Whether every worker waits; AWS's emulator waits for the first of them only."""
        return self._runtime is State.READY and len(self._waiting) == self._workers

    @property
    def initialised(self) -> bool:
        """Whether every worker waits, and every extension waits for its SHUTDOWN."""
        return self.runtime_waits and self._extensions_ready

    @property
    def running(self) -> int:
        """How many invocations are under way."""
        return len(self._running)

    @property
    def decided(self) -> bool:
        """Whether it is known if there is a worker for one more invocation."""
        return bool(self._waiting) or self.running >= self._workers

    def register(self, name: str, request: object) -> Extension:
        """An extension registers, for SHUTDOWN or for nothing."""
        events = request.get("events") if isinstance(request, dict) else None
        if name and isinstance(events, list) and "INVOKE" in events:
            message = "INVOKE: ErrorInvalidEventType"
            raise RefusedError(403, "Extension.InvalidEventType", message)
        return super().register(name, request)

    def worker_next(self) -> Worker:
        """A worker is ready for an invocation."""
        self._move_runtime("next")
        self._registration_open = False
        worker = Worker()
        self._waiting.append(worker)
        return worker

    def begin(self, request_id: str, event: Event) -> Running | None:
        """Give an invocation to a worker; None when all of them are busy."""
        if not self._waiting:
            return None
        self._waiting.pop(0).event = event
        self._running[request_id] = Running(event)
        return self._running[request_id]

    def begin_response(self, request_id: str) -> Receiver:
        """A worker begins to answer; return where that goes."""
        running = self._answered(request_id)
        if running.responding:
            raise RefusedError(*_INVALID_ID)
        running.responding = True
        return running.event.receiver

    def respond(self, request_id: str, response: Response, error_name: str = "") -> None:
        """A worker answers, or has streamed its answer to its end."""
        running = self._answered(request_id)
        del self._running[request_id]
        running.response = response
        running.error_name = error_name

    def _answered(self, request_id: str) -> Running:
        if request_id in self._timed_out:
            del self._timed_out[request_id]
            raise RefusedError(410, "InvokeTimeout", "Invoke timeout")
        running = self._running.get(request_id)
        if running is None:
            raise RefusedError(*_INVALID_ID)
        return running

    def give_up(self, request_id: str, *, timed_out: bool) -> None:
        """Nobody waits for this answer any more."""
        self._running.pop(request_id, None)
        if timed_out:
            self._timed_out[request_id] = None
            while len(self._timed_out) > TOO_LATE_MAX:
                del self._timed_out[next(iter(self._timed_out))]


class ManagedApi(Api):
    """The APIs of such an environment; the Logs API is not there."""

    life: ManagedLife | None

    def __init__(self, function: Function, workers: int) -> None:
        """Begin without a life.

        Args:
            function: The function.
            workers: How many processes ask for invocations.
        """
        super().__init__(function, MANAGED_INSTANCES)
        self._workers = workers

    def new_life(self, external_names: Iterable[str]) -> ManagedLife:
        """Make the states of a new life."""
        return ManagedLife(external_names, self._workers)

    def _route(self, life: Life, path: str, request: Request, body: bytes) -> Answer | None:
        if path == LOGS_PATH:
            return not_found()
        return super()._route(life, path, request, body)

    def _runtime_next(self, life: Any) -> Answer | None:
        worker = life.worker_next()
        self.changed.notify_all()
        while worker.event is None:
            self.changed.wait()
            if life.ended:
                return None
        headers = [("content-type", "application/json"), *worker.event.headers]
        return Answer(200, headers, worker.event.payload)

    def _take(self, life: Any, request_id: str, response: Response, request: Request) -> None:
        if request.target.endswith("/response"):
            life.begin_response(request_id)
        named = request.header(ERROR_TYPE)
        name = named if _LAMBDAS_OWN.match(named) else "Runtime.Unknown"
        life.respond(request_id, response, name if response.error_type else "")

    def _begin_stream(self, life: Any, request_id: str) -> Receiver:
        receiver: Receiver = life.begin_response(request_id)
        return receiver

    def _end_stream(self, life: Any, request_id: str, response: Response) -> None:
        named = response.error_type or ""
        name = named if _LAMBDAS_OWN.match(named) else "Runtime.Unknown"
        life.respond(request_id, response, name if named else "")


class ManagedInstance:
    """Runs invocations in one environment; for many threads at once."""

    def __init__(
        self, function: Function, phases: phase.Phases, api: ManagedApi, pump: LogPump
    ) -> None:
        self._function = function
        self._phases = phases
        self._api = api
        self._pump = pump
        self._starting = threading.Lock()
        self._cold = False
        self._init_ms: float | None = None
        self._keeper: threading.Thread | None = None

    def initialise(self) -> Fault | None:
        """Run the Init phase, unless it has been; return why it failed, if it did."""
        with self._starting:
            if self._phases.alive:
                return None
            begun = time.monotonic()
            fault = self._phases.initialise(
                begun + max(INIT_SECONDS, self._function.timeout_seconds)
            )
            if fault is not None:
                self._phases.reset("failure")
                return fault
            self._cold, self._init_ms = True, (time.monotonic() - begun) * 1_000
            self._keeper = threading.Thread(target=self._keep, name="emulator-keeper", daemon=True)
            self._keeper.start()
            return None

    def run(self, call: Call) -> None:
        """Run one invocation; its receiver gets its answer, or what Lambda says in its place."""
        fault = self.initialise()
        begun = time.monotonic()
        first_line = self._pump.count
        with self._starting:
            cold, self._cold = self._cold, False
        init_ms = self._init_ms if cold else None
        response = _refusal(fault.error_type) if fault else self._run(call, begun)
        duration_ms = (time.monotonic() - begun) * 1_000
        logs = self._pump.lines_from(first_line)
        said = (response.payload, response.error_type)
        ended = Invocation(call.request_id, *said, cold, init_ms, duration_ms, logs)
        call.receiver.finish(ended, response.content_type)

    def wait_until_idle(self) -> None:
        """Wait until no invocation is under way, and no environment is being ended."""
        with self._api.changed:
            life = self._api.life
            if life is not None:
                self._api.changed.wait_for(lambda: life.ended or not (life.running or life.fault))

    def shut_down(self, reason: str) -> None:
        """End the processes, if there are any; the next invocation starts others."""
        with self._starting:
            if self._phases.alive:
                self._phases.reset(reason)
            keeper = self._keeper
        self._join(keeper)

    def kill(self) -> None:
        """End the processes without SHUTDOWN."""
        with self._starting:
            self._phases.kill()
            keeper = self._keeper
        self._join(keeper)

    def _join(self, keeper: threading.Thread | None) -> None:
        if keeper is not None:
            keeper.join()

    def _keep(self) -> None:
        """End the environment when a part of it has ended."""
        life = self._api.life
        with self._api.changed:
            self._api.changed.wait_for(lambda: life is None or life.fault or life.ended)
        with self._starting:
            if life is not None and life is self._api.life and life.fault is not None:
                self._pump.note(f"{life.fault.error_type}: {life.fault.message}")
                self._phases.reset("failure")

    def _run(self, call: Call, begun: float) -> Response:
        deadline = begun + self._function.timeout_seconds
        tracing = call.headers.get("x-amzn-trace-id") or new_trace()
        event = as_told_to_the_runtime(call, self._function.arn, deadline, tracing)
        with self._api.changed:
            life = self._api.life
            if life is None or life.shutting_down or life.fault is not None:
                return _refusal("Client.ExecutionEnvironmentUnhealthy")
            self._api.changed.wait_for(
                lambda: life.decided or life.fault or life.ended, WORKER_SECONDS
            )
            running = life.begin(call.request_id, event)
            self._api.changed.notify_all()
        if running is None:
            return _refusal(UNAVAILABLE)
        self._pump.note(f"START RequestId: {call.request_id}\tVersion: {self._function.version}")
        self._phases.events.started(call.request_id, tracing)
        response = self._wait(life, running, call.request_id, deadline)
        duration_ms = (time.monotonic() - begun) * 1_000
        answered = running.response is not None
        failed = running.error_name if answered else response.error_type or ""
        self._pump.note(f"END RequestId: {call.request_id}")
        self._pump.note(f"REPORT RequestId: {call.request_id}\tDuration: {duration_ms:.2f} ms")
        size = produced_bytes(call.receiver, response, answered=True)
        streamed_ms = call.receiver.response_ms
        done = Done(duration_ms, size, failed, answered, response_ms=streamed_ms)
        self._phases.events.ended(call.request_id, done, tracing)
        return response

    def _wait(
        self, life: ManagedLife, running: Running, request_id: str, deadline: float
    ) -> Response:
        """Wait for the worker's answer, for the end of the environment, or for the timeout."""
        with self._api.changed:
            self._api.changed.wait_for(
                lambda: running.response is not None or life.fault is not None or life.ended,
                max(0.0, deadline - time.monotonic()),
            )
            if running.responding and life.fault is not None:
                self._api.changed.wait_for(lambda: running.response is not None, CUT_SECONDS)
            if running.response is not None:
                return running.response
            timed_out = life.fault is None and not life.ended
            life.give_up(request_id, timed_out=timed_out)
            self._api.changed.notify_all()
        if timed_out:
            seconds = self._function.timeout_seconds
            return _refusal(TIMED_OUT, f"Task timed out after {seconds:.2f} seconds")
        return _refusal(life.fault.error_type if life.fault else "Runtime.ExitError")


def _refusal(error_type: str, message: str = "") -> Response:
    """Make what the caller gets when no worker has answered."""
    body = {"errorType": error_type, **({"errorMessage": message} if message else {})}
    return Response(json.dumps(body, separators=(",", ":")).encode(), error_type)
