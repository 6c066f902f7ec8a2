"""What a start leaves in `LAMBDALLM_DIRECTORY`: its marker, and what clients look for."""

from __future__ import annotations

import posix

from lambdallm_wire import names


def mark(directory: str) -> tuple[bool, str]:
    """Leave the marker; return whether one was there, and why none can be left.

    Then Lambda has reset the environment (after a timeout or a crash; /tmp is not cleared by that),
    and this start runs inside an invocation, under the function's own timeout and its few percent
    of a CPU.
    """
    import os

    from lambdallm_extension.server.token import listen_directory

    try:
        path = f"{listen_directory(directory)}/{names.RUNNING_FILE}"
        unclean = os.path.exists(path)  # noqa: PTH110 - pathlib is not loaded before /next
        with open(path, "w", encoding="ascii") as marker:  # noqa: PTH123
            marker.write(str(os.getpid()))
    except OSError as error:
        return False, unwritable(directory, error)
    return unclean, ""


def leave_for_clients(directory: str, port: int, client_key: str) -> str:
    """Leave what clients need, or word that there is nobody for them; return why that failed."""
    from lambdallm_extension.server import token

    try:
        if port:
            token.write_client_key(directory, port, client_key)
        else:
            token.write_nobody(directory)
    except OSError as error:
        return unwritable(directory, error)
    return ""


def unwritable(directory: str, error: OSError) -> str:
    """Say what to do about a directory that cannot be written."""
    if error.strerror is None:  # our own words, which say what to do
        return f"{error}."
    variable = names.ENVIRONMENT_DIRECTORY
    return f"{directory} cannot be written ({error.strerror}); set {variable} to one that can."


def unmark(directory: str) -> None:
    """Let the next start be one of a new environment."""
    remove(directory, names.RUNNING_FILE, names.STARTING_FILE)


def remove(directory: str, *files: str) -> None:
    """Remove files, as far as they are there."""
    for name in files:
        try:
            posix.unlink(f"{directory}/{name}")
        except OSError:
            continue  # it is not there, or could not be written either, which was logged
