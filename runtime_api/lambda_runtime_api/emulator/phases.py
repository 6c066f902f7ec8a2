"""The phases of an environment: INIT, INVOKE, SHUTDOWN, with real processes.

    initialise   extensions start ─► all registered ─► runtime starts ─► all wait for an event
    invoke       event out ─► the runtime answers (the caller's answer) ─► all wait again
    reset        SIGTERM the runtime ─► SHUTDOWN to extensions ─► SIGKILL what is left

Source: Lambda developer guide, "Understanding the Lambda execution environment lifecycle".
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from lambda_runtime_api.emulator.moves import Fault
from lambda_runtime_api.emulator.platform_events import TIMED_OUT
from lambda_runtime_api.emulator.processes import Process, memory_peak_mb
from lambda_runtime_api.emulator.variables import extension_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lambda_runtime_api.emulator.api import Api, Invocation
    from lambda_runtime_api.emulator.confinement import Confinement
    from lambda_runtime_api.emulator.logs import LogPump, Source
    from lambda_runtime_api.emulator.platform_events import PlatformEvents
    from lambda_runtime_api.emulator.responses import Response
    from lambda_runtime_api.emulator.states import Life
    from lambda_runtime_api.emulator.variables import Function, Places

SHUTDOWN_MS = 2_000
"""What the Shutdown phase lasts with an external extension.

Source: Lambda developer guide, "Extensions API", shutdown phase, 2026-10.
"""

RUNTIME_SHUTDOWN_SECONDS = 0.3
"""How much of it the runtime may take after SIGTERM. Source: the same page."""

INTERNAL_SHUTDOWN_SECONDS = 0.5
"""What the phase lasts with internal extensions only, all of it the runtime's; without any
extension there is no such phase. Source: the same page.
"""


RUNTIME_EXIT = "Runtime.ExitError"
CUT_SECONDS = 2.0
"""How long the end of a streamed response that its runtime's end has cut may be on its way."""


class Program(NamedTuple):
    """What an environment starts, how, and where it can ask for events."""

    command: Sequence[str]
    """The runtime's."""
    variables: Mapping[str, str]
    """The function's; an extension gets them less what it may not see."""


class Phases:
    """Runs the phases of one environment, one at a time, and remembers what failed in them."""

    def __init__(
        self,
        function: Function,
        places: Places,
        program: Program,
        api: Api,
        pump: LogPump,
        confinement: Confinement,
    ) -> None:
        self._confinement = confinement
        self.frozen = False
        self._host_failed = False
        self._freezing = threading.Lock()
        self._function = function
        self._places = places
        self._program = program
        self._api = api
        self._pump = pump
        self._extensions: dict[str, Process] = {}
        self._runtime: Process | None = None

    @property
    def alive(self) -> bool:
        """Whether there is an initialised environment that can be invoked."""
        return self._api.life is not None

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what runs: of extensions by their names, of the runtime as `runtime`."""
        processes = {**self._extensions, "runtime": self._runtime}
        return {
            name: process.pid for name, process in processes.items() if process and process.running
        }

    @property
    def memory_used_mb(self) -> int:
        """The most memory that each process has used so far, added up."""
        return sum(memory_peak_mb(pid) for pid in self.pids.values())

    @property
    def events(self) -> PlatformEvents:
        """What subscribers of the Telemetry API are told."""
        return self._api.events

    def freeze(self) -> None:
        """Stop every process where it is, as Lambda does between invocations."""
        with self._freezing:
            life = self._api.life
            if self.frozen or life is None or life.shutting_down:
                return
            self.frozen = True
            self._api.telemetry.pause()
            if not self._confinement.freezes:
                for process in self._processes():
                    process.stop()
            self._confinement.freeze()

    def thaw(self) -> None:
        """Let every process go on."""
        with self._freezing:
            if not self.frozen:
                return
            self.frozen = False
            if not self._confinement.freezes:
                for process in self._processes():
                    process.go_on()
            self._confinement.thaw()
            self._api.telemetry.resume()

    def limit_cpu(self, share: float | None) -> None:
        """Let all processes together use this much of one CPU; None lifts the limit."""
        self._confinement.limit_cpu(share)

    def kill_processes(self) -> None:
        """End all processes without a word, as the failure of a host does; `kill` follows."""
        self._host_failed = True
        for process in self._processes():
            process.kill_soon()
        self.thaw()

    def kill(self) -> None:
        """End all processes and the life of the environment, without SHUTDOWN."""
        self._host_failed = False
        if self._api.life is not None:
            with self._api.changed:
                self._api.life.shutting_down = True
            self._end_all()

    def initialise(self, deadline: float, phase: str = "init") -> Fault | None:
        """Start everything and wait until all are ready.

        Args:
            deadline: On the monotonic clock.
            phase: As telemetry tells it: `init`, or `invoke` inside an invocation.
        """
        if self._host_failed:
            return Fault("Runtime.ExitError", "The host has failed")
        begun = time.monotonic()
        self._api.telemetry.open()
        self.events.init_started(phase)
        fault = self._initialise(deadline, phase)
        self.events.extensions_initialised(self._life.extensions)
        self.events.init_ended(phase, (time.monotonic() - begun) * 1_000, fault)
        self._api.telemetry.close_subscriptions()
        return fault

    def _initialise(self, deadline: float, phase: str) -> Fault | None:
        files = self._extension_files()
        life = self._api.new_life(file.name for file in files)
        with self._api.changed:
            self._api.life = life
        for file in files if life.fault is None else ():
            self._start_extension(life, file)
        if self._wait(lambda: life.registered, deadline) and life.fault is None:
            self._start_runtime(life)
            if self._wait(lambda: life.runtime_waits, deadline) or life.fault is not None:
                self.events.runtime_initialised(phase, life.fault)
            self._wait(lambda: life.initialised or life.before_snapshot, deadline)
        for extension in life.extensions:
            events = ", ".join(extension.events)
            state = extension.state.value
            self._pump.note(
                f"EXTENSION\tName: {extension.name}\tState: {state}\tEvents: [{events}]"
            )
        if life.fault is None and not (life.initialised or life.before_snapshot):
            return Fault(TIMED_OUT, "Init timed out")
        return life.fault

    def restore(self, deadline: float) -> Fault | None:
        """Go on from the snapshot, if everything waits for that.

        Args:
            deadline: On the monotonic clock, for the hooks of the restore.
        """
        life = self._life
        with self._api.changed:
            if not life.before_snapshot:
                return None
            begun = time.monotonic()
            self.events.restore_started()
            if self._api.snapshot is not None:
                self._api.snapshot.restore()
            life.restore()
            self._api.changed.notify_all()
        fault = None
        if not self._wait(lambda: life.initialised, deadline):
            fault = life.fault or Fault(TIMED_OUT, "Restore timed out")
        self.events.restore_ended((time.monotonic() - begun) * 1_000, fault)
        return fault

    def begin_invoke(
        self, request_id: str, deadline: float, tracing: str, invocation: Invocation
    ) -> None:
        """Hand the event out to the runtime and to extensions."""
        event = {
            "eventType": "INVOKE",
            "deadlineMs": epoch_ms_at(deadline),
            "requestId": request_id,
            "invokedFunctionArn": self._function.arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": tracing},
        }
        with self._api.changed:
            self._api.response = None
            self._life.begin_invoke(request_id, event, invocation)
            self._api.changed.notify_all()

    def wait_for_response(self, deadline: float) -> Response | Fault:
        """Wait for the runtime's answer, or for what made it impossible."""
        life = self._life
        self._wait(lambda: life.responded, deadline)
        with self._api.changed:
            if life.fault is not None and life.fault.error_type == RUNTIME_EXIT:
                self._api.changed.wait_for(lambda: not life.responding, CUT_SECONDS)
            if life.responded and self._api.response is not None:
                return self._api.response
            return life.fault or self._timed_out()

    def wait_for_runtime(self, deadline: float) -> Fault | None:
        """Wait until the runtime, which has answered, has asked for the next event."""
        life = self._life
        return self._why_not(lambda: life.runtime_waits, deadline)

    def wait_for_all(self, deadline: float) -> Fault | None:
        """Wait until everybody has asked for the next event."""
        life = self._life
        return self._why_not(lambda: life.idle, deadline)

    def reset(self, reason: str) -> None:
        """End all processes: SHUTDOWN for those who asked for it, SIGKILL for the rest.

        Args:
            reason: `spindown`, `timeout` or `failure`.
        """
        life = self._life
        deadline = time.monotonic() + SHUTDOWN_MS / 1_000
        with self._api.changed:
            life.shutting_down = True  # from here on nobody freezes it
        self.thaw()
        self._end_runtime()
        self._api.telemetry.flush()
        event = {
            "eventType": "SHUTDOWN",
            "shutdownReason": reason,
            "deadlineMs": epoch_ms_at(deadline),
        }
        with self._api.changed:
            leaving = life.begin_shutdown(event)
            self._api.changed.notify_all()
        for name, process in self._extensions.items():
            if name not in leaving:
                process.kill_soon()
        for name in leaving:
            if name in self._extensions:
                self._extensions[name].wait(deadline - time.monotonic())
        self._end_all()

    def _processes(self) -> list[Process]:
        runtime = [self._runtime] if self._runtime is not None else []
        return [*self._extensions.values(), *runtime]

    def _end_all(self) -> None:
        """Kill what still runs, and end the life of the environment."""
        life = self._life
        if self.frozen:
            for process in self._processes():
                process.kill_soon()
            self.thaw()
        for process in self._processes():
            process.kill()
        self._confinement.kill()
        self._api.telemetry.close()
        with self._api.changed:
            life.end()
            self._api.life = None
            self._api.changed.notify_all()
        self._extensions, self._runtime = {}, None

    @property
    def _life(self) -> Life:
        life = self._api.life
        if life is None:
            raise RuntimeError("The environment has not been initialised.")
        return life

    def _extension_files(self) -> list[Path]:
        """Find what AWS would start: every file of the folder, executable or not."""
        if self._places.opt is None or not (self._places.opt / "extensions").is_dir():
            return []
        return sorted(
            path for path in (self._places.opt / "extensions").iterdir() if not path.is_dir()
        )

    def _start_extension(self, life: Life, file: Path) -> None:
        def exited(how: str) -> None:
            with self._api.changed:
                life.extension_exited(file.name, how or "exit code 0")
                self._api.changed.notify_all()

        variables = extension_variables(self._program.variables)
        process = self._start([str(file)], variables, "extension", exited)
        if isinstance(process, OSError):
            with self._api.changed:
                life.fail("Extension.LaunchError", str(process))
        else:
            self._extensions[file.name] = process

    def _start_runtime(self, life: Life) -> None:
        def exited(how: str) -> None:
            with self._api.changed:
                unsaid = "Runtime exited without providing a reason"
                life.fail(RUNTIME_EXIT, f"Runtime exited with error: {how}" if how else unsaid)
                self._api.changed.notify_all()

        process = self._start(self._program.command, self._program.variables, "function", exited)
        if isinstance(process, OSError):
            with self._api.changed:
                life.fail("Runtime.InvalidEntrypoint", str(process))
        else:
            self._runtime = process

    def _start(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        source: Source,
        on_exit: Callable[[str], None],
    ) -> Process | OSError:
        try:
            return Process(
                self._confinement.command(command),
                environ=variables,
                directory=self._places.task_root,
                output=self._pump.open_pipe(source),
                guardian=self._confinement.guardian,
                on_exit=on_exit,
            )
        except OSError as error:
            return error

    def _end_runtime(self) -> None:
        if self._runtime is None:
            return
        if self._life.extensions:
            self._runtime.terminate()
            self._runtime.wait(
                RUNTIME_SHUTDOWN_SECONDS if self._extensions else INTERNAL_SHUTDOWN_SECONDS
            )
        self._runtime.kill()

    def _wait(self, reached: Callable[[], bool], deadline: float) -> bool:
        """Wait for a state, or a fault, or the deadline."""
        life = self._life
        with self._api.changed:
            while not reached() and life.fault is None:
                left = deadline - time.monotonic()
                if left <= 0 or not self._api.changed.wait(left):
                    break
            return reached()

    def _why_not(self, reached: Callable[[], bool], deadline: float) -> Fault | None:
        """Wait for a state; return what came in its place."""
        life = self._life
        self._wait(reached, deadline)
        with self._api.changed:
            if life.fault is None and not reached():
                return self._timed_out()
            return life.fault

    def _timed_out(self) -> Fault:
        seconds = self._function.timeout_seconds
        return Fault(TIMED_OUT, f"Task timed out after {seconds:.2f} seconds")


def epoch_ms_at(deadline: float) -> int:
    """Convert a monotonic time to what the APIs speak: wall-clock milliseconds."""
    return time.time_ns() // 1_000_000 + int((deadline - time.monotonic()) * 1_000)
