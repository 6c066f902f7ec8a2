"""Ends what an emulator leaves behind that is killed itself: nothing stays stopped for ever.

A small shell waits beside the emulator, at the end of a pipe that only the emulator holds. When
that closes without a farewell, it ends every process of the environment and removes its control
groups.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SHELL = r"""
trap '' HUP INT TERM
mark=$1 groups=' '
shift
while read -r what group; do
    case $what in
        started) groups="$groups$group " ;;
        ended) groups="${groups%% "$group" *} ${groups#* "$group" }" ;;
        farewell) exit ;;
    esac
done
exec 2> /dev/null
everybody() {
    for group in $groups; do kill -KILL -- "-$group"; done
    for place in "$@"; do kill -KILL $(cat "$place/cgroup.procs"); done
    for file in $(grep -lsazxF -e "$mark" /proc/[0-9]*/environ); do
        pid=${file#/proc/}
        kill -KILL "${pid%/environ}"
    done
}
everybody "$@"
for place in "$@"; do
    [ ! -e "$place/freezer.state" ] || echo THAWED > "$place/freezer.state"
done
everybody "$@"
for place in "$@"; do
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        rmdir "$place" && break || sleep 0.1
    done
done
"""


class Guardian:
    """Watches over one environment, until `close`."""

    def __init__(self, mark: str, control_groups: Sequence[Path]) -> None:
        """Start it.

        Args:
            mark: An entry of the environment of every process, `NAME=value`.
            control_groups: Folders whose processes it ends, and which it removes.
        """
        self._shell = subprocess.Popen(  # noqa: S603 - a script of our own
            ["/bin/sh", "-c", _SHELL, "guardian", mark, *map(str, control_groups)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends the emulator's group must not end it
            bufsize=0,
        )

    def started(self, group: int) -> None:
        """Watch over a process group too."""
        self._tell(f"started {group}")

    def ended(self, group: int) -> None:
        """Forget a process group: its number may become another's."""
        self._tell(f"ended {group}")

    def close(self) -> None:
        """Let it go; the environment has been ended."""
        self._tell("farewell")
        assert self._shell.stdin is not None  # noqa: S101 - it was asked for above
        self._shell.stdin.close()
        self._shell.wait()

    def _tell(self, line: str) -> None:
        assert self._shell.stdin is not None  # noqa: S101 - it was asked for above
        with contextlib.suppress(BrokenPipeError):  # somebody ended it: nothing to tell it
            self._shell.stdin.write(f"{line}\n".encode())
