"""Servers of others, each in a child process that lives as long as a block."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

STARTING_SECONDS = 60
STOPPING_SECONDS = 10


@contextlib.contextmanager
def serve_in_child(
    command: list[str],
    folder: Path,
    port: int,
    *,
    environ: Mapping[str, str] | None = None,
    is_up: Callable[[], bool] = lambda: True,
    terminate: bool = True,
) -> Iterator[None]:
    """Run a server beside the block, which begins when it listens and is up.

    Args:
        command: The program with its arguments; its stdin ends when we do.
        folder: Where it works, and leaves what it prints in `log`.
        port: Of 127.0.0.1, as it was told.
        environ: Its variables, if not ours.
        is_up: Whether it serves, of one that listens before.
        terminate: False kills it in the end, as one needs that would wait for its clients.
    """
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        give_up = time.monotonic() + STARTING_SECONDS
        while not (_is_open(port) and is_up()):
            if process.poll() is not None or time.monotonic() > give_up:
                said = log.read_text(errors="replace")[-2000:]
                pytest.fail(f"{command} does not serve:\n{said}")
            time.sleep(0.02)
        yield
    finally:
        end = process.terminate if terminate else process.kill
        end()
        process.communicate(timeout=STOPPING_SECONDS)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
