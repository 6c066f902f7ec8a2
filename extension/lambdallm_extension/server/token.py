"""The two secrets of an environment, and the files that hand them to its function.

    token        opens all routes; made anew after a restore from a snapshot
    client key   opens the drop-in endpoints alone; made before anything is loaded, and kept

They keep web pages and confused proxies (SSRF) out. They cannot keep the function's own code out,
nor are they meant to: both are one user in one environment. Clones of a snapshot share the client
key, because clients that were made before the snapshot hold it; nobody outside of a clone reaches
its endpoints, which are on its own 127.0.0.1.
"""

from __future__ import annotations

import os
import stat

from lambdallm_wire import names

TOKEN_BYTES = 32


def listen_directory(directory: str) -> str:
    """Make the directory if it is not there, for this user alone; leave one that is as it is.

    Raises:
        OSError: It cannot be made, belongs to somebody else, or others may write there.
    """
    try:
        os.mkdir(directory, 0o700)  # noqa: PTH102 - pathlib is not loaded before register
    except FileExistsError:
        found = os.lstat(directory)
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            message = (
                f"{directory} belongs to somebody else, or is no directory; set "
                f"{names.ENVIRONMENT_DIRECTORY} to one of the function's own, which is made"
            )
            raise PermissionError(message) from None
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            message = (
                f"Other users may write to {directory}; set {names.ENVIRONMENT_DIRECTORY} to a "
                f"directory of its own, such as {directory.rstrip('/')}/lambdallm, which is made"
            )
            raise PermissionError(message) from None
    return directory


def make_token() -> str:
    """Return a fresh token, in hex."""
    return os.urandom(TOKEN_BYTES).hex()


def make_client_key() -> str:
    """Return a fresh client key."""
    return names.CLIENT_KEY_BEGINNING + make_token()


def write_token(directory: str, port: int, token: str) -> None:
    """Leave `PORT TOKEN` in the directory, whole or not at all, readable by this user alone.

    Raises:
        OSError: The directory or the file system does not let us.
    """
    _write(f"{listen_directory(directory)}/{names.TOKEN_FILE}", f"{port} {token}\n")


def write_client_key(directory: str, port: int, client_key: str) -> None:
    """Leave `PORT KEY` beside the token, in the same way.

    Raises:
        OSError: The directory or the file system does not let us.
    """
    _write(f"{listen_directory(directory)}/{names.CLIENTS_FILE}", f"{port} {client_key}\n")


def write_nobody(directory: str) -> None:
    """Say in the client key's place that nobody is going to listen.

    Raises:
        OSError: The directory or the file system does not let us.
    """
    _write(f"{listen_directory(directory)}/{names.CLIENTS_FILE}", f"{names.NOBODY}\n")


def _write(path: str, text: str) -> None:
    draft = f"{path}.{os.getpid()}"
    try:  # noqa: SIM105 - contextlib costs 3 ms, which a small function waits a second for
        os.unlink(draft)  # noqa: PTH108 - left by a process that was killed here
    except FileNotFoundError:
        pass
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(draft, flags, 0o600)
    try:
        os.write(descriptor, text.encode("ascii"))
    except OSError as error:
        os.unlink(draft)  # noqa: PTH108 - as above
        message = (
            f"{path} cannot be written, {error.strerror}; make room there, or set "
            f"{names.ENVIRONMENT_DIRECTORY} to a directory that has some"
        )
        raise OSError(error.errno, message) from error
    finally:
        os.close(descriptor)
    os.replace(draft, path)  # noqa: PTH105
