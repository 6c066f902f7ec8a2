"""What the doctor is told by this machine: its environment and its clock."""

from __future__ import annotations

import os
import time


def environ() -> dict[str, str]:
    """Return the process's environment."""
    return dict(os.environ)


def epoch_seconds() -> float:
    """Wall clock, to be compared with AWS's."""
    return time.time()
