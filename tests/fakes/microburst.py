"""A proxy that lets AWS calls fail as AWS lets them fail, written by others (PyPI: microburst)."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STARTING_SECONDS = 30


class Microburst:
    """The proxy's address, and its rules: without any it passes everything on."""

    def __init__(self, url: str) -> None:
        self.url = url

    def rules(self, *rules: dict[str, Any]) -> None:
        """Let these hold from now on, and no others; of Bedrock no operation can be named."""
        body = json.dumps([{"service": "bedrock", **rule} for rule in rules]).encode()
        request = urllib.request.Request(
            f"{self.url}/_microburst/rules",
            data=body,
            headers={"content-type": "application/json"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status < 300, reply.read()


@contextlib.contextmanager
def serve_microburst(folder: Path, upstream: str) -> Iterator[Microburst]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ["--upstream", upstream, "--port", str(port), "--host", "127.0.0.1", "--no-resign"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "microburst", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(port, process, folder / "log")
        yield Microburst(f"http://127.0.0.1:{port}")
    finally:
        process.kill()  # it would wait for kept connections
        process.wait(10)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up = time.monotonic() + STARTING_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        time.sleep(0.02)
    pytest.fail(f"microburst does not listen:\n{log.read_text(errors='replace')[-2000:]}")
