"""The processes of an environment: each in a group of its own, which is ended as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambda_runtime_api.emulator.guardian import Guardian


class Process:
    """One child process and whatever it starts itself."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        directory: Path,
        output: int,
        guardian: Guardian,
        on_exit: Callable[[str], None],
    ) -> None:
        """Start it.

        Args:
            command: The program and its arguments.
            environ: Its whole environment; nothing of ours is inherited.
            directory: Where it starts.
            output: A file descriptor for its stdout and stderr; closed here.
            guardian: Told of it, from its start to its end.
            on_exit: Called from another thread with `exit status 1` or `signal: killed`, as
                Lambda words it, or with "" for exit status 0.

        Raises:
            OSError: It cannot be executed.
        """
        self._on_exit = on_exit
        self._guardian = guardian
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the user's own function
                list(command),
                env=dict(environ),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            os.close(output)
        guardian.started(self._process.pid)
        self._gone = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="emulator-child", daemon=True)
        self._watcher.start()

    @property
    def pid(self) -> int:
        """The process id, which is the group's too."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process itself still runs."""
        return not self._gone.is_set()

    def stop(self) -> None:
        """Stop the group where it is (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let the group go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask the group to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill_soon(self) -> None:
        """End the group (SIGKILL) as soon as it goes on; one that is frozen cannot end yet."""
        self._signal(signal.SIGKILL)

    def kill(self) -> None:
        """End the group (SIGKILL) and wait until the process is gone."""
        self._signal(signal.SIGKILL)
        self._watcher.join()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the process to end by itself; return whether it did."""
        return self._gone.wait(max(0.0, timeout_seconds))

    def _signal(self, number: int) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _watch(self) -> None:
        status = self._process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # children that it left behind
        self._guardian.ended(self._process.pid)
        self._on_exit(_describe(status))
        self._gone.set()  # last, so that whoever sees it gone finds its end noted


def memory_peak_mb(pid: int) -> int:
    """Return the most memory that a process has had at once; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1_024
    return 0


def _describe(status: int) -> str:
    if status < 0:
        names = {signal.SIGKILL: "killed", signal.SIGTERM: "terminated"}
        number = signal.Signals(-status)
        return f"signal: {names.get(number, number.name)}"
    return f"exit status {status}" if status else ""
