"""Who may subscribe to what, and what the subscribers of one environment are told."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from fakes.listener import Listener
from fakes.lives import refusal
from lambda_runtime_api.emulator.deliveries import TRIES_MAX, Buffering, Destination
from lambda_runtime_api.emulator.logs import LogLine
from lambda_runtime_api.emulator.telemetry import Telemetry, parse_subscription, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, MIDDLE, NEW = "2022-07-01", "2022-12-13", "2025-01-29"


def asked(port: int = 8_080, **changes: Any) -> bytes:
    """What an extension sends; None leaves a field out."""
    request = {
        "schemaVersion": MIDDLE,
        "types": ["platform", "function", "extension"],
        "buffering": {"timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}/here"},
        **changes,
    }
    return json.dumps(
        {name: value for name, value in request.items() if value is not None}
    ).encode()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    made.open()
    yield made
    made.close()


def kinds(listener: Listener) -> list[str]:
    return [event["type"] for event in listener.taken]


# What is asked for


def test_a_request_is_read() -> None:
    buffering = {"maxItems": 1_000, "maxBytes": 1_048_576, "timeoutMs": 30_000}

    subscription = parse_subscription(asked(buffering=buffering))

    assert subscription.schema == MIDDLE
    assert subscription.types == ("platform", "function", "extension")
    assert subscription.buffering == Buffering(1_000, 1_048_576, 30_000)
    assert subscription.destination == Destination("HTTP", 8_080, "/here")


def test_what_is_left_out_has_its_default() -> None:
    destination = {"protocol": "HTTP", "URI": "http://sandbox:9000"}

    subscription = parse_subscription(asked(buffering=None, destination=destination))

    assert subscription.buffering == Buffering(10_000, 262_144, 1_000)
    assert subscription.destination == Destination("HTTP", 9_000, "/")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schemaVersion": None}, "missing properties: schemaVersion"),
        ({"types": None, "destination": None}, "missing properties: types, destination"),
        ({"schemaVersion": "2021-01-01"}, "schemaVersion"),
        ({"schemaVersion": 1}, "schemaVersion"),
        ({"types": []}, "types"),
        ({"types": "platform"}, "types"),
        ({"types": ["platform", "metrics"]}, "types"),
        ({"types": [{}]}, "types"),
        ({"buffering": []}, "buffering"),
        ({"buffering": {"maxItems": 999}}, "buffering/maxItems"),
        ({"buffering": {"maxItems": 10_001}}, "buffering/maxItems"),
        ({"buffering": {"maxBytes": 262_143}}, "buffering/maxBytes"),
        ({"buffering": {"maxBytes": 1_048_577}}, "buffering/maxBytes"),
        ({"buffering": {"timeoutMs": 24}}, "buffering/timeoutMs"),
        ({"buffering": {"timeoutMs": 30_001}}, "buffering/timeoutMs"),
        ({"buffering": {"timeoutMs": "25"}}, "buffering/timeoutMs"),
        ({"buffering": {"timeoutMs": True}}, "buffering/timeoutMs"),
        ({"destination": "here"}, "destination"),
        ({"destination": {"protocol": "UDP", "port": 1}}, "destination"),
        ({"destination": {"protocol": "TCP"}}, "destination"),
        ({"destination": {"protocol": "TCP", "port": 65_536}}, "destination"),
        ({"destination": {"protocol": "TCP", "port": True}}, "destination"),
        ({"destination": {"protocol": "HTTP", "URI": "http://localhost:1"}}, "sandbox.localdomain"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox"}}, "destination"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:0"}}, "destination"),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox:1"}}, "destination"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], named: str) -> None:
    status, error_type, message = refusal(parse_subscription, asked(**changes))

    assert (status, error_type) == (400, "ValidationError")
    assert named in message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(parse_subscription, body)[:2] == (400, "ValidationError")


def test_managed_instances_take_the_newest_schema_only(listener: Listener) -> None:
    managed = Telemetry(managed=True)
    managed.open()

    for schema in (OLD, MIDDLE):
        told = refusal(managed.subscribe, "one", asked(schemaVersion=schema))
        assert told[:2] == (400, "ValidationError")
    managed.subscribe("one", asked(listener.port, schemaVersion=NEW))
    listener.wait(lambda: listener.taken)
    managed.close()

    assert "sequence-id" in listener.batches[0].headers


def test_nobody_subscribes_twice_or_after_init(telemetry: Telemetry, listener: Listener) -> None:
    telemetry.subscribe("one", asked(listener.port))
    assert refusal(telemetry.subscribe, "one", asked(listener.port))[0] == 500

    telemetry.close_subscriptions()

    told = refusal(telemetry.subscribe, "two", asked(listener.port))
    assert told[:2] == (403, "Telemetry.SubscriptionClosed")


def test_the_next_life_begins_without_subscribers(telemetry: Telemetry, listener: Listener) -> None:
    telemetry.subscribe("one", asked(listener.port))
    telemetry.close()
    telemetry.open()
    with Listener() as second:
        telemetry.subscribe("one", asked(second.port))
        telemetry.publish("platform.start", {})
        second.wait(lambda: "platform.start" in kinds(second))

    assert "platform.start" not in kinds(listener)


# What they are told


def test_who_comes_later_in_init_is_told_of_what_was_before(
    telemetry: Telemetry, listener: Listener
) -> None:
    telemetry.publish("platform.initStart", {"phase": "init"})
    telemetry.line(LogLine("function", "imported"))
    telemetry.subscribe("one", asked(listener.port))
    telemetry.flush()

    assert kinds(listener) == ["platform.initStart", "function", "platform.telemetrySubscription"]
    assert listener.taken[1]["record"] == "imported"
    assert listener.taken[2]["record"] == {
        "name": "one",
        "state": "Subscribed",
        "types": ["platform", "function", "extension"],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", listener.taken[0]["time"])


def test_each_is_told_of_what_it_asked_for(telemetry: Telemetry) -> None:
    with Listener() as one, Listener() as other:
        telemetry.subscribe("one", asked(one.port, types=["function"]))
        telemetry.subscribe("other", asked(other.port, types=["extension", "platform"]))
        telemetry.publish("platform.start", {})
        for source in ("function", "extension", "platform"):
            telemetry.line(LogLine(source, source))
        telemetry.flush()

        assert [event["record"] for event in one.taken] == ["function"]
        subscribed = ["platform.telemetrySubscription"] * 2  # of both, one of them before its own
        assert kinds(other) == [*subscribed, "platform.start", "extension"]


@pytest.mark.parametrize("schema", [OLD, MIDDLE, NEW])
def test_the_oldest_schema_has_no_fields_that_came_later(
    telemetry: Telemetry, listener: Listener, schema: str
) -> None:
    newer = {"functionName": "f", "functionVersion": "1", "instanceId": "i", "instanceMaxMemory": 1}
    telemetry.subscribe("one", asked(listener.port, schemaVersion=schema, types=["platform"]))
    telemetry.publish("platform.initStart", {"phase": "init", **newer})
    telemetry.publish("platform.initReport", {"status": "error", "errorType": "X", "metrics": {}})
    telemetry.flush()

    start, report = (event["record"] for event in listener.taken[1:])
    if schema == OLD:
        assert (start, report) == ({"phase": "init"}, {"metrics": {}})
    else:
        assert start == {"phase": "init", **newer}
        assert report == {"status": "error", "errorType": "X", "metrics": {}}


def test_a_pause_holds_back_what_comes(telemetry: Telemetry, listener: Listener) -> None:
    telemetry.subscribe("one", asked(listener.port, types=["function"]))
    telemetry.pause()
    telemetry.line(LogLine("function", "frozen"))
    telemetry.flush()  # waits in vain, and no longer than it may
    assert listener.batches == []

    telemetry.resume()
    listener.wait(lambda: [event["record"] for event in listener.taken] == ["frozen"])


def test_what_was_dropped_is_told_to_whom_it_was_meant_for(telemetry: Telemetry) -> None:
    with Listener([500] * TRIES_MAX) as one, Listener() as other:
        telemetry.subscribe("one", asked(one.port, types=["platform"]))
        telemetry.subscribe("other", asked(other.port, types=["platform"]))
        one.wait(lambda: len(one.batches) == TRIES_MAX)
        telemetry.publish("platform.start", {})
        one.wait(lambda: len(one.taken) == 2)
        other.wait(lambda: "platform.start" in kinds(other))

        assert kinds(one) == ["platform.start", "platform.logsDropped"]
        assert "platform.logsDropped" not in kinds(other)
        record = one.taken[1]["record"]
        assert record["droppedRecords"] == len(one.batches[0].events)
        assert record["droppedBytes"] > 0
        assert "500" in record["reason"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_795_253_316.0358, "2026-11-21T09:28:36.035Z")],
)
def test_times_are_worded_in_milliseconds(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text
