"""The Telemetry API: who may subscribe to what, and what they are told.

    PUT /2022-07-01/telemetry ─► Subscription ─► Subscriber ─► POST http://sandbox.localdomain:PORT

    open          publish, line …    close_subscriptions      publish …        close
    ├─ kept for those who subscribe ─┤ (the Init phase is over)                │ (the life is over)

A subscriber that comes later in the Init phase is told of all that was before it. On one machine
`sandbox.localdomain` and `sandbox` are 127.0.0.1.

Source: Lambda developer guide, "Telemetry API" and its references, 2026-10; refusals were observed
in AWS's Runtime Interface Emulator for Managed Instances (`tests/e2e/test_managed_agreement.py`).
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from lambda_runtime_api.emulator.deliveries import Buffering, Destination, Subscriber
from lambda_runtime_api.emulator.moves import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambda_runtime_api.emulator.deliveries import Dropped
    from lambda_runtime_api.emulator.logs import LogLine

SCHEMAS = ("2022-07-01", "2022-12-13", "2025-01-29")
MANAGED_SCHEMAS = ("2025-01-29",)
"""What Managed Instances accept. Source: the guide's "Telemetry API reference"."""

TYPES = ("platform", "function", "extension")
HOSTS = ("sandbox.localdomain", "sandbox")
PORT_MAX = 65_535

LIMITS = {
    "maxItems": (1_000, 10_000),
    "maxBytes": (262_144, 1_048_576),
    "timeoutMs": (25, 30_000),
}
"""Smallest and largest values of `buffering`. Source: the same page."""

FLUSH_SECONDS = 1.0
"""How long the end of an environment waits for what has not been delivered yet.

Source: AWS's Runtime Interface Emulator, `EventsAPI.Flush`, 2026-01.
"""

_NEWER_FIELDS = {
    "platform.initStart": ("functionName", "functionVersion", "instanceId", "instanceMaxMemory"),
    "platform.initReport": ("status", "errorType"),
}
"""What the schema 2022-07-01 has not, by event."""


class Subscription(NamedTuple):
    """A request that is right."""

    schema: str
    types: tuple[str, ...]
    buffering: Buffering
    destination: Destination


class Telemetry:
    """What the platform tells the subscribers of one environment."""

    def __init__(self, *, managed: bool = False) -> None:
        """Start closed; `open` begins.

        Args:
            managed: Accept what Managed Instances accept, and number the batches as they do.
        """
        self._schemas = MANAGED_SCHEMAS if managed else SCHEMAS
        self._managed = managed
        self._lock = threading.Lock()
        self._subscribers: dict[str, tuple[Subscription, Subscriber]] = {}
        self._earlier: list[dict[str, Any]] = []
        self._open = False
        self._awake = threading.Event()
        self._awake.set()

    def open(self) -> None:
        """Begin with a new life of the environment: nobody has subscribed."""
        with self._lock:
            self._earlier = []
            self._open = True

    def subscribe(self, name: str, body: bytes) -> None:
        """Subscribe an extension.

        Args:
            name: The extension's.
            body: {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"],
                "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 100},
                "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"}}

        Raises:
            RefusedError: The request is wrong, comes too late, or comes twice.
        """
        subscription = parse_subscription(body, self._schemas)
        with self._lock:
            if not self._open:
                message = "Telemetry API subscription is closed"
                raise RefusedError(403, "Telemetry.SubscriptionClosed", message)
            if name in self._subscribers:
                raise RefusedError(500, "InternalServerError", "Internal Server Error")
            subscriber = Subscriber(
                subscription.buffering,
                subscription.destination,
                self._awake,
                lambda dropped: _logs_dropped(subscription, dropped),
                numbered=self._managed,
            )
            self._subscribers[name] = (subscription, subscriber)
            for event in self._earlier:
                _add(subscription, subscriber, event)
        record = {"name": name, "state": "Subscribed", "types": list(subscription.types)}
        self.publish("platform.telemetrySubscription", record)

    def close_subscriptions(self) -> None:
        """Take no more subscribers: the Init phase is over."""
        with self._lock:
            self._open = False
            self._earlier = []

    def publish(self, kind: str, record: Mapping[str, Any] | str) -> None:
        """Tell all who subscribed to this kind of event.

        Args:
            kind: `platform.start` and so on, `function` or `extension`.
            record: Of the newest schema.
        """
        event = _event(kind, record)
        with self._lock:
            if self._open:
                self._earlier.append(event)
            for subscription, subscriber in self._subscribers.values():
                _add(subscription, subscriber, event)

    def line(self, line: LogLine) -> None:
        """Tell of a line that the function or an extension printed."""
        if line.source in TYPES[1:]:
            self.publish(line.source, line.text)

    def pause(self) -> None:
        """Deliver nothing: the processes are frozen."""
        self._awake.clear()

    def resume(self) -> None:
        """Deliver again."""
        self._awake.set()

    def flush(self) -> None:
        """Deliver what there is, as far as `FLUSH_SECONDS` go."""
        until = time.monotonic() + FLUSH_SECONDS
        for subscriber in self._all():
            subscriber.flush(until)

    def close(self) -> None:
        """End with the life of the environment: nobody is told anything any more."""
        self.close_subscriptions()
        subscribers = self._all()
        self._awake.set()
        with self._lock:
            self._subscribers = {}
        for subscriber in subscribers:
            subscriber.close()

    def _all(self) -> list[Subscriber]:
        with self._lock:
            return [subscriber for _, subscriber in self._subscribers.values()]


def timestamp(seconds: float) -> str:
    """Word a time as events do: `2026-11-21T09:28:36.035Z`."""
    milliseconds = int(seconds * 1_000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1_000))
    return f"{whole}.{milliseconds % 1_000:03}Z"


def parse_subscription(body: bytes, schemas: Sequence[str] = SCHEMAS) -> Subscription:
    """Read a request.

    Raises:
        RefusedError: It is wrong: 400 `ValidationError`, which names the field.
    """
    try:
        request = json.loads(body)
    except ValueError as error:
        _refuse(f"failed to parse JSON: {error}")
    if not isinstance(request, dict):
        _refuse("failed to parse JSON: it is not an object")
    missing = [name for name in ("schemaVersion", "types", "destination") if name not in request]
    if missing:
        _refuse(f"missing properties: {', '.join(missing)}")
    if request["schemaVersion"] not in schemas:
        _refuse(f"schemaVersion: value must be one of {', '.join(schemas)}")
    types = request["types"]
    if not isinstance(types, list) or not types or any(kind not in TYPES for kind in types):
        _refuse(f"types: one or more of {', '.join(TYPES)}")
    return Subscription(
        request["schemaVersion"],
        tuple(types),
        _buffering(request.get("buffering", {})),
        _destination(request["destination"]),
    )


def _buffering(given: object) -> Buffering:
    if not isinstance(given, dict):
        _refuse("buffering: it is not an object")
    for name, (least, most) in LIMITS.items():
        value = given.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            _refuse(f"buffering/{name}: an integer from {least} to {most}")
    fields = ((name, given[name]) for name in LIMITS if name in given)
    names = {"maxItems": "items_max", "maxBytes": "bytes_max", "timeoutMs": "timeout_ms"}
    return Buffering(**{names[name]: value for name, value in fields})


def _destination(given: object) -> Destination:
    if not isinstance(given, dict):
        _refuse("destination: it is not an object")
    match given:
        case {"protocol": "TCP", "port": bool()}:  # an int too, for Python
            pass
        case {"protocol": "TCP", "port": int(port)} if 0 < port <= PORT_MAX:
            return Destination("TCP", port, "")
        case {"protocol": "HTTP", "URI": str(uri)} if uri.startswith("http://"):
            authority, slash, path = uri[len("http://") :].partition("/")
            host, _, number = authority.partition(":")
            if host not in HOSTS:
                _refuse(f"Invalid destination: destination.URI host must be {HOSTS[0]}")
            port = int(number) if number.isascii() and number.isdecimal() else 0
            if 0 < port <= PORT_MAX:
                return Destination("HTTP", port, slash + path or "/")
        case _:
            pass
    return _refuse("destination: protocol HTTP with a URI, or TCP with a port")


def _refuse(message: str) -> NoReturn:
    raise RefusedError(400, "ValidationError", message)


def _event(kind: str, record: Mapping[str, Any] | str) -> dict[str, Any]:
    return {"time": timestamp(time.time()), "type": kind, "record": record}


def _encode(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _logs_dropped(subscription: Subscription, dropped: Dropped) -> bytes | None:
    if "platform" not in subscription.types:
        return None
    record = {
        "droppedRecords": dropped.records,
        "droppedBytes": dropped.size_bytes,
        "reason": dropped.reason,
    }
    return _encode(_event("platform.logsDropped", record))


def _add(subscription: Subscription, subscriber: Subscriber, event: Mapping[str, Any]) -> None:
    """Give a subscriber an event in the schema that it asked for."""
    kind = event["type"]
    if kind.partition(".")[0] not in subscription.types:
        return
    if subscription.schema == SCHEMAS[0] and kind in _NEWER_FIELDS:
        newer = _NEWER_FIELDS[kind]
        record = {name: value for name, value in event["record"].items() if name not in newer}
        event = {**event, "record": record}
    subscriber.add(_encode(event))
