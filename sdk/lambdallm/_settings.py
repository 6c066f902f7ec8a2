"""The SDK's settings and its clock: the only module of it that reads either."""

from __future__ import annotations

import os
import time

from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Settings:
    """What the function's environment says.

    Attributes:
        in_lambda: Whether this is an execution environment.
        snap_start: Whether Init is repeated by clones of a snapshot that is taken after it.
        sidecar: Whether to look for one; `LAMBDALLM_SIDECAR=off` says no.
        directory: Where the sidecar leaves its token.
        port: Where it is expected; only words about it use this.
        model: `LAMBDALLM_MODEL`, else the default model.
        embedding_model: `LAMBDALLM_EMBEDDING_MODEL`, else the default one.
        region: Where `get_raw_client` goes.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read them; a wrong port is the default one."""
        port = environ.get(names.ENVIRONMENT_PORT, "")
        self.in_lambda = bool(
            environ.get("AWS_LAMBDA_RUNTIME_API") or environ.get("AWS_LAMBDA_FUNCTION_NAME")
        )
        self.snap_start = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
        self.sidecar = environ.get(names.ENVIRONMENT_SIDECAR, "").lower() != "off"
        self.directory = environ.get(names.ENVIRONMENT_DIRECTORY) or names.DEFAULT_DIRECTORY
        self.port = int(port) if port.isascii() and port.isdecimal() else names.DEFAULT_PORT
        self.model = environ.get(names.ENVIRONMENT_MODEL) or names.DEFAULT_MODEL
        self.embedding_model = (
            environ.get(names.ENVIRONMENT_EMBEDDING_MODEL) or names.DEFAULT_EMBEDDING_MODEL
        )
        self.region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from `environ`, the process's own environment if None."""
        return cls(os.environ if environ is None else environ)


RESUME_QUEUE = "LAMBDALLM_RESUME_QUEUE"
"""URL of the queue of `Chain(resume="sqs")`."""

RESUME_ROLE = "LAMBDALLM_RESUME_ROLE"
"""ARN of the role of `Chain(resume="schedule")`."""


def variable(name: str) -> str:
    """Return what a variable of the environment says, "" for nothing."""
    return os.environ.get(name, "").strip()


def environ_with(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the process's environment with some variables replaced."""
    return {**os.environ, **overrides}


def runtime_api() -> str:
    """Return host and port of Lambda's Runtime API, "" outside of Lambda."""
    return os.environ.get("AWS_LAMBDA_RUNTIME_API", "")


def function_name() -> str:
    """Return this function's name, "" outside of Lambda."""
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def store_url() -> str:
    """Return what LAMBDALLM_STORE says, "" for nothing."""
    return os.environ.get(names.ENVIRONMENT_STORE, "").strip()


def epoch_ms() -> int:
    """Wall clock in milliseconds since 1970, for deadlines and expiries."""
    return time.time_ns() // 1_000_000


def trace_id() -> str:
    """Return the `X-Amzn-Trace-Id` of the invocation that runs now, "" where there is none."""
    return os.environ.get("_X_AMZN_TRACE_ID", "")


def monotonic() -> float:
    """Seconds that never go back, for durations."""
    return time.monotonic()


def random_id() -> str:
    """Return 128 bits of chance in hex; made at the call, so a snapshot never repeats it."""
    return os.urandom(16).hex()
