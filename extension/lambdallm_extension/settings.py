"""The sidecar's settings, read once from the environment; nothing else reads it.

A wrong value never raises here: it becomes a `problem` that is logged, and the default stands,
because a sidecar that does not start takes the function down.
"""

from __future__ import annotations

import os
import time

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


PORT_MAX = 65_535
MEMORY_MAX_MB = 1_048_576
"""Far above what Lambda gives, on instances too: more is no number of megabytes."""

DEFAULT_NAMESPACE = "LambdaLLM"
NAMESPACE_MAX = 255
"""Source: CloudWatch API reference, `PutMetricData`, 2026-10."""


class SystemClock:
    """The machine's clocks."""

    def epoch_ms(self) -> int:
        """Wall clock, milliseconds since 1970."""
        return int(time.time() * 1_000)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds since the machine started, its suspensions included where it tells them."""
        clock = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it
        return time.monotonic() if clock is None else time.clock_gettime(clock)


class SystemRandom:
    """Chance from the kernel: nothing that a snapshot could clone."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number between the two."""
        return low + (high - low) * int.from_bytes(os.urandom(7), "big") / 2**56


class Settings(NamedTuple):
    """What the sidecar was told, with defaults filled in.

    Attributes:
        in_lambda: Whether this is an execution environment (`AWS_LAMBDA_RUNTIME_API` is set).
        snap_start: Whether the environment is a clone of a snapshot that is taken after Init.
        store_url: `LAMBDALLM_STORE`: `dynamodb://TABLE`, `sqlite:///PATH`, `memory:`, or "" when
            nobody said: SQLite outside Lambda, a `SettingError` for declared sessions inside.
        region: `AWS_REGION`, else `AWS_DEFAULT_REGION`, else "".
        model: `LAMBDALLM_MODEL`, else the default.
        telemetry: Whether metrics are written to stdout: `LAMBDALLM_TELEMETRY` is `on` or `off`,
            by default on inside Lambda only.
        endpoints: Service to base URL, from `AWS_ENDPOINT_URL_<SERVICE>` and `AWS_ENDPOINT_URL`
            (under the key ""). `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true` empties it.
        environ: The environment as it was, for what the AWS client itself reads there:
            credentials, proxies, trust, FIPS and dual-stack endpoints.
        problems: Sentences about settings that were wrong, to log once.
    """

    runtime_api: str
    in_lambda: bool
    managed_instances: bool
    snap_start: bool
    function_name: str
    function_version: str
    memory_mb: int
    region: str
    store_url: str
    model: str
    port: int
    directory: str
    endpoints: Mapping[str, str]
    metrics_namespace: str
    telemetry: bool
    environ: Mapping[str, str]
    problems: tuple[str, ...]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from `environ`, the process's own environment if None."""
        environ = dict(os.environ) if environ is None else environ
        problems: list[str] = []
        return cls(
            runtime_api=environ.get("AWS_LAMBDA_RUNTIME_API", ""),
            in_lambda=bool(
                environ.get("AWS_LAMBDA_RUNTIME_API") or environ.get("AWS_LAMBDA_FUNCTION_NAME")
            ),
            managed_instances=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")
            == "lambda-managed-instances",
            snap_start=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start",
            function_name=environ.get("AWS_LAMBDA_FUNCTION_NAME", "local"),
            function_version=environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            memory_mb=_integer(
                environ, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 128, MEMORY_MAX_MB, problems
            ),
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "",
            store_url=environ.get(names.ENVIRONMENT_STORE, ""),
            model=environ.get(names.ENVIRONMENT_MODEL) or names.DEFAULT_MODEL,
            port=_integer(environ, names.ENVIRONMENT_PORT, names.DEFAULT_PORT, PORT_MAX, problems),
            directory=environ.get(names.ENVIRONMENT_DIRECTORY) or names.DEFAULT_DIRECTORY,
            endpoints=_endpoints(environ),
            metrics_namespace=_namespace(environ, problems),
            telemetry=_telemetry(environ, problems),
            environ=environ,
            problems=tuple(problems),
        )


def _telemetry(environ: Mapping[str, str], problems: list[str]) -> bool:
    choice = environ.get("LAMBDALLM_TELEMETRY", "").lower()
    if choice in ("on", "off"):
        return choice == "on"
    default = bool(environ.get("AWS_LAMBDA_FUNCTION_NAME"))
    if choice:
        used = "on" if default else "off"
        problems.append(f"LAMBDALLM_TELEMETRY={choice!r} is not 'on' or 'off'; {used!r} is used.")
    return default


def _namespace(environ: Mapping[str, str], problems: list[str]) -> str:
    name = environ.get("LAMBDALLM_METRICS_NAMESPACE", "")
    plain = name.translate(dict.fromkeys(map(ord, "._-/#: "), "a"))
    if name and not (
        plain.isascii()
        and plain.isalnum()
        and len(name) <= NAMESPACE_MAX
        and not name.startswith((":", "AWS/"))
        and name.strip()
    ):
        problems.append(
            f"LAMBDALLM_METRICS_NAMESPACE={name[:80]!r} is no namespace for CloudWatch (up to 255 "
            f"of A-Z, a-z, 0-9 and ._-/#: and not AWS/…); {DEFAULT_NAMESPACE!r} is used."
        )
        return DEFAULT_NAMESPACE
    return name or DEFAULT_NAMESPACE


def _endpoints(environ: Mapping[str, str]) -> dict[str, str]:
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return {}
    endpoints = {}
    for name, value in environ.items():
        if name == "AWS_ENDPOINT_URL" and value:
            endpoints[""] = value
        elif name.startswith("AWS_ENDPOINT_URL_") and value:
            endpoints[name[len("AWS_ENDPOINT_URL_") :].lower().replace("_", "-")] = value
    return endpoints


def _integer(
    environ: Mapping[str, str], name: str, default: int, most: int, problems: list[str]
) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if text.isascii() and text.isdecimal() and 0 < int(text) <= most:
        return int(text)
    problems.append(f"{name}={text!r} is not a number from 1 to {most}; {default} is used.")
    return default
