"""AWS's own Runtime Interface Emulator, in the same words as our emulator.

It runs in private mount and PID namespaces, in a root that looks like Lambda's, so that paths,
read-only places and an empty `/tmp` are those of the real thing; whatever it starts dies with it.
The network is the machine's own: servers of a test can be reached, and ports must differ.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lambda_runtime_api.emulator import Invocation, LogLine
from lambda_runtime_api.emulator.runtimes import prepare_runtime
from lambda_runtime_api.emulator.server import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = REPOSITORY / ".cache" / "rie" / "aws-lambda-rie"
LAMBDA_ROOT = Path(__file__).with_name("lambda_root.py")
STARTING_SECONDS = 20
STOPPING_SECONDS = 6
WORKER_SECONDS = 5
ANSWER_SECONDS = 60
"""The longest invocation of a test takes 20 s, and its Init 10."""
UNAVAILABLE = b"Runtime.Unavailable"
INVOKE_PATH = "/2015-03-31/functions/function/invocations"
PLATFORM_LINE = re.compile(
    r"\d\d [A-Z][a-z][a-z] \d{4} [\d:,]+ \[[A-Z]+\] \(|(START|END|REPORT) RequestId: |"
    r"lambda_root: |time=\d{4}-\d\d-\d\dT\S+ level="
)
CRASHED = re.compile(
    r'msg="invoke failed" .* err=(Runtime\.ExitError|Extension\.Crash)|'
    r'msg="ShutdownContext shutdown\(\) initiated" reason=failure'
)
VARIABLES = {
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "ASIAEMULATOREXAMPLE0",
    "AWS_SECRET_ACCESS_KEY": "emulator-secret-key",
    "AWS_SESSION_TOKEN": "emulator-session-token",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "LANG": "en_US.UTF-8",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TZ": ":UTC",
}


def why_not() -> str | None:
    """Say why this machine cannot run it; None where it can."""
    if sys.platform != "linux":
        return "AWS's emulator is there for Linux only"
    if not PROGRAM.exists():
        return f"AWS's emulator is not in {PROGRAM.relative_to(REPOSITORY)}; ./build.sh gets it"
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is missing"
    tried = subprocess.run(
        [*_namespaces(), "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        check=False,
        capture_output=True,
        text=True,
    )
    return f"no private namespaces: {tried.stderr.strip()}" if tried.returncode else None


def _namespaces() -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--mount", "--pid", "--fork", "--kill-child"]


class AwsEnvironment:
    """What `Environment` is for our emulator; processes start with the first invocation."""

    def __init__(
        self,
        task_root: Path,
        handler: str,
        *,
        python: Path | str | None = sys.executable,
        opt: Path | None = None,
        variables: Mapping[str, str] | None = None,
        timeout_seconds: float = 3.0,
        memory_mb: int = 256,
        function_name: str = "function",
        managed_concurrency: int = 0,
    ) -> None:
        self._work = Path(tempfile.mkdtemp(prefix="aws-lambda-"))
        self._output = self._work / "output"
        for name in ("root", "output"):
            (self._work / name).mkdir()
        (self._work / "output").chmod(0o777)  # on Managed Instances a user without rights writes
        self._opt = opt
        self._ports = free_port(), free_port()
        runtime = prepare_runtime(Path(python), self._work / "libraries") if python else None
        self._places = {
            "TASK_ROOT": str(task_root),
            "OPT": str(opt or ""),
            "PREFIX": str(runtime.python.parent.parent) if runtime else "",
            "LIBRARIES": str(self._work / "libraries"),
            "OUTPUT": str(self._output),
            "EMULATOR": str(PROGRAM),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        self._variables = {
            **VARIABLES,
            "AWS_LAMBDA_FUNCTION_NAME": function_name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(timeout_seconds)),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
            "LAMBDALLM_PORT": str(free_port()),
            "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:"
            "/var/task:/var/task/lib:/opt/lib",
            "_HANDLER": handler,
        }
        if runtime is not None:
            site_packages = f"/opt/python/lib/python{runtime.version}/site-packages"
            self._variables |= {
                "AWS_EXECUTION_ENV": f"AWS_Lambda_python{runtime.version}",
                "PYTHONPATH": f"/var/task:{site_packages}:/opt/python:/var/runtime",
            }
        self._managed_concurrency = managed_concurrency
        if managed_concurrency:
            del self._variables["AWS_LAMBDA_INITIALIZATION_TYPE"]  # AWS's emulator sets it itself
            self._variables["AWS_LAMBDA_MAX_CONCURRENCY"] = str(managed_concurrency)
        self._variables |= variables or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._invoking = threading.Lock()
        self._under_way = 0

    def __enter__(self) -> AwsEnvironment:
        if self._managed_concurrency:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        shutil.rmtree(self._work, ignore_errors=True)

    @property
    def logs(self) -> list[LogLine]:
        """What was printed so far: the function's lines first, then the others in their order."""
        lines = [LogLine("function", text) for text in self._lines("function.log")]
        also = {text for _, text in lines} if self._managed_concurrency else ()
        for text in self._lines("emulator.log"):
            source = "platform" if PLATFORM_LINE.match(text) else "extension"
            if text not in also:
                lines.append(LogLine(source, text))
        return lines

    @property
    def pids(self) -> dict[str, int]:
        """Process ids on this machine, by the names that `Environment.pids` has."""
        emulator = self._emulator_pid()
        children = _children(emulator) if emulator else []
        found = {}
        folder = self._opt / "extensions" if self._opt else None
        names = sorted(path.name for path in folder.iterdir()) if folder and folder.is_dir() else []
        for pid in children:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            if b"awslambdaric" in command or b"bootstrap" in command:
                found["runtime"] = pid
            elif names:
                found[names.pop(0)] = pid
        return found

    def invoke(self, payload: object, *, headers: Mapping[str, str] | None = None) -> Invocation:
        """Invoke the function; AWS's emulator answers when the extensions have finished, too."""
        event = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        if self._managed_concurrency:
            return self._invoke_managed(event, headers or {})
        with self._invoking:
            if self._process is None:
                self._start()
            before = {name: len(self._lines(name)) for name in ("function.log", "emulator.log")}
            begun = time.monotonic()
            status, body = self._post(event, headers or {})
            duration_ms = (time.monotonic() - begun) * 1_000
        logs = [LogLine("function", text) for text in self._lines("function.log")][
            before["function.log"] :
        ]
        texts = self._lines("emulator.log")[before["emulator.log"] :]
        for text in texts:
            logs.append(LogLine("platform" if PLATFORM_LINE.match(text) else "extension", text))
        said = "\n".join(texts)
        init = re.search(r"INIT START\(type: on-demand, phase: (init|invoke)\)", said)
        init_ms = re.search(r"INIT REPORT\(durationMs: ([\d.]+)\)", said)
        request_id = re.search(r"START RequestId: (\S+)", said)
        return Invocation(
            request_id=request_id[1] if request_id else "",
            payload=body,
            error_type=_error_type(status, body, said),
            cold=init is not None,
            init_ms=float(init_ms[1]) if init and init[1] == "init" and init_ms else None,
            duration_ms=duration_ms,
            logs=logs,
        )

    def _invoke_managed(self, event: bytes, headers: Mapping[str, str]) -> Invocation:
        """Invoke, among others; as soon as the worker of an earlier one asks for more."""
        begun = time.monotonic()
        with self._invoking:
            self._under_way += 1
        try:
            status, body = self._post(event, headers)
            while UNAVAILABLE in body and time.monotonic() - begun < WORKER_SECONDS:
                if self._under_way > self._managed_concurrency:
                    break
                time.sleep(0.01)
                status, body = self._post(event, headers)
        finally:
            with self._invoking:
                self._under_way -= 1
        duration_ms = (time.monotonic() - begun) * 1_000
        error_type = _error_type(status, body, "")
        return Invocation("", body, error_type, cold=False, init_ms=None,
                          duration_ms=duration_ms, logs=[])  # fmt: skip

    def wait_until_idle(self) -> None:
        """Wait for an emulator that ends itself, as on Managed Instances after a crash.

        Otherwise there is nothing to wait for: `invoke` has waited.
        """
        if self._process is not None and CRASHED.search(self._text("emulator.log")):
            self._process.wait(STOPPING_SECONDS)

    def shutdown(self, reason: str = "spindown") -> None:
        """End it as Lambda ends an environment; the only reason that it knows is its own."""
        assert reason == "spindown", "AWS's emulator cannot be told a reason"
        process, self._process = self._process, None
        if process is None:
            return
        emulator = self._emulator_pid(process)
        if emulator is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(emulator, signal.SIGTERM)
        try:
            process.wait(STOPPING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # takes the whole PID namespace with it
            process.wait()

    def _start(self) -> None:
        api, invoke = (f"127.0.0.1:{port}" for port in self._ports)
        command = [
            *_namespaces(),
            *(sys.executable, "-I", "-S", str(LAMBDA_ROOT)),
            str(self._work / "root"),
            "/usr/bin/env",
            "-i",
            *(f"{name}={value}" for name, value in self._variables.items()),
            "/emulator",
            "--runtime-api-address",
            api,
            "--runtime-interface-emulator-address",
            invoke,
            "/var/runtime/bootstrap",
        ]
        with (self._output / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._places, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        give_up = time.monotonic() + STARTING_SECONDS
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self._ports[1])):
                    return
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.shutdown()
                raise RuntimeError("AWS's emulator did not start:\n" + self._text("emulator.log"))
            time.sleep(0.01)

    def _post(self, event: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[1], timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", INVOKE_PATH, event, dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        except TimeoutError as error:
            said = "\n".join(map(self._text, ("emulator.log", "function.log")))
            raise TimeoutError("AWS's emulator does not answer:\n" + said) from error
        finally:
            connection.close()

    def _emulator_pid(self, process: subprocess.Popen[bytes] | None = None) -> int | None:
        """Find the first process inside the namespace: the script, which becomes the emulator."""
        process = process or self._process
        children = _children(process.pid) if process and process.poll() is None else []
        return children[0] if children else None

    def _text(self, name: str) -> str:
        path = self._output / name
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""

    def _lines(self, name: str) -> list[str]:
        return self._text(name).removesuffix("\n").split("\n")


def _children(pid: int) -> list[int]:
    """List the children of all threads of a process, oldest first."""
    lists = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread has ended
            lists.append(path.read_text())
    return sorted(int(child) for child in " ".join(lists).split())


def _error_type(status: int, body: bytes, said: str) -> str | None:
    """Find what failed: AWS's emulator says it in the answer, or only in its log."""
    if body.startswith(b"Task timed out after "):
        return "Sandbox.Timedout"
    with contextlib.suppress(ValueError):
        answer = json.loads(body)
        if isinstance(answer, dict) and (
            {"errorType", "errorMessage"} <= answer.keys() or answer.keys() == {"errorType"}
        ):
            return str(answer["errorType"])
    fatal = re.search(r"First fatal error stored in appctx: (\S+)", said)
    if fatal is not None:
        return fatal[1]
    return None if status == http.client.OK else f"Status{status}"
