"""Every process of an environment, whatever sessions and groups it has made for itself.

A process is found by the address of the environment's own APIs in its environment, which children
inherit. That needs `/proc`; where there is none, only process groups can be ended and stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

SETTLING_SECONDS = 5.0
"""How long a signal may take; a process that reads from a slow disk cannot stop at once."""


def find(mark: str) -> list[int]:
    """Find the processes whose environment has an entry.

    Args:
        mark: `NAME=value`.
    """
    entry = mark.encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is another user's
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def stop(mark: str) -> None:
    """Stop them where they are (SIGSTOP), those too that are just being started.

    Raises:
        TimeoutError: One does not stop.
    """
    _signal_all(mark, signal.SIGSTOP, frozenset("TtZX"))


def go_on(mark: str) -> None:
    """Let them go on (SIGCONT)."""
    for pid in find(mark):
        _signal(pid, signal.SIGCONT)


def kill(mark: str) -> None:
    """End them (SIGKILL), and wait until there is none.

    Raises:
        TimeoutError: One does not end.
    """
    _signal_all(mark, signal.SIGKILL, frozenset("ZX"))


def _signal_all(mark: str, number: signal.Signals, reached: frozenset[str]) -> None:
    """Send a signal until all are in one of the states that `/proc/PID/stat` knows."""
    give_up = time.monotonic() + SETTLING_SECONDS
    while waiting := [pid for pid in find(mark) if _state(pid) not in reached]:
        if time.monotonic() > give_up:
            message = f"{number.name} has no effect on the processes {waiting}."
            raise TimeoutError(message)
        for pid in waiting:
            _signal(pid, number)
        time.sleep(0.001)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
