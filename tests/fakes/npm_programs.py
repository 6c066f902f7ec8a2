"""Programs of others that come from npm, each fetched once into the repository's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(__file__).parent.parent.parent / ".cache"
INSTALLING_SECONDS = 120


def install(package: str, version: str, program: str) -> Path:
    """Return a package's program; what cannot have it skips its tests."""
    name = package.rpartition("/")[2]
    place = CACHE / f"{name}-{version}"
    npm = shutil.which("npm")
    installed = place / "node_modules" / ".bin" / program
    if installed.exists():
        return installed
    if npm is None or shutil.which("node") is None:
        pytest.skip(f"{name} needs Node.js with npm, which is not here")
    CACHE.mkdir(exist_ok=True)
    draft = place.with_name(f"{place.name}-{os.getpid()}")
    fetched = subprocess.run(
        [
            *(npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"),
            *("--prefix", str(draft), f"{package}@{version}"),
        ],
        capture_output=True,
        text=True,
        timeout=INSTALLING_SECONDS,
        check=False,
    )
    if fetched.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        pytest.skip(f"npm cannot install {name} {version}: {fetched.stderr[-200:]}")
    try:
        draft.rename(place)
    except OSError:  # another worker was faster
        shutil.rmtree(draft)
    return installed
