"""Lines for people, on stderr: one JSON object each, never with prompt or answer text."""

from __future__ import annotations

import json
import sys


def write(level: str, message: str, **facts: object) -> None:
    """Write one line.

    Args:
        level: `INFO`, `WARNING` or `ERROR`.
        message: A sentence.
        **facts: Further fields; what JSON does not know is written as text.
    """
    line = {"level": level, "logger": "lambdallm", "message": message, **facts}
    sys.stderr.write(json.dumps(line, default=str) + "\n")
    sys.stderr.flush()
