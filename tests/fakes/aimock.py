"""Model APIs in one process, written by others (npm: @copilotkit/aimock)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes.child_servers import serve_in_child
from lambda_runtime_api.emulator.server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "1.43.0"
CACHE = Path(__file__).parent.parent.parent / ".cache" / f"aimock-{VERSION}"
INSTALLING_SECONDS = 120


def install() -> Path:
    """Return the program; it is fetched once, and what cannot have it skips its tests."""
    program = CACHE / "node_modules" / ".bin" / "llmock"
    npm = shutil.which("npm")
    if program.exists():
        return program
    if npm is None or shutil.which("node") is None:
        pytest.skip("aimock needs Node.js with npm, which is not here")
    CACHE.parent.mkdir(exist_ok=True)
    draft = CACHE.with_name(f"{CACHE.name}-{os.getpid()}")
    fetched = subprocess.run(
        [
            *(npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"),
            *("--prefix", str(draft), f"@copilotkit/aimock@{VERSION}"),
        ],
        capture_output=True,
        text=True,
        timeout=INSTALLING_SECONDS,
        check=False,
    )
    if fetched.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        pytest.skip(f"npm cannot install aimock {VERSION}: {fetched.stderr[-200:]}")
    try:
        draft.rename(CACHE)
    except OSError:  # another worker was faster
        shutil.rmtree(draft)
    return program


@contextlib.contextmanager
def serve_aimock(folder: Path, fixtures: list[dict[str, Any]]) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; the value is the base URL."""
    program = install()
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}), encoding="utf-8")
    port = free_port()
    command = [
        *(str(program), "--port", str(port), "--host", "127.0.0.1"),
        *("--fixtures", str(folder / "fixtures.json"), "--strict"),
    ]
    with serve_in_child(command, folder, port):
        yield f"http://127.0.0.1:{port}"
