"""Pythons that can run a function: an interpreter with AWS's runtime client beside it.

The function gets the interpreter *below* a virtual environment, and of the environment only what
AWS's managed runtimes bring along. So a handler that imports something it did not pack fails
here as it would fail there.
"""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import NamedTuple, TypedDict

_LIBRARIES = (
    "awslambdaric",
    "runtime_client",
    "simplejson",
    "snapshot_restore_py",
    "boto3",
    "botocore",
    "dateutil",
    "jmespath",
    "s3transfer",
    "six",
    "urllib3",
)
"""The runtime client with what it needs, then the SDK that managed runtimes carry."""

_PROBE_TIMEOUT_SECONDS = 30

_PROBE = """
import importlib.util, json, os, sys, sysconfig
found = {}
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin:
        package = spec.submodule_search_locations
        found[name] = list(package)[0] if package else spec.origin
version = "%d.%d" % sys.version_info[:2]
beside = os.path.join(sys.base_prefix, "bin", "python" + version)
shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
base = getattr(sys, "_base_executable", sys.executable)
print(json.dumps({
    "python": beside if os.path.exists(beside) else base,
    "version": version,
    "library_path": [sysconfig.get_config_var("LIBDIR")] if shared else [],
    "found": found,
}))
"""


class RuntimeNotFoundError(Exception):
    """A Python that cannot run functions; the message says what it lacks."""


class PythonRuntime(NamedTuple):
    """An interpreter, and a folder with the libraries of a managed runtime."""

    python: Path
    version: str
    libraries: Path
    library_path: tuple[Path, ...]


def prepare_runtime(python: Path, libraries: Path) -> PythonRuntime:
    """Find a Python's runtime client, and link it into a folder of its own.

    Args:
        python: An interpreter that can import `awslambdaric`, of a virtual environment or not.
        libraries: A folder to make.

    Raises:
        RuntimeNotFoundError: It is no Python, or has no `awslambdaric`.
    """
    facts = _probe(str(python))
    found = facts["found"]
    if "awslambdaric" not in found:
        message = f"{python} cannot import awslambdaric: install it there with pip."
        raise RuntimeNotFoundError(message)
    libraries.mkdir(parents=True)
    for source in found.values():
        (libraries / Path(source).name).symlink_to(source)
    library_path = tuple(Path(directory) for directory in facts["library_path"])
    return PythonRuntime(Path(facts["python"]), facts["version"], libraries, library_path)


class _Facts(TypedDict):
    """What the probe prints."""

    python: str
    version: str
    library_path: list[str]
    found: dict[str, str]


@functools.cache
def _probe(python: str) -> _Facts:
    try:
        completed = subprocess.run(  # noqa: S603 - an interpreter that the caller names
            [python, "-I", "-c", _PROBE, *_LIBRARIES],
            capture_output=True,
            check=True,
            timeout=_PROBE_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        message = f"{python} cannot be asked for its runtime client: {error}"
        raise RuntimeNotFoundError(message) from error
    facts: _Facts = json.loads(completed.stdout)
    return facts
