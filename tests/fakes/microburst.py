"""A proxy that lets AWS calls fail as AWS lets them fail, written by others (PyPI: microburst)."""

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes.child_servers import serve_in_child
from lambda_runtime_api.emulator.server import free_port


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
    port = free_port()
    command = [
        *(sys.executable, "-m", "microburst", "--upstream", upstream),
        *("--host", "127.0.0.1", "--port", str(port), "--no-resign"),
    ]
    with serve_in_child(command, folder, port, terminate=False):  # it waits for kept connections
        # A name with dots is looked for in all models of botocore first, which takes seconds.
        yield Microburst(f"http://localhost:{port}")
