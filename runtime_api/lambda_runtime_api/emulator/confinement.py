"""What holds an environment's processes together: frozen as one, one share of a CPU, one memory.

Linux's control groups (version 1) do all of it where the user may write them. Freezing works
without them too, by SIGSTOP for every process; shares of a CPU and memory do not.

None of its processes outlives an environment, and none outlives an emulator that is killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lambda_runtime_api.emulator import descendants
from lambda_runtime_api.emulator.guardian import Guardian

if TYPE_CHECKING:
    from collections.abc import Sequence

MB_PER_CPU = 1_769
"""Memory at which a function has one whole CPU.

Source: Lambda developer guide, "Configure Lambda function memory", 2026-10.
"""

PERIOD_MICROSECONDS = 20_000
"""In which a group may use its share, and then waits for the next.

Source: measured on Lambda by the study arXiv 2506.01283.
"""

FREEZING_SECONDS = 5.0
REMOVING_SECONDS = 2.0
PREFIX = "lambda-emulator-"


class ConfinementUnavailableError(Exception):
    """This machine cannot do what was asked; the message says why."""


class CpuShareUnavailableError(ConfinementUnavailableError):
    """No share of a CPU can be set."""


class MemoryLimitUnavailableError(ConfinementUnavailableError):
    """No memory limit can be set."""


class Confinement:
    """All processes of one environment, in control groups where something needs them."""

    def __init__(self, mark: str, *, freeze: bool, cpu_share: bool, memory_bytes: int = 0) -> None:
        """Make the groups.

        Args:
            mark: An entry of the environment of every process, `NAME=value`.
            freeze: Use the freezer if the machine has it.
            cpu_share: `limit_cpu` will be asked.
            memory_bytes: What all processes together may use; 0 for no limit. Beyond it the
                kernel ends one of them.

        Raises:
            CpuShareUnavailableError: There is no cpu controller that can be written.
            MemoryLimitUnavailableError: There is no memory controller.
        """
        name = PREFIX + secrets.token_hex(8)
        self._mark = mark
        self._freezer = _make("freezer", name) if freeze else None
        self._cpu = _make("cpu", name) if cpu_share else None
        self._memory = _make("memory", name) if memory_bytes else None
        self.guardian = Guardian(mark, self._groups())
        if cpu_share and self._cpu is None:
            self.remove()
            raise CpuShareUnavailableError(_reason("cpu"))
        if memory_bytes and self._memory is None:
            self.remove()
            raise MemoryLimitUnavailableError(_reason("memory"))
        if self._memory is not None:
            (self._memory / "memory.limit_in_bytes").write_text(str(memory_bytes))

    @property
    def freezes(self) -> bool:
        """Whether the machine's freezer does it, and not signals."""
        return self._freezer is not None

    def command(self, command: Sequence[str]) -> list[str]:
        """Wrap a command, so that its process is in the groups before it starts."""
        groups = [str(group) for group in self._groups()]
        if not groups:
            return list(command)
        enter = "while [ $1 != -- ]; do echo $$ >$1/cgroup.procs; shift; done; shift; exec $@"
        script = enter.replace("$1", '"$1"').replace("$@", '"$@"')
        return ["/bin/sh", "-c", script, "enter", *groups, "--", *command]

    def limit_cpu(self, share: float | None) -> None:
        """Let all processes together use this much of one CPU; None lifts the limit."""
        if self._cpu is not None:
            quota = -1 if share is None else max(1_000, round(share * PERIOD_MICROSECONDS))
            (self._cpu / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (self._cpu / "cpu.cfs_quota_us").write_text(str(quota))

    def freeze(self) -> None:
        """Stop every process where it is.

        Raises:
            TimeoutError: One cannot be stopped.
        """
        if self._freezer is None:
            descendants.stop(self._mark)
        else:
            _set(self._freezer, "FROZEN")

    def thaw(self) -> None:
        """Let every process go on."""
        if self._freezer is None:
            descendants.go_on(self._mark)
        else:
            _set(self._freezer, "THAWED")

    def kill(self) -> None:
        """End every process, those too that left the groups of their parents.

        Raises:
            TimeoutError: One does not end.
        """
        for group in self._groups():
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        descendants.kill(self._mark)

    def remove(self) -> None:
        """Give the groups back; their processes have ended."""
        self.guardian.close()
        for group in self._groups():
            _remove(group)
        self._freezer = self._cpu = self._memory = None

    def _groups(self) -> list[Path]:
        return [group for group in (self._freezer, self._cpu, self._memory) if group is not None]


def _set(freezer: Path, state: str) -> None:
    file = freezer / "freezer.state"
    file.write_text(state)
    give_up = time.monotonic() + FREEZING_SECONDS
    while file.read_text().strip() != state:
        if time.monotonic() > give_up:
            message = f"The processes did not become {state} in {FREEZING_SECONDS} s."
            raise TimeoutError(message)
        time.sleep(0.001)
        file.write_text(state)


def why_no_cpu_share() -> str:
    """Say why shares of a CPU cannot be set on this machine; "" where they can."""
    return "" if _mounted("cpu") else _reason("cpu")


def _reason(controller: str) -> str:
    return f"The {controller} controller of control groups (version 1) cannot be written here."


def _mounted(controller: str) -> Path | None:
    try:
        mounts = Path("/proc/self/mounts").read_text()
    except OSError:
        return None
    for line in mounts.splitlines():
        _, folder, kind, options, *_ = line.split(" ")
        if kind == "cgroup" and controller in options.split(",") and os.access(folder, os.W_OK):
            return Path(folder)
    return None


def _make(controller: str, name: str) -> Path | None:
    mounted = _mounted(controller)
    if mounted is None:
        return None
    group = mounted / name
    try:
        group.mkdir()
    except OSError:  # a container may show the folder, and forbid this
        return None
    return group


def _remove(group: Path) -> None:
    """Remove a group; a process that was just killed may not have left it yet."""
    give_up = time.monotonic() + REMOVING_SECONDS
    while time.monotonic() < give_up:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.005)
        else:
            return
