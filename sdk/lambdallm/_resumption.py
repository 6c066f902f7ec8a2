"""Events that come again to go on with a run, and how they are asked for.

Shape: {…the event's own fields, "lambdallm_resume": {"run_id": "…", "identity": "…"}}, or the same
as the body of the one record of the queue of LAMBDALLM_RESUME_QUEUE; {"lambdallm_resume": {…,
"event": …}} where the event is no object. Bodies of other queues are what anybody has sent there:
they name no run, and nobody's event.
"""

from __future__ import annotations

import json

from lambdallm import _errors, _settings
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

RESUME = "lambdallm_resume"

VIA = ("self", "sqs", "schedule")

EVENT_MAX_BYTES = 240_000
"""Of an event that is sent again. An asynchronous invocation took 256 KB for years, a schedule and
a message still do; a quarter MB of words is a long event.

Source: quotas of Lambda, SQS and EventBridge Scheduler, 2026-11.
"""


def found_in(event: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any] | None:
    """Return what an event says of a run, and the event that has begun it; None for others."""
    records = event.get("Records")
    if isinstance(records, list) and len(records) == 1 and isinstance(records[0], dict):
        body = records[0].get("body")
        if isinstance(body, str) and f'"{RESUME}"' in body and _is_of_our_queue(records[0]):
            try:
                within = json.loads(body)
            except ValueError:
                return None
            return found_in(within) if isinstance(within, dict) else None
    said = event.get(RESUME)
    if not isinstance(said, dict):
        return None
    rest = {name: value for name, value in event.items() if name != RESUME}
    return said, said.get("event", rest)


def _is_of_our_queue(record: Mapping[str, Any]) -> bool:
    """Compare account and name: .../ACCOUNT/NAME of the URL, arn:...:ACCOUNT:NAME of the record."""
    queue, arn = _settings.variable(_settings.RESUME_QUEUE), record.get("eventSourceARN")
    if not (queue and isinstance(arn, str)):
        return False
    return arn.split(":")[-2:] == queue.rstrip("/").split("/")[-2:]


def check(via: object) -> None:
    """Refuse what `Chain(resume=…)` cannot be.

    Raises:
        ConfigurationError: It is none of the ways.
    """
    if via is not None and via not in VIA:
        message = f"resume={via!r}: use {', '.join(map(repr, VIA))}, or None."
        raise _errors.ConfigurationError(message)


def terms(via: str, context: Any, run_id: str, event: Any, delay_seconds: float) -> dict[str, Any]:
    """Return how a run is gone on with (`lambdallm_wire.runs.ResumeRun`).

    Raises:
        ConfigurationError: A variable is missing, or the event cannot be sent again.
    """
    target = getattr(context, "invoked_function_arn", None) or _settings.function_name()
    if not target:
        message = f"resume={via!r} needs a Lambda function: nothing here says which one this is."
        raise _errors.ConfigurationError(message)
    found = {
        "via": via,
        "target": target,
        "delay_seconds": round(delay_seconds),
        "event": _again(event, run_id, context.event_identity),
    }
    if via == "sqs":
        found["queue_url"] = _required(_settings.RESUME_QUEUE, "the URL of a queue that invokes it")
    elif via == "schedule":
        found["role_arn"] = _required(
            _settings.RESUME_ROLE, "a role that EventBridge Scheduler invokes it as"
        )
    return found


def _again(event: Any, run_id: str, identity: str) -> str:
    said: dict[str, Any] = {"run_id": run_id, "identity": identity}
    if isinstance(event, dict):
        again: dict[str, Any] = {**event, RESUME: said}
    else:
        again = {RESUME: {**said, "event": event}}
    try:
        text = plain_json.dumps(again)
    except (TypeError, ValueError) as error:
        message = f"resume needs an event that is JSON: {error}."
        raise _errors.ConfigurationError(message) from error
    if len(text.encode("utf-8", "surrogatepass")) > EVENT_MAX_BYTES:
        message = (
            f"This event is larger than {EVENT_MAX_BYTES:,} bytes, so that it cannot be sent again "
            "to go on with its run. Put what is large into S3, and its key into the event."
        )
        raise _errors.ConfigurationError(message)
    return text


def _required(variable: str, what: str) -> str:
    value = _settings.variable(variable)
    if value:
        return value
    message = f"{variable} has to name {what}."
    raise _errors.ConfigurationError(message)
