"""What an extension asks of the Telemetry API, and what it reads of the answers; no I/O.

    PUT /2022-07-01/telemetry  subscription(…)  ─►  POST http://sandbox.localdomain:PORT/PATH
                                                    [{"time": …, "type": …, "record": …}, …]

`platform.report` says what an invocation is billed for. It comes when every extension has asked for
its next event: in the invocation behind, or at SHUTDOWN. After a timeout or a crash it comes when
the extensions have ended, so that `platform.runtimeDone`, which comes before, is all they hear.

Source: Lambda developer guide, "Telemetry API" and its references, 2026-10.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/2022-07-01/telemetry"

HOST = "sandbox.localdomain"
"""The only host (with `sandbox`) that a destination may have; it is this environment's."""

SCHEMA = "2022-12-13"

MANAGED_SCHEMA = "2025-01-29"
"""The only one that Managed Instances take; their reports have a duration and no bill."""

ITEMS_MAX = 1_000
BYTES_MAX = 262_144
"""Of a batch, in round numbers: it may be twice as much and a little more. The least there are."""

LATEST_MS = 100
"""How long a batch is collected, of 25 to 30,000 ms.

An invocation's events come at its two ends, so that longer batches are hardly fewer; where
invocations are short, they are larger, and what reading one takes of memory stays taken.
"""


class Report(NamedTuple):
    """An invocation, and its bill.

    Attributes:
        status: `success`, `error`, `failure` or `timeout`.
        billed_ms: Init included where it is billed.
        memory_mb: The function's.
        memory_used_mb, init_ms: None where they are not said.
    """

    request_id: str
    status: str
    billed_ms: int
    memory_mb: int
    memory_used_mb: int | None = None
    init_ms: float | None = None


class RuntimeDone(NamedTuple):
    """The runtime has answered, or cannot any more; extensions may still be busy."""

    request_id: str
    status: str
    duration_ms: float


def subscription(port: int, path: str, *, schema: str = SCHEMA) -> bytes:
    """Make the body of a subscription to platform events.

    Args:
        port: Where this extension listens, at the address of `HOST`.
        path: That batches are sent to.
        schema: Of the events.
    """
    return (
        f'{{"schemaVersion":"{schema}","types":["platform"],"buffering":{{"maxItems":{ITEMS_MAX},'
        f'"maxBytes":{BYTES_MAX},"timeoutMs":{LATEST_MS}}},"destination":{{"protocol":"HTTP",'
        f'"URI":"http://{HOST}:{port}{path}"}}}}'
    ).encode("ascii")


def read_events(batch: object) -> list[Report | RuntimeDone]:
    """Return what a batch says of invocations; what it says else is left out.

    Reports without a bill, as on Managed Instances, are left out, too.

    Raises:
        ValueError: It is no batch.
    """
    if not isinstance(batch, list):
        message = "A batch of events is a JSON array."
        raise ValueError(message)  # noqa: TRY004 - of what was read, not of the call
    return [event for event in map(_read, batch) if event is not None]


def _read(event: object) -> Report | RuntimeDone | None:
    if not isinstance(event, dict):
        return None
    kind, record = event.get("type"), event.get("record")
    if kind not in ("platform.report", "platform.runtimeDone") or not isinstance(record, dict):
        return None
    request_id, metrics = record.get("requestId"), record.get("metrics")
    if not (isinstance(request_id, str) and isinstance(metrics, dict)):
        return None
    status = str(record.get("status", ""))
    if kind == "platform.runtimeDone":
        duration_ms = _number(metrics, "durationMs")
        return None if duration_ms is None else RuntimeDone(request_id, status, duration_ms)
    billed_ms, memory_mb = _number(metrics, "billedDurationMs"), _number(metrics, "memorySizeMB")
    if billed_ms is None or memory_mb is None:
        return None
    used_mb = _number(metrics, "maxMemoryUsedMB")
    return Report(
        request_id,
        status,
        round(billed_ms),
        round(memory_mb),
        None if used_mb is None else round(used_mb),
        _number(metrics, "initDurationMs"),
    )


_NUMBER_MAX = 1e9
"""Eleven days in milliseconds, a petabyte in megabytes: what is above was not measured."""


def _number(metrics: Mapping[str, object], name: str) -> float | None:
    value = metrics.get(name)
    if type(value) in (int, float) and 0 <= value <= _NUMBER_MAX:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    return None
