"""What the Extensions API says, as values: the answer to `register`, and the events.

Apart from `extensions`, because a `NamedTuple` costs more to import than registering does.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Registration(NamedTuple):
    """Which function this environment runs."""

    function_name: str
    function_version: str
    handler: str
    account_id: str | None
    """None where Lambda does not tell, even when asked."""


class Invoke(NamedTuple):
    """An invocation has begun. It carries neither the payload nor the tenant."""

    request_id: str
    deadline_ms: int
    """Wall clock, in milliseconds since the epoch."""
    invoked_function_arn: str
    tracing: str
    """The value of `X-Amzn-Trace-Id`, or an empty string."""


class Shutdown(NamedTuple):
    """The environment ends at the deadline, by SIGKILL."""

    reason: str
    """`spindown`, `timeout` or `failure`; other words exist outside the real service."""
    deadline_ms: int


class Unknown(NamedTuple):
    """An event of a later version of the API: wait for the next one."""

    event_type: str


Event = Invoke | Shutdown | Unknown


def parse_registration(body: bytes) -> Registration:
    """Read the body of a successful `register`; what is missing there is empty here.

    Raises:
        ValueError: It is not a JSON object.
    """
    import json  # what registers elsewhere does without it

    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("The registration is not a JSON object.")  # noqa: TRY004 - bad data
    account_id = value.get("accountId")
    return Registration(
        function_name=_text(value, "functionName"),
        function_version=_text(value, "functionVersion"),
        handler=_text(value, "handler"),
        account_id=str(account_id) if account_id else None,
    )


def parse_event(event: Mapping[str, Any]) -> Event:
    """Tell what an event of `ExtensionClient.next_event` is.

    Reasons become lower case: the documentation prints `SPINDOWN`, the service sends
    `spindown`, AWS's emulator `Timeout`.

    Raises:
        ValueError: An INVOKE or SHUTDOWN event has no usable deadline.
    """
    event_type = _text(event, "eventType")
    if event_type == "INVOKE":
        tracing = event.get("tracing")
        return Invoke(
            request_id=_text(event, "requestId"),
            deadline_ms=_deadline_ms(event),
            invoked_function_arn=_text(event, "invokedFunctionArn"),
            tracing=_text(tracing, "value") if isinstance(tracing, dict) else "",
        )
    if event_type == "SHUTDOWN":
        return Shutdown(_text(event, "shutdownReason").lower(), _deadline_ms(event))
    return Unknown(event_type)


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


def _deadline_ms(event: Mapping[str, Any]) -> int:
    deadline_ms = event.get("deadlineMs")
    if isinstance(deadline_ms, bool) or not isinstance(deadline_ms, int):
        raise ValueError("An event without a deadline.")  # noqa: TRY004 - bad data
    return deadline_ms
