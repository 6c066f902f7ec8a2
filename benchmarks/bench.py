"""What the rows of the benchmark share: a layer, a peer, environments, and figures."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lambda_runtime_api.emulator import Environment

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = Path(__file__).resolve().parent / "functions"


class Figure(NamedTuple):
    """A median and its spread (median absolute deviation), of `samples` measurements."""

    median: float
    spread: float
    samples: int


class Result(NamedTuple):
    """One row of the table.

    Attributes:
        row: Its name on the command line.
        what: What is measured, and how.
        unit: Of `ours` and `theirs`.
        against: What `theirs` is.
        bound: Of the ratio ours : theirs, or of `ours` where `theirs` is None.
        not_run: Why there are no figures; then `ours` is None.
    """

    row: str
    what: str
    unit: str
    against: str
    bound: float | None
    ours: Figure | None = None
    theirs: Figure | None = None
    not_run: str = ""

    @property
    def ratio(self) -> float | None:
        """Ours to theirs."""
        if self.ours is None or self.theirs is None or not self.theirs.median:
            return None
        return self.ours.median / self.theirs.median

    @property
    def met(self) -> bool | None:
        """Whether the bound holds; None without one, or without figures."""
        if self.ours is None or self.bound is None:
            return None
        value = self.ratio if self.theirs is not None else self.ours.median
        return value is not None and value <= self.bound

    def to_json(self) -> dict[str, Any]:
        """Return the row as it stands in results.json."""
        return {
            **self._asdict(),
            "ours": self.ours and self.ours._asdict(),
            "theirs": self.theirs and self.theirs._asdict(),
            "ratio": self.ratio,
            "met": self.met,
        }


def figure(values: Sequence[float]) -> Figure:
    """Summarise measurements."""
    median = statistics.median(values)
    spread = statistics.median(abs(value - median) for value in values)
    return Figure(median, spread, len(values))


class Bench(NamedTuple):
    """What rows measure with.

    Attributes:
        opt: The built layer, unpacked.
        zipped_bytes: Of the layer.
        pythons: Versions whose bytecode is in it.
        ports: The peer's, by milliseconds of delay.
        certificate: What clients must trust.
        rounds: How often a cold process is started.
        calls: How often a warm one is asked.
    """

    opt: Path
    zipped_bytes: int
    pythons: list[str]
    ports: dict[str, int]
    certificate: Path
    rounds: int
    calls: int
    say: Callable[[str], None]

    @property
    def python(self) -> str:
        """The interpreter itself, not a virtual environment's link to it."""
        return os.path.realpath(sys.executable)

    @property
    def boto3_python(self) -> str:
        """An interpreter that finds boto3."""
        return sys.executable

    def variables(self, delay_ms: int = 0) -> dict[str, str]:
        """Return what a process must know to ask the peer."""
        return {
            "AWS_ENDPOINT_URL_DYNAMODB": f"https://localhost:{self.ports[str(delay_ms)]}",
            "AWS_CA_BUNDLE": str(self.certificate),
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "LAMBDALLM_STORE": "dynamodb://lambdallm",
        }

    def environment(self, side: str, delay_ms: int = 0, **options: Any) -> Environment:
        """Make an execution environment of one of the two sides, `ours` or `theirs`."""
        from lambda_runtime_api.emulator import Environment

        return Environment(
            FUNCTIONS,
            f"{side}.handler",
            opt=self.opt if side == "ours" else None,
            variables=self.variables(delay_ms),
            timeout_seconds=60,
            **options,
        )


def ask(environment: Environment, **event: Any) -> dict[str, Any]:
    """Invoke a function of the benchmark and return what it saw."""
    invocation = environment.invoke(event)
    answer: Any = invocation.json()
    if invocation.error_type or "seen" not in answer:
        lines = "\n".join(line.text for line in environment.logs[-20:])
        message = f"The function failed: {answer}\n{lines}"
        raise RuntimeError(message)
    return {**answer, "init_ms": invocation.init_ms, "duration_ms": invocation.duration_ms}


def sidecar_pids(environment: Environment) -> list[int]:
    """Return the launcher's process and the sidecar's own, which is its child."""
    return family(environment.pids["lambdallm"])


def family(pid: int) -> list[int]:
    """Return a process and all that it has started and that still live."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU that living processes have used, with their threads that have ended.

    Source: the clock of another process, `CPUCLOCK_SCHED`, include/linux/posix-timers.h.
    """
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def run_cpu(command: Sequence[str], variables: dict[str, str]) -> float:
    """Run a process to its end; return the CPU seconds it used."""
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        message = f"{command} ended with status {process.returncode}"
        raise RuntimeError(message)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def prepared(say: Callable[[str], None], *, quick: bool) -> Iterator[Bench]:
    """Build the layer, start the peer, and take both away again."""
    with (
        tempfile.TemporaryDirectory(prefix="lambdallm-bench-") as name,
        contextlib.ExitStack() as ends,
    ):
        folder = Path(name)
        say("building the layer")
        opt, zipped, pythons = _build(folder)
        certificate, key = make_certificate(folder)
        peer = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "peer.py"), str(certificate), str(key)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        ends.callback(_end, peer)
        if peer.stdout is None or not (line := peer.stdout.readline()):
            raise RuntimeError("the peer did not start")
        rounds, calls = (2, 12) if quick else (15, 200)
        yield Bench(opt, zipped, pythons, json.loads(line), certificate, rounds, calls, say)


def _end(peer: subprocess.Popen[str]) -> None:
    if peer.stdin is not None:
        peer.stdin.close()
    peer.wait(10)


def _build(folder: Path) -> tuple[Path, int, list[str]]:
    subprocess.run(
        [sys.executable, "layer/build_layer.py", "build", "--output", str(folder)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    archive, opt = folder / "lambdallm-layer.zip", folder / "opt"
    tags = set()
    with zipfile.ZipFile(archive) as layer:
        for entry in layer.infolist():
            path = Path(layer.extract(entry, opt))
            path.chmod(entry.external_attr >> 16 & 0o777 or 0o755)
            if path.suffix == ".pyc":
                tags.add(path.stem.rpartition("cpython-")[2])
    versions = sorted(f"3.{tag[1:]}" for tag in tags)
    return opt, archive.stat().st_size, versions


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make the peer's certificate, which is its own authority."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise RuntimeError("openssl is needed to make a certificate; install it.")
    certificate, key = folder / "peer.pem", folder / "peer.key"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-days", "2", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
