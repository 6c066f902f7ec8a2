"""What the processes of an environment use, as the kernel tells it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

if TYPE_CHECKING:
    from types import TracebackType

PIDS_GROUPS = Path("/sys/fs/cgroup/pids")
"""Where version 1 of the control groups counts processes and threads."""


class Usage(NamedTuple):
    """Of one process, at one moment."""

    resident_kb: int
    private_kb: int
    descriptors: int
    threads: int


def sidecar_pid(launcher: int) -> int | None:
    """Find the sidecar: the launcher's Python, or None once it is gone."""
    for list_of_children in Path(f"/proc/{launcher}/task").glob("*/children"):
        for pid in list_of_children.read_text().split():
            if b"main.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    return None


def usage(pid: int) -> Usage:
    """Look at a process."""
    folder = Path(f"/proc/{pid}")
    smaps = dict(
        line.split(":", 1) for line in (folder / "smaps_rollup").read_text().splitlines()[1:]
    )
    kilobytes = {name: int(text.split()[0]) for name, text in smaps.items()}
    return Usage(
        kilobytes["Rss"],
        kilobytes["Private_Clean"] + kilobytes["Private_Dirty"],
        len(list((folder / "fd").iterdir())),
        len(list((folder / "task").iterdir())),
    )


def why_no_limit_of_threads() -> str:
    """Say why threads cannot be limited on this machine; "" where they can."""
    if (PIDS_GROUPS / "cgroup.procs").exists() and os.access(PIDS_GROUPS, os.W_OK):
        return ""
    return "The pids controller of control groups (version 1) cannot be written here."


class NoThreads:
    """A process may start no more threads, as where an environment has its 1,024 of them."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._group = PIDS_GROUPS / f"lambdallm-tests-{uuid4().hex}"

    def __enter__(self) -> None:
        self._group.mkdir()
        (self._group / "cgroup.procs").write_text(str(self._pid))
        (self._group / "pids.max").write_text("1")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        (self._group / "pids.max").write_text("max")
        (PIDS_GROUPS / "cgroup.procs").write_text(str(self._pid))
        self._group.rmdir()


def slope_per_thousand(values: list[tuple[int, float]]) -> float:
    """Fit a line through (number of the invocation, value); return its rise in 1,000 of them."""
    count = len(values)
    mean_x = sum(x for x, _ in values) / count
    mean_y = sum(y for _, y in values) / count
    spread = sum((x - mean_x) ** 2 for x, _ in values)
    return 1_000 * sum((x - mean_x) * (y - mean_y) for x, y in values) / spread if spread else 0.0
