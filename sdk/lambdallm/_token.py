"""Where the sidecar listens and what it asks for: what it leaves in files for this user alone."""

from __future__ import annotations

import os

from lambdallm import _errors
from lambdallm._connection import Connection, Unsent
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm._settings import Settings

_MAX_BYTES = 512
_PORT_MAX = 65_535


class SidecarAbsentError(Exception):
    """No sidecar serves this process; the message says how that was seen.

    `silent` is one that took the connection and said nothing: it may still be starting.
    `asleep` is one that loads only when it is woken, as after a reset.
    """

    def __init__(self, message: str, *, silent: bool = False, asleep: bool = False) -> None:
        super().__init__(message)
        self.silent = silent
        self.asleep = asleep


def read_token(directory: str) -> tuple[int, str]:
    """Read the port and the token that the sidecar left.

    Raises:
        SidecarAbsentError: There is no such file, or somebody else could have written or read it.
    """
    path = f"{directory}/{names.TOKEN_FILE}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        reason = f"no token in {path}: {error.strerror}"
        raise SidecarAbsentError(reason) from error
    try:
        status = os.fstat(descriptor)
        data = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        reason = f"{path} belongs to somebody else or is open to others"
        raise SidecarAbsentError(reason)
    port, _, token = data.decode("ascii", "replace").strip().partition(" ")
    if not (port.isdigit() and 0 < int(port) <= _PORT_MAX and token.isalnum()):
        reason = f"{path} does not hold a port and a token"
        raise SidecarAbsentError(reason)
    return int(port), token


def read_pid(directory: str) -> int:
    """Return the process id that the sidecar left, 0 for none."""
    try:
        descriptor = os.open(f"{directory}/{names.RUNNING_FILE}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        data = os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)
    return int(data) if data.isdigit() else 0


def wake(settings: Settings) -> None:
    """Let a sidecar that is asleep load, beside whatever this process does meanwhile.

    Raises:
        SidecarAbsentError: It is gone.
    """
    port, _ = read_token(settings.directory)
    try:
        Connection(port).close()
    except OSError as error:
        raise absence(error) from error


def absence(error: Exception) -> SidecarAbsentError:
    """Say what a failure to reach it means."""
    if isinstance(error, Unsent) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, TimeoutError):
        return SidecarAbsentError("it takes connections but does not answer", silent=True)
    if isinstance(error, OSError):
        return SidecarAbsentError(f"connecting failed: {error.strerror}")
    if isinstance(error, _errors.LambdaLLMError):
        return SidecarAbsentError(error.detail)
    return SidecarAbsentError("something else listens there")
