"""Model APIs in one process, written by others (npm: @copilotkit/aimock)."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from fakes.child_servers import serve_in_child
from fakes.npm_programs import install
from lambda_runtime_api.emulator.server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "1.43.0"


@contextlib.contextmanager
def serve_aimock(folder: Path, fixtures: list[dict[str, Any]]) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; the value is the base URL."""
    program = install("@copilotkit/aimock", VERSION, "llmock")
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}), encoding="utf-8")
    port = free_port()
    command = [
        *(str(program), "--port", str(port), "--host", "127.0.0.1"),
        *("--fixtures", str(folder / "fixtures.json"), "--strict"),
    ]
    with serve_in_child(command, folder, port):
        yield f"http://127.0.0.1:{port}"
