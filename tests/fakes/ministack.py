"""AWS-compatible servers in one child process, written by others (PyPI: ministack)."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fakes.child_servers import serve_in_child
from lambda_runtime_api.emulator.server import free_port


@contextlib.contextmanager
def serve_ministack(folder: Path) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; the value is the base URL."""
    port = free_port()
    environ = {**os.environ, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    with serve_in_child([sys.executable, "-m", "ministack"], folder, port, environ=environ):
        yield f"http://127.0.0.1:{port}"
