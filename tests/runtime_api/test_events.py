"""Events and registrations, as the service and AWS's emulator send them."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_runtime_api.events import (
    Invoke,
    Registration,
    Shutdown,
    Unknown,
    parse_event,
    parse_registration,
)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            {
                "eventType": "INVOKE",
                "deadlineMs": 17,
                "requestId": "r",
                "invokedFunctionArn": "arn",
                "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1"},
            },
            Invoke("r", 17, "arn", "Root=1"),
        ),
        (
            {"eventType": "INVOKE", "deadlineMs": 17, "requestId": "r", "invokedFunctionArn": "a"},
            Invoke("r", 17, "a", ""),
        ),
        (
            {"eventType": "SHUTDOWN", "shutdownReason": "SPINDOWN", "deadlineMs": 2},
            Shutdown("spindown", 2),
        ),
        (
            {"eventType": "SHUTDOWN", "shutdownReason": "ReleaseFail", "deadlineMs": 2},
            Shutdown("releasefail", 2),
        ),
        ({"eventType": "SHUTDOWN", "deadlineMs": 2}, Shutdown("", 2)),
        ({"eventType": "RESTORE", "anything": 1}, Unknown("RESTORE")),
    ],
)
def test_events(event: dict[str, Any], expected: object) -> None:
    assert parse_event(event) == expected


@pytest.mark.parametrize("kind", ["INVOKE", "SHUTDOWN"])
@pytest.mark.parametrize("deadline", [None, "17", True, 1.5])
def test_an_event_without_a_deadline_is_refused(kind: str, deadline: object) -> None:
    with pytest.raises(ValueError, match="deadline"):
        parse_event({"eventType": kind, "deadlineMs": deadline})


def test_a_registration() -> None:
    body = b'{"accountId":"1","functionName":"f","functionVersion":"7","handler":"a.b"}'

    assert parse_registration(body) == Registration("f", "7", "a.b", "1")


@pytest.mark.parametrize("body", [b"{}", b'{"accountId":"","functionName":null,"handler":3}'])
def test_what_a_registration_does_not_say_is_empty(body: bytes) -> None:
    assert parse_registration(body) == Registration("", "", "", None)


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense"])
def test_what_is_no_registration(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words
        parse_registration(body)
