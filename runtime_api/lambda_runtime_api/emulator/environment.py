"""A whole execution environment on one machine, and the calls that a test makes on it."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from uuid import uuid4
from weakref import WeakSet

from lambda_runtime_api.emulator.api import Api
from lambda_runtime_api.emulator.confinement import Confinement
from lambda_runtime_api.emulator.lifecycle import Call, Lifecycle
from lambda_runtime_api.emulator.logs import LogLine, LogPump
from lambda_runtime_api.emulator.managed import ManagedApi, ManagedInstance
from lambda_runtime_api.emulator.phases import Phases, Program
from lambda_runtime_api.emulator.runtimes import prepare_runtime
from lambda_runtime_api.emulator.server import Server, free_port
from lambda_runtime_api.emulator.snapshots import Snapshot
from lambda_runtime_api.emulator.streams import Collected, InvocationStream
from lambda_runtime_api.emulator.variables import (
    MANAGED_INSTANCES,
    Function,
    Places,
    function_variables,
    without_static_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from types import TracebackType

    from lambda_runtime_api.emulator.runtimes import PythonRuntime
    from lambda_runtime_api.emulator.streams import Invocation, Receiver

INIT_SECONDS = 10.0
"""How long the Init phase may take; then, or when it fails, it runs again inside the invocation.

Source: Lambda developer guide, "Execution environment lifecycle", init phase, 2026-10.
"""

REMOVING_SECONDS = 2.0

_START_RUNTIME_CLIENT = """
import os, sys
sys.path[0] = os.getcwd()
from awslambdaric.__main__ import main
main(["awslambdaric", os.environ["_HANDLER"]])
"""
"""The handler is read by the runtime's own process, so that a wrapper can put its own before it.

Source: /var/runtime/bootstrap.py of the managed Python runtimes, 2026-10.
"""

_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


class Environment:
    """One execution environment: a context manager that leaves no process behind.

    The processes start with the first invocation, as on AWS. Several environments may run at
    once; each has its own APIs, its own folder in the place of `/tmp`, and a port of its own for
    the sidecar, because on one machine they share a network that they would not share on AWS.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each setting of a function
        self,
        task_root: Path,
        handler: str,
        *,
        python: Path | str | None = sys.executable,
        opt: Path | None = None,
        variables: Mapping[str, str] = _NO_VARIABLES,
        timeout_seconds: float = 3.0,
        memory_mb: int = 256,
        function_name: str = "function",
        directory: Path | None = None,
        init_seconds: float = INIT_SECONDS,
        freeze: bool = False,
        cpu_share: bool = False,
        memory_limit: bool = False,
        snap_start: bool = False,
        managed_concurrency: int = 0,
    ) -> None:
        """Prepare it; nothing is started yet.

        Args:
            task_root: The function's own files. An executable `bootstrap` there is the runtime.
            handler: `module.function`.
            python: An interpreter that can import `awslambdaric`; None for a function without
                Python, which needs a `bootstrap`. Then no Python is on the `PATH` either.
            opt: An unpacked layer. Paths in `variables` that begin with `/opt/` mean this folder.
            variables: The function's environment variables.
            timeout_seconds: The function's timeout.
            memory_mb: Announced to the function; see `cpu_share` and `memory_limit`.
            function_name: As it stands in its ARN.
            directory: In the place of `/tmp`; else one is made, and removed at the end.
            init_seconds: How long the Init phase may last before it is repeated.
            freeze: Freeze all processes whenever the environment is idle, as Lambda does.
            cpu_share: Let all processes together use `memory_mb` / 1,769 of one CPU; the Init
                phase of a new environment is not limited, one after a reset is.
            memory_limit: Enforce `memory_mb`: beyond it the kernel ends a process.
            snap_start: Be a clone of a snapshot (`snapshots`): `initialise` ends before it, the
                first invocation restores it.
            managed_concurrency: Be a Managed Instance (`managed`) that runs so many invocations at
                once, from several threads; it starts with the `with` block. Nothing else that can
                be asked for here goes together with it, but a limit of memory.

        Raises:
            RuntimeNotFoundError: The Python cannot run functions.
            ConfinementUnavailableError: This machine has no control groups for what was asked.
            SnapshotUnavailableError: It cannot make clones whose Init is the same.
        """
        # Removed when this process ends too, should a signal come before the end of this method.
        self._folder = tempfile.TemporaryDirectory(prefix="lambda-", ignore_cleanup_errors=True)
        self._own = Path(self._folder.name)
        self._directory_given = directory is not None
        self._directory = directory or self._own / "tmp"
        self._directory.mkdir(parents=True, exist_ok=True)
        places = Places(task_root.resolve(), opt and opt.resolve(), self._directory)
        region = variables.get("AWS_REGION", "us-east-1")
        function = Function(function_name, handler, timeout_seconds, memory_mb, region)
        managed = ManagedApi(function, managed_concurrency) if managed_concurrency else None
        api = managed or Api(function, "snap-start" if snap_start else "on-demand")
        with ExitStack() as resources:
            resources.callback(self._remove_folder)
            runtime = prepare_runtime(Path(python), self._own / "runtime") if python else None
            server = Server(api.answer)
            resources.callback(server.close)
            if snap_start:
                api.snapshot = Snapshot(self._own, server.address)
            confinement = Confinement(
                f"AWS_LAMBDA_RUNTIME_API={server.address}",
                freeze=freeze,
                cpu_share=cpu_share,
                memory_bytes=memory_mb * 1_048_576 if memory_limit else 0,
            )
            resources.callback(confinement.remove)
            self._pump = LogPump(api.telemetry.line)
            resources.callback(self._pump.close)
            self._resources = resources.pop_all()
        self.snapshot = api.snapshot
        given = {
            "AWS_LAMBDA_RUNTIME_API": server.address,
            "LAMBDALLM_DIRECTORY": str(self._directory / "lambdallm"),
            "LAMBDALLM_PORT": str(free_port()),
            **(self.snapshot.variables if self.snapshot else {}),
            **(_managed_variables(managed_concurrency) if managed else {}),
            **({} if runtime else {"PATH": _path_without_python(self._own / "bin")}),
            **{name: _in_opt(value, places.opt) for name, value in variables.items()},
        }
        command = _runtime_command(places.task_root, runtime)
        if "AWS_LAMBDA_EXEC_WRAPPER" in given:
            command.insert(0, given["AWS_LAMBDA_EXEC_WRAPPER"])
        variables_of_all = function_variables(function, places, runtime, given)
        if snap_start:
            variables_of_all = without_static_credentials(variables_of_all)
        program = Program(command, variables_of_all)
        self._phases = Phases(function, places, program, api, self._pump, confinement)
        self._lifecycle = Lifecycle(
            function, self._phases, self._pump, init_seconds=init_seconds, freeze=freeze
        )
        self._managed = (
            ManagedInstance(function, self._phases, managed, self._pump) if managed else None
        )
        self._invoking, self._ending = threading.Lock(), threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="emulator-phases")
        self._running: Future[None] | None = None
        self._closed = False
        self._streams: WeakSet[InvocationStream] = WeakSet()

    def __enter__(self) -> Environment:
        if self._managed:
            self._managed.initialise()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def logs(self) -> list[LogLine]:
        """All that was printed so far."""
        return self._pump.lines_from(0)

    @property
    def pids(self) -> dict[str, int]:
        """Process ids: of each extension by its name, of the function's runtime as `runtime`."""
        return self._phases.pids

    @property
    def directory(self) -> Path:
        """What stands for `/tmp`: the variable `TMPDIR` of the function and its extensions."""
        return self._directory

    def invoke(self, payload: object, *, headers: Mapping[str, str] = _NO_VARIABLES) -> Invocation:
        """Invoke the function once and return its answer, as soon as the runtime gives it.

        An environment takes one invocation at a time: this waits until extensions have finished
        the one before, where on AWS another environment would be started. A Managed Instance
        refuses what it has no worker for (`Runtime.Unavailable`).

        Args:
            payload: The event: bytes as they are, anything else as JSON.
            headers: Of the caller's request: `X-Amzn-Trace-Id`, `X-Amz-Client-Context`,
                `X-Amz-Tenant-Id`.
        """
        collected = Collected()
        call = _call(payload, headers, collected)
        if self._managed:
            self._managed.run(call)
        else:
            self._begin(call)
        return collected.result()

    def invoke_stream(
        self, payload: object, *, headers: Mapping[str, str] = _NO_VARIABLES
    ) -> InvocationStream:
        """Invoke the function once and return its answer while it comes (`streams`).

        Otherwise as `invoke`. What the runtime does not stream comes as one piece; up to 200 MB
        are streamed, here without a limit of bandwidth.

        Args:
            payload: As for `invoke`.
            headers: As for `invoke`.
        """
        stream = InvocationStream()
        self._streams.add(stream)
        call = _call(payload, headers, stream)
        if self._managed:
            run = (self._managed.run, call)
            threading.Thread(target=_run, args=run, name="emulator-invocation", daemon=True).start()
        else:
            self._begin(call)
        return stream

    def _begin(self, call: Call) -> None:
        with self._invoking:
            self.wait_until_idle()
            self._running = self._worker.submit(_run, self._lifecycle.run, call)

    def wait_until_idle(self) -> None:
        """Wait until the last invocation is over for extensions too, and all logs are there."""
        if self._managed:
            self._managed.wait_until_idle()
        if self._running is not None:
            self._running.result()

    def initialise(self) -> None:
        """Run the Init phase now; without this the first invocation does.

        With `snap_start` it ends where the snapshot is taken.
        """
        if self._managed:
            self._managed.initialise()
            return
        with self._invoking:
            self.wait_until_idle()
            self._worker.submit(self._lifecycle.initialise).result()

    def shutdown(self, reason: str = "spindown") -> None:
        """End the processes, as Lambda does with an environment that it needs no more.

        A later invocation starts them anew, as a new environment whose `/tmp` is empty; a folder
        that was given as `directory` keeps what is in it.

        Args:
            reason: What the extensions are told: `spindown`, `timeout` or `failure`, as the
                service spells them; its documentation has them in upper case.
        """
        with self._ending:
            self.wait_until_idle()
            (self._managed or self._lifecycle).shut_down(reason)
            self._empty_directory()

    def kill(self) -> None:
        """End the processes without SHUTDOWN, as the failure of a host does.

        The caller of an invocation that is under way gets an error. A later one starts them
        anew, as after `shutdown`.
        """
        with self._ending:
            self._phases.kill_processes()
            self.wait_until_idle()
            (self._managed or self._lifecycle).kill()
            self._empty_directory()

    @property
    def frozen(self) -> bool:
        """Whether the processes are stopped."""
        return self._phases.frozen

    def freeze(self) -> None:
        """Stop every process where it is, in the middle of an invocation too."""
        self._phases.freeze()

    def thaw(self) -> None:
        """Let every process go on; the next invocation and the shutdown do so themselves."""
        self._phases.thaw()

    def close(self) -> None:
        """Shut down, and give everything back; a second time does nothing.

        Whoever still reads a stream has gone with that.
        """
        if self._closed:
            return
        self._closed = True
        for stream in list(self._streams):
            stream.abandon()
        with ExitStack() as ending:  # from the last to the first, whatever fails
            ending.push(self._resources)
            ending.callback(self._worker.shutdown)
            ending.callback((self._managed or self._lifecycle).shut_down, "spindown")
            ending.callback(self.wait_until_idle)

    def _empty_directory(self) -> None:
        if not self._directory_given:
            shutil.rmtree(self._directory)
            self._directory.mkdir()

    def _remove_folder(self) -> None:
        """Remove it; a process that was just killed may finish one last write meanwhile."""
        give_up = time.monotonic() + REMOVING_SECONDS
        while self._own.exists() and time.monotonic() < give_up:
            shutil.rmtree(self._own, ignore_errors=True)
            if self._own.exists():
                time.sleep(0.01)
        self._folder.cleanup()


def _call(payload: object, headers: Mapping[str, str], receiver: Receiver) -> Call:
    event = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    by_name = {name.lower(): value for name, value in headers.items()}
    return Call(str(uuid4()), event, by_name, receiver)


def _run(run: Callable[[Call], None], call: Call) -> None:
    try:
        run(call)
    except BaseException as error:
        call.receiver.fail(error)
        raise


def _managed_variables(concurrency: int) -> dict[str, str]:
    """Make what a Managed Instance is told; its logs are JSON."""
    return {
        "AWS_LAMBDA_INITIALIZATION_TYPE": MANAGED_INSTANCES,
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_MAX_CONCURRENCY": str(concurrency),
    }


def _runtime_command(task_root: Path, runtime: PythonRuntime | None) -> list[str]:
    bootstrap = task_root / "bootstrap"
    if runtime is None or bootstrap.exists():
        return [str(bootstrap)]
    return [str(runtime.python), "-s", "-c", _START_RUNTIME_CLIENT]


def _path_without_python(folder: Path) -> str:
    """Make a folder of links to the system's programs, as a runtime for another language has it."""
    folder.mkdir()
    for source in ("/usr/local/bin", "/usr/bin", "/bin"):
        for program in Path(source).iterdir():
            if not program.name.startswith("python") and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return str(folder)


def _in_opt(value: str, opt: Path | None) -> str:
    return str(opt / value[len("/opt/") :]) if opt and value.startswith("/opt/") else value
