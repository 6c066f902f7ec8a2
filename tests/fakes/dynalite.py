"""A second DynamoDB-compatible server, written by others (npm: dynalite).

It is atomic, and less than AWS: it knows no transactions, and a refused condition does not say
what stands there.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fakes.child_servers import serve_in_child
from fakes.npm_programs import install
from lambda_runtime_api.emulator.server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "4.0.0"


@contextlib.contextmanager
def serve_dynalite(folder: Path) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; the value is the base URL."""
    program = install("dynalite", VERSION, "dynalite")
    port = free_port()
    command = [
        *(str(program), "--host", "127.0.0.1", "--port", str(port)),
        *("--createTableMs", "0"),
    ]
    with serve_in_child(command, folder, port, terminate=False):
        yield f"http://127.0.0.1:{port}"
