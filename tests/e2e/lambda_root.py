"""Builds a root like Lambda's and runs a command in it.

    usage: python -I -S lambda_root.py ROOT COMMAND...

Meant to be run in private mount and PID namespaces: what is mounted here is gone when the command
ends. It mounts by itself, as sixty processes of `mount` take longer than all else at a start, and
loads no pathlib, for the same reason.

From the environment:
    TASK_ROOT  becomes /var/task, read-only      OPT        becomes /opt, read-only (may be empty)
    PREFIX     a Python's prefix, /var/lang;     LIBRARIES  links to what lies in /var/runtime
               empty: no Python is to be seen    OUTPUT     a folder to write to, /mnt/output
    EMULATOR   the emulator's program, /usr/local/bin is not touched: it lies at /emulator
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

# <sys/mount.h> of Linux.
RDONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 0x1, 0x20, 0x1000, 0x4000, 0x40000
RELATIME = 0x200000
KEPT = {
    os.ST_NOSUID: 0x2, os.ST_NODEV: 0x4, os.ST_NOEXEC: 0x8, os.ST_NOATIME: 0x400,
    os.ST_NODIRATIME: 0x800, os.ST_RELATIME: RELATIME,
}  # fmt: skip
"""Flags of a mount: one that the kernel has locked cannot be taken off when others are put on."""

NAMES = ("TASK_ROOT", "OPT", "PREFIX", "LIBRARIES", "OUTPUT", "EMULATOR")

DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}

BOOTSTRAP = """#!/bin/sh
if [ -n "${AWS_LAMBDA_MAX_CONCURRENCY:-}" ]; then
    mkfifo /mnt/output/function.lines # AWS's emulator reads these lines too, and passes them on
    tee -a /mnt/output/function.log < /mnt/output/function.lines &
    exec > /mnt/output/function.lines 2>&1
else
    exec >> /mnt/output/function.log 2>&1
fi
[ ! -x /var/task/bootstrap ] || exec ${AWS_LAMBDA_EXEC_WRAPPER:-} /var/task/bootstrap
exec ${AWS_LAMBDA_EXEC_WRAPPER:-} /var/lang/bin/python3 -s -c '
import os, sys
sys.path[0] = os.getcwd()
from awslambdaric.__main__ import main
main(["awslambdaric", os.environ["_HANDLER"]])'
"""
"""The function's output goes to a file, so that it can be told from the extensions'. The handler is
read behind the wrapper, which may have put another one in its place."""

_mount = ctypes.CDLL(None, use_errno=True).mount


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Do as `mount(2)` does; "" stands for nothing.

    Raises:
        OSError: It was refused.
    """
    told = [os.fsencode(text) or None for text in (source, target, kind)]
    if _mount(*told, ctypes.c_ulong(flags), os.fsencode(options) or None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


class Root:
    """The root that is built, on a file system of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        mount("", "/", flags=RECURSIVE | PRIVATE)
        mount("tmpfs", path, "tmpfs", options="mode=755")

    def show(self, source: str, target: str) -> None:
        """Let a folder or a file appear inside the root."""
        place = self._path + target
        if os.path.isdir(source):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if not os.path.exists(place):
                os.close(os.open(place, os.O_CREAT, 0o644))
        mount(source, place, flags=BIND)

    def freeze(self, target: str) -> None:
        """Let nobody write there from here on."""
        place = self._path + target
        before = os.statvfs(place).f_flag
        kept = sum(flag for name, flag in KEPT.items() if before & name)
        try:
            mount("", place, flags=REMOUNT | BIND | RDONLY | kept)
        except OSError as error:
            print(f"lambda_root: {target} stays writable: {error}", file=sys.stderr)  # noqa: T201

    def show_system(self) -> None:
        """Show programs, devices and processes, and make empty folders."""
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                os.symlink(os.readlink(f"/{name}"), f"{self._path}/{name}")
            elif os.path.isdir(f"/{name}"):
                self.show(f"/{name}", f"/{name}")
        self.show("/usr", "/usr")
        self.show("/etc", "/etc")
        for name in ("dev", "proc", "tmp", "opt", "mnt", "var/task", "var/lang", "var/runtime"):
            os.makedirs(f"{self._path}/{name}")
        for name in DEVICES:
            self.show(f"/dev/{name}", f"/dev/{name}")
        for name, number in LINKS.items():
            os.symlink(f"/proc/self/fd{number}", f"{self._path}/dev/{name}")
        mount("proc", f"{self._path}/proc", "proc")
        mount("tmpfs", f"{self._path}/tmp", "tmpfs", options="size=512m,mode=1777")

    def show_function(self, places: dict[str, str]) -> None:
        """Show what an environment is made of, and who runs it."""
        hosts = f"{places['OUTPUT']}/hosts"
        with open(hosts, "w") as file:
            file.write("127.0.0.1 localhost sandbox sandbox.localdomain\n")
        self.show(hosts, "/etc/hosts")
        self.show(places["OUTPUT"], "/mnt/output")
        self.show(places["EMULATOR"], "/emulator")
        self.show(places["TASK_ROOT"], "/var/task")
        if places["OPT"]:
            self.show(places["OPT"], "/opt")
        if places["PREFIX"]:
            self.show(places["PREFIX"], "/var/lang")
            for name in os.listdir(places["LIBRARIES"]):
                source = os.path.realpath(f"{places['LIBRARIES']}/{name}")
                self.show(source, f"/var/runtime/{name}")
                self.freeze(f"/var/runtime/{name}")
        else:
            self._hide_pythons()
        path = f"{self._path}/var/runtime/bootstrap"
        with open(path, "w") as file:
            file.write(BOOTSTRAP)
        os.chmod(path, 0o755)

    def _hide_pythons(self) -> None:
        for folder in (f"{self._path}/usr/bin", f"{self._path}/usr/local/bin"):
            for name in sorted(os.listdir(folder)):
                path = os.path.realpath(f"{folder}/{name}")
                if name.startswith("python3") and os.path.isfile(path):
                    mount("/dev/null", path, flags=BIND)

    def close(self, places: dict[str, str]) -> None:
        """Let nobody write to what is shown, but to /tmp and the output."""
        self.freeze("/usr")
        self.freeze("/etc")
        self.freeze("/var/task")
        if places["OPT"]:
            self.freeze("/opt")
        if places["PREFIX"]:
            self.freeze("/var/lang")
        mount("", self._path, flags=REMOUNT | RDONLY)

    def enter(self) -> None:
        """Be inside."""
        os.chroot(self._path)
        os.chdir("/var/task")


def main(path: str, *command: str) -> None:
    """Build it, and become the command."""
    os.umask(0o022)
    places = {name: os.environ.pop(name, "") for name in NAMES}
    root = Root(path)
    root.show_system()
    root.show_function(places)
    root.close(places)
    root.enter()
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # as Python does, and what it starts would
        signal.signal(ignored, signal.SIG_DFL)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
