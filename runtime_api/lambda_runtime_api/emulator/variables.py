"""The environment variables of a function and of its extensions, by AWS's rules.

Source: Lambda developer guide, "Defined runtime environment variables" and "Extensions API"
(which variables an extension does not get), 2026-10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lambda_runtime_api.emulator.runtimes import PythonRuntime

ACCOUNT_ID = "123456789012"
MANAGED_INSTANCES = "lambda-managed-instances"
"""`AWS_LAMBDA_INITIALIZATION_TYPE` of a function on Managed Instances."""

_HIDDEN_FROM_EXTENSIONS = frozenset(
    {
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "PYTHONDONTWRITEBYTECODE",  # ours, for the runtime alone
        "PYTHONPATH",  # set by the runtime's own bootstrap
    }
)

_STATIC_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Function(NamedTuple):
    """The function that an environment runs."""

    name: str
    handler: str
    timeout_seconds: float
    memory_mb: int
    region: str = "us-east-1"
    account_id: str = ACCOUNT_ID
    version: str = "$LATEST"

    @property
    def arn(self) -> str:
        """What it is invoked by."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.name}"


class Places(NamedTuple):
    """Where things lie that have fixed paths on AWS."""

    task_root: Path
    opt: Path | None
    directory: Path
    """The environment's own, in the place of `/tmp`."""


def function_variables(
    function: Function,
    places: Places,
    runtime: PythonRuntime | None,
    given: Mapping[str, str],
) -> dict[str, str]:
    """Make the function's environment; what the user gives wins."""
    task_root = str(places.task_root)
    variables = {
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_ACCESS_KEY_ID": "ASIAEMULATOREXAMPLE0",
        "AWS_SECRET_ACCESS_KEY": "emulator-secret-key",
        "AWS_SESSION_TOKEN": "emulator-session-token",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
        "LAMBDA_TASK_ROOT": task_root,
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TMPDIR": str(places.directory),
        "TZ": ":UTC",
        "_HANDLER": function.handler,
    }
    library_path = [task_root, f"{task_root}/lib"]
    if places.opt is not None:
        variables["PATH"] += f":{places.opt}/bin"
        library_path.append(f"{places.opt}/lib")
    if runtime is not None:
        variables.update(_python_variables(places, runtime))
        variables["PATH"] = f"{runtime.python.parent}:{variables['PATH']}"
        library_path[:0] = [str(directory) for directory in runtime.library_path]
    variables["LD_LIBRARY_PATH"] = ":".join(library_path)
    return {**variables, **given}


def without_static_credentials(variables: Mapping[str, str]) -> dict[str, str]:
    """Leave out what a function with SnapStart is not given."""
    return {name: value for name, value in variables.items() if name not in _STATIC_CREDENTIALS}


def extension_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Make an extension's environment of the function's."""
    return {
        name: value
        for name, value in variables.items()
        if not name.startswith("_") and name not in _HIDDEN_FROM_EXTENSIONS
    }


def _python_variables(places: Places, runtime: PythonRuntime) -> dict[str, str]:
    path = [str(places.task_root)]
    if places.opt is not None:
        site_packages = f"{places.opt}/python/lib/python{runtime.version}/site-packages"
        path += [site_packages, f"{places.opt}/python"]
    path.append(str(runtime.libraries))
    return {
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{runtime.version}",
        "LAMBDA_RUNTIME_DIR": str(runtime.libraries),
        "PYTHONDONTWRITEBYTECODE": "1",  # the task root is read-only on AWS
        "PYTHONPATH": ":".join(path),
    }
