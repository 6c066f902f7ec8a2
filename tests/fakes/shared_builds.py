"""What is made once for a run of the tests, whichever of its workers needs it first."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that all workers share, once somebody has filled it.

    Args:
        factory: Where the run's files are.
        name: Of the folder, unlike any other.
        make: Fills it. What it raises is raised here, and the next one tries again.
    """
    run = factory.getbasetemp()
    shared = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "shared"
    folder = shared / name
    folder.mkdir(parents=True, exist_ok=True)
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = shared / f"{name}.made"
        if not made.exists():
            make(folder)
            made.touch()
    return folder
