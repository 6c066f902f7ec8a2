"""Rows about the start: what stands between an event and the first answer of a new environment."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from bench import FUNCTIONS, Figure, Result, ask, cpu_seconds, family, figure, run_cpu

from lambda_runtime_api import http1
from lambda_runtime_api.emulator import Environment

if TYPE_CHECKING:
    from bench import Bench

SETTLE_SECONDS = 0.4
"""After the first `/next`, for the connections that are opened beside it; idle costs nothing."""

BARE = "def handler(event, context):\n    return {'seen': []}\n"


class _Api:
    """A Runtime API that answers `register` and lets `/next` wait, and looks at the clock."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.registered = threading.Event()
        self.waiting = threading.Event()
        self.register_cpu = 0.0
        self.pid = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = http1.Reader(requests=True)
        with contextlib.suppress(OSError, http1.ProtocolError):
            while True:
                request, _ = http1.receive(reader, connection.recv)
                if request.method == "PUT":  # a subscription to telemetry, of which none is sent
                    connection.sendall(http1.encode_response(200, [], b"OK"))
                    continue
                if "register" not in request.target:
                    self.waiting.set()
                    time.sleep(60)
                while not self.pid:
                    time.sleep(0)
                self.register_cpu = cpu_seconds([self.pid])
                headers = [("Lambda-Extension-Identifier", "00000000-0000-4000-8000-000000000001")]
                connection.sendall(http1.encode_response(200, headers, b"{}"))
                self.registered.set()


def _launch(bench: Bench) -> tuple[float, float]:
    """Start the launcher; return its CPU until `register`, and all of it until `/next` and TLS."""
    api = _Api()
    variables = {
        **bench.variables(),
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "LAMBDALLM_DIRECTORY": str(bench.certificate.parent / f"run-{time.monotonic_ns()}"),
        "LAMBDALLM_PORT": str(_free_port()),
        "LAMBDALLM_PYTHON": bench.python,
        "PATH": os.defpath,
    }
    launcher = subprocess.Popen(
        [str(bench.opt / "extensions" / "lambdallm")],
        env=variables,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    api.pid = launcher.pid
    try:
        if not api.waiting.wait(10):
            raise RuntimeError("the sidecar did not ask for /next")
        time.sleep(SETTLE_SECONDS)
        return api.register_cpu, cpu_seconds(family(launcher.pid))
    finally:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        api.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def start_rows(bench: Bench) -> list[Result]:
    """Measure `register`, `first_next` and `overlap`."""
    register, bare, first_next, boto3 = [], [], [], []
    theirs = [
        bench.boto3_python, "-s", "-c",
        f"import sys; sys.path.insert(0, {str(FUNCTIONS)!r}); import theirs; theirs.one({{}})",
    ]  # fmt: skip
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    for number in range(bench.rounds):
        bench.say(f"start {number + 1} of {bench.rounds}")
        registered, ready = _launch(bench)
        register.append(registered * 1_000)
        first_next.append(ready * 1_000)
        bare.append(run_cpu([bench.python, "-I", "-S", "-c", "pass"], {}) * 1_000)
        boto3.append(run_cpu(theirs, {**bench.variables(), **keys}) * 1_000)
    return [
        Result(
            "register", "exec to register, CPU", "ms", "python -IS -c pass", 1.2,
            figure(register), figure(bare),
        ),
        Result(
            "first_next", "exec to first /next, TLS warm, CPU", "ms",
            "boto3: import, client, first GetItem over TLS", 0.15,
            figure(first_next), figure(boto3),
        ),
        *_overlap(bench, figure(first_next)),
    ]  # fmt: skip


def _overlap(bench: Bench, sidecar_cpu: Figure) -> list[Result]:
    """How much longer Init takes with the layer, on one CPU, where nothing runs beside anything."""
    folder = bench.certificate.parent / "bare"
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(BARE)
    delays = []
    affinity = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(affinity)})
    try:
        for number in range(bench.rounds):
            bench.say(f"overlap {number + 1} of {bench.rounds}")
            took = {}
            for opt in (None, bench.opt) if number % 2 else (bench.opt, None):
                with Environment(
                    folder, "app.handler", opt=opt, variables=bench.variables()
                ) as environment:
                    took[opt] = ask(environment)["init_ms"]
            delays.append(took[bench.opt] - took[None])
    finally:
        os.sched_setaffinity(0, affinity)
    what = "Init with the layer less Init without it, on one CPU"
    return [
        Result("overlap", what, "ms", "the sidecar's own CPU", 1.2, figure(delays), sidecar_cpu),
        Result("overlap_ms", what, "ms", "", 40, figure(delays)),
    ]


def first_rows(bench: Bench) -> list[Result]:
    """Measure `import` and `first_read`, each side in new environments."""
    imports: dict[str, list[float]] = {"ours": [], "theirs": []}
    reads: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(bench.rounds):
        bench.say(f"first read {number + 1} of {bench.rounds}")
        for side in ("ours", "theirs") if number % 2 else ("theirs", "ours"):
            with bench.environment(side) as environment:
                answer = ask(environment)
            imports[side].append(answer["import"][1] * 1_000)
            reads[side].append(answer["seen"][0]["read"][0] * 1_000)
            if side == "theirs":
                reads[side][-1] += answer["import"][0] * 1_000
    return [
        Result(
            "import", "import lambdallm, with handler and Session, CPU", "ms",
            "boto3: import and client", 0.05, figure(imports["ours"]), figure(imports["theirs"]),
        ),
        Result(
            "first_read", "first session read of an environment, wall, no network delay", "ms",
            "boto3: import, client, first GetItem", 0.03,
            figure(reads["ours"]), figure(reads["theirs"]),
        ),
    ]  # fmt: skip


def layer_rows(bench: Bench) -> list[Result]:
    """Measure the zipped layer."""
    versions = ", ".join(bench.pythons)
    what = f"layer, zipped, with the bytecode of Python {versions}"
    size = Figure(bench.zipped_bytes / 1_000_000, 0.0, 1)
    return [Result("layer", what, "MB", "", 2.5, size)]
