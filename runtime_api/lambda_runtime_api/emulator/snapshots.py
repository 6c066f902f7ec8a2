"""SnapStart on one machine: clones of one snapshot, and the credentials that they get.

    Init ─► snapshot ─► restore ─► INVOKE …       one environment
    Init ─► snapshot ─► restore ─► INVOKE …       another one: its memory of Init is the same

Real snapshots are of a whole machine. Here each clone runs Init itself, in a world where nothing
random can differ: until the restore, the kernel's chance is one and the same byte and the wall
clock stands still. So whatever two processes made of it and kept is equal in both afterwards, and
a test can see it. A small shared object does that (`LD_PRELOAD`); it needs Linux and a C compiler.
"""

from __future__ import annotations

import functools
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lambda_runtime_api.emulator.server import Answer

INIT_EPOCH_SECONDS = 1_767_225_600
"""What the wall clock shows in every Init: 2026-01-01, so that a restore comes days later."""

RESTORE_SECONDS = 10.0
"""How long the hooks of a restore may take.

Source: Lambda developer guide, "Lambda SnapStart runtime hooks for Python", 2026-10.
"""

CREDENTIALS_PATH = "/2021-04-23/credentials"
CREDENTIALS_SECONDS = 12 * 3_600

_COMPILERS = ("cc", "gcc", "clang")
_COMPILING_SECONDS = 60

_SAME_WORLD = r"""
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int restored(void) {
  static volatile int seen;
  if (!seen) {
    const char *path = getenv("LAMBDA_EMULATOR_RESTORED");
    if (path == NULL || syscall(SYS_access, path, F_OK) == 0) seen = 1;
  }
  return seen;
}

ssize_t getrandom(void *buffer, size_t size, unsigned flags) {
  if (restored()) return syscall(SYS_getrandom, buffer, size, flags);
  memset(buffer, 0x5a, size);
  return (ssize_t)size;
}

int getentropy(void *buffer, size_t size) {
  return getrandom(buffer, size, 0) == (ssize_t)size ? 0 : -1;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (clock != CLOCK_REALTIME || restored()) return (int)syscall(SYS_clock_gettime, clock, now);
  now->tv_sec = INIT_EPOCH_SECONDS;
  now->tv_nsec = 0;
  return 0;
}

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec exact;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *seconds) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (seconds != NULL) *seconds = exact.tv_sec;
  return exact.tv_sec;
}
"""


class SnapshotUnavailableError(Exception):
    """This machine cannot make clones whose Init is the same; the message says why."""


class Snapshot:
    """What one clone is told, and whether it has been restored."""

    def __init__(self, directory: Path, address: str) -> None:
        """Prepare it.

        Args:
            directory: A folder of the emulator's own.
            address: Host and port of the environment's APIs.

        Raises:
            SnapshotUnavailableError: Init cannot be the same here.
        """
        self._same_world = same_world()
        self._restored = directory / "restored"
        self._address = address
        self._authorization = secrets.token_hex(16)
        self._key_id = "ASIAINITIALISED00000"

    @property
    def variables(self) -> dict[str, str]:
        """Variables of the function and of its extensions.

        Source: a function with SnapStart has no static credentials; observed in AWS's Runtime
        Interface Emulator with `--enable-init-caching`.
        """
        return {
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{self._address}{CREDENTIALS_PATH}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self._authorization,
            "LAMBDA_EMULATOR_RESTORED": str(self._restored),
            "LD_PRELOAD": str(self._same_world),
        }

    @property
    def key_id(self) -> str:
        """The access key that the credentials endpoint hands out now."""
        return self._key_id

    @property
    def restored(self) -> bool:
        """Whether it has gone on from the snapshot."""
        return self._restored.exists()

    def restore(self) -> None:
        """Let chance and clock be those of the machine, and hand out other credentials."""
        self._key_id = f"ASIA{secrets.token_hex(8).upper()}"
        self._restored.touch()

    def credentials(self, authorization: str) -> Answer:
        """Answer a request for credentials.

        Shape: {"AccessKeyId": "…", "SecretAccessKey": "…", "Token": "…",
                "Expiration": "2026-11-21T12:00:00Z"}
        """
        if authorization != self._authorization:
            return Answer(401, [], b"")
        expiration = time.gmtime(time.time() + CREDENTIALS_SECONDS)
        body = {
            "AccessKeyId": self._key_id,
            "SecretAccessKey": "emulator-secret-key",
            "Token": f"token-of-{self._key_id}",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", expiration),
        }
        return Answer(200, [("content-type", "application/json")], json.dumps(body).encode())


@functools.cache
def same_world() -> Path:
    """Compile the shared object, once a process; return its path.

    Raises:
        SnapshotUnavailableError: There is no C compiler, or this is not Linux.
    """
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if sys.platform != "linux" or compiler is None:
        message = "Clones of a snapshot need Linux and a C compiler (cc) on this machine."
        raise SnapshotUnavailableError(message)
    folder = Path(_folder().name)
    source, target = folder / "same_world.c", folder / "same_world.so"
    source.write_text(_SAME_WORLD.replace("INIT_EPOCH_SECONDS", str(INIT_EPOCH_SECONDS)))
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(source)]
    compiled = subprocess.run(  # noqa: S603 - the compiler that was found, and our own source
        command, capture_output=True, check=False, text=True, timeout=_COMPILING_SECONDS
    )
    if compiled.returncode:
        message = f"{compiler} does not compile what makes Inits the same: {compiled.stderr}"
        raise SnapshotUnavailableError(message)
    return target


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Make the folder of the shared object; it is removed when this process ends."""
    return tempfile.TemporaryDirectory(prefix="lambda-snapshots-", ignore_cleanup_errors=True)
