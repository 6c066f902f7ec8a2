"""The sidecar's settings, read once from the environment; nothing else reads it.

A wrong value never raises here: it becomes a `problem` that is logged, and the default stands,
because a sidecar that does not start takes the function down.
"""

from __future__ import annotations

import os
import sys
import time

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import configuration_places
from lambdallm_extension.configuration import EMPTY
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_extension.configuration import Configuration

PORT_MAX = 65_535
MEMORY_MAX_MB = 1_048_576
"""Far above what Lambda gives, on instances too: more is no number of megabytes."""

DEFAULT_NAMESPACE = "LambdaLLM"
_ENDPOINT = "AWS_ENDPOINT_URL"

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


SEED_BYTES = 48
"""More than the 256 bits that OpenSSL's generator is built for."""


def renew_chance() -> None:
    """Let OpenSSL, whose state a snapshot has cloned, draw from the kernel before it goes on."""
    openssl = sys.modules.get("_ssl")
    if openssl is not None:
        openssl.RAND_add(os.urandom(SEED_BYTES), SEED_BYTES)


class Settings(NamedTuple):
    """What the sidecar was told, with defaults filled in.

    Attributes:
        in_lambda: Whether this is an execution environment (`AWS_LAMBDA_RUNTIME_API` is set).
        snap_start: Whether the environment is a clone of a snapshot that is taken after Init.
        store_url: `LAMBDALLM_STORE`: `dynamodb://TABLE`, `redis://HOST`, `sqlite:///PATH`,
            `memory:`, or "" when nobody said: SQLite outside Lambda, a `SettingError` for declared
            sessions inside.
        region: `AWS_REGION`, else `AWS_DEFAULT_REGION`, else the configuration's, else "".
        model: `LAMBDALLM_MODEL`, else the configuration's, else the default.
        telemetry: Whether metrics are written to stdout: `LAMBDALLM_TELEMETRY` is `on` or `off`,
            by default on inside Lambda only.
        endpoints: Service to base URL, from `AWS_ENDPOINT_URL_<SERVICE>` and `AWS_ENDPOINT_URL`
            (under the key ""). `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true` empties it.
        environ: The environment as it was, for what the AWS client itself reads there:
            credentials, proxies, trust, FIPS and dual-stack endpoints.
        configuration: What `lambdallm.yaml` says; empty where there is none.
        problems: Sentences about settings that were wrong, and about the configuration's, to log
            once.
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
    configuration: Configuration
    problems: tuple[str, ...]

    @property
    def store_name(self) -> str:
        """`store_url` without the user and password that it may carry: for logs and errors."""
        before, at, after = self.store_url.strip().rpartition("@")
        scheme, separator, _ = before.partition("://")
        return (scheme + separator if separator else "") + after if at else after

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings from `environ`, the process's own environment if None."""
        environ = dict(os.environ) if environ is None else environ
        configuration = _configuration(environ)
        problems = [*configuration.problems]
        _check_compute(environ, problems)
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
            region=environ.get("AWS_REGION")
            or environ.get("AWS_DEFAULT_REGION")
            or configuration.default_region,
            store_url=environ.get(names.ENVIRONMENT_STORE, ""),
            model=environ.get(names.ENVIRONMENT_MODEL)
            or configuration.default_model
            or names.DEFAULT_MODEL,
            port=_integer(environ, names.ENVIRONMENT_PORT, names.DEFAULT_PORT, PORT_MAX, problems),
            directory=environ.get(names.ENVIRONMENT_DIRECTORY) or names.DEFAULT_DIRECTORY,
            endpoints=_endpoints(environ),
            metrics_namespace=_namespace(environ, problems),
            telemetry=_telemetry(environ, problems),
            environ=environ,
            configuration=configuration,
            problems=tuple(problems),
        )


def _configuration(environ: Mapping[str, str]) -> Configuration:
    """Read the configuration; where there is none, which is usual, that costs a look or two."""
    path = configuration_places.find(environ)
    if not path:
        return EMPTY
    from lambdallm_extension import configuration_file

    return configuration_file.read(path, environ.get("LAMBDALLM_ENV", ""))


def _check_compute(environ: Mapping[str, str], problems: list[str]) -> None:
    """Say where the variable is none: the process's start has looked at it before."""
    choice = environ.get(names.ENVIRONMENT_COMPUTE, "")
    if choice.lower() not in ("", "on", "off"):
        problems.append(
            f"{names.ENVIRONMENT_COMPUTE}={choice!r} is not 'on' or 'off'; 'on' is used."
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
    """Return the base URL of each service that has one.

    An address of this API is none: `exec-wrapper` puts it there for the function's own clients,
    and keeps what stood there before under `names.UPSTREAM_BEGINNING`, which wins.
    """
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return {}
    endpoints = {}
    for name, value in environ.items():
        if name == _ENDPOINT or name.startswith(f"{_ENDPOINT}_"):
            service = name[len(_ENDPOINT) + 1 :].lower().replace("_", "-")
            before = environ.get(f"{names.UPSTREAM_BEGINNING}{name}")
            url = value if before is None and not _is_ours(value, environ) else before
            if url:
                endpoints[service] = url
    return endpoints


def _is_ours(url: str, environ: Mapping[str, str]) -> bool:
    port = environ.get(names.ENVIRONMENT_PORT) or names.DEFAULT_PORT
    address = url.strip().partition("://")[2].partition("/")[0]
    return address in (f"{names.HOST}:{port}", f"localhost:{port}")


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
