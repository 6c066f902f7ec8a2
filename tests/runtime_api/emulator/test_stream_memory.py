"""200 MB pass through an emulator that does not grow: another process, measured from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from fakes.streaming_runtime import END, plan, write_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("awslambdaric")
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="Linux tells what a process has used"
)

SMALL = 1_048_576
LARGEST = 200 * 1_048_576
GROWTH_MAX_KB = 8_192
"""For 204,800 KB passed: room for what the allocator does, and for nothing that collects."""

PROGRAM = """
import sys
from pathlib import Path
from lambda_runtime_api.emulator import Environment
from lambda_runtime_api.emulator.function_url import FunctionUrl

with Environment(Path(sys.argv[1]), "none", timeout_seconds=120) as environment:
    with FunctionUrl(environment, "RESPONSE_STREAM") as url:
        print(url.url, flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    task_root = write_runtime(tmp_path / "runtime")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(task_root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    ) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def most_memory_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def receive(url: str, size: int) -> int:
    answer = plan(["flood", size], *END)
    received = 0
    with httpx.stream("POST", url, json=answer, timeout=60, trust_env=False) as response:
        for piece in response.iter_raw():
            received += len(piece)
    return received


def test_memory_stays_flat(emulator: subprocess.Popen[str]) -> None:
    url = emulator.stdout.readline().strip()  # type: ignore[union-attr]
    assert receive(url, SMALL) == SMALL
    before = most_memory_kb(emulator.pid)

    assert receive(url, LARGEST) == LARGEST

    assert most_memory_kb(emulator.pid) - before < GROWTH_MAX_KB
