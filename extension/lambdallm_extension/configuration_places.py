"""Where `lambdallm.yaml` is looked for."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TASK_ROOT = "/var/task"
"""The function's folder. Lambda sets `LAMBDA_TASK_ROOT` for the function, not for extensions.

Source: Lambda developer guide, "Extensions API", environment variables, 2026-10.
"""

NAMES = ("lambdallm.yaml", "lambdallm.json")


def find(environ: Mapping[str, str]) -> str:
    """Return the path of the configuration, "" where there is none.

    One that `LAMBDALLM_CONFIG` names is returned as it was said, where it is not there either.
    """
    path = environ.get("LAMBDALLM_CONFIG", "")
    root = environ.get("LAMBDA_TASK_ROOT", "")
    folders = [root]
    if not root and environ.get("AWS_LAMBDA_RUNTIME_API"):
        folders = [TASK_ROOT, ""]
    candidates = [
        f"{folder}/{name}" if folder else name
        for folder in folders
        for name in ((path,) if path else NAMES)
    ]
    if path.startswith("/"):
        candidates = [path]
    for candidate in candidates:
        if os.path.exists(candidate):  # noqa: PTH110 - pathlib is not loaded before /next
            return candidate
    return path
