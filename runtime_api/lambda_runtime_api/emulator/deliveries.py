"""How one subscriber of the Telemetry API gets its events: collected, sent, sent again.

    add ─► collected ─► due? (items, bytes, time) ─► sent ─► 200
                                                      └─ refused, silent, broken: again, later

A batch is sent until it is taken or has been tried `TRIES_MAX` times; what comes meanwhile waits,
up to a bound. Whatever is given up is counted, and told to this subscriber with the next batch, as
`platform.logsDropped`. Delivery is at least once: a subscriber that was frozen before it could
answer gets the same batch again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from lambda_runtime_api import http1

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES_MAX = 5
FIRST_PAUSE_SECONDS = 0.05
"""After a failed try; it doubles. Lambda does not document its own pauses."""

SEND_SECONDS = 5.0
WAITING_MAX_BATCHES = 4
"""So many times `maxBytes` may wait for a subscriber that does not take its events."""

TOO_SLOW = (
    "Some logs were dropped because the downstream consumer is slower than the logs production rate"
)

ENDED = "the environment has ended"

_GOOD = range(200, 300)


class Buffering(NamedTuple):
    """When a batch is sent: with so many events, so many bytes, or so long after its first."""

    items_max: int = 10_000
    bytes_max: int = 262_144
    timeout_ms: int = 1_000


class Destination(NamedTuple):
    """Where a batch goes, on 127.0.0.1."""

    protocol: str
    """`HTTP`: POST of a JSON array. `TCP`: one JSON object a line."""
    port: int
    path: str


class Dropped(NamedTuple):
    """What a subscriber has not been told."""

    records: int = 0
    size_bytes: int = 0
    reason: str = ""

    def and_also(self, events: list[bytes], reason: str) -> Dropped:
        """Add events that are given up now."""
        size = self.size_bytes + sum(map(len, events))
        return Dropped(self.records + len(events), size, reason)


class Subscriber:
    """Collects the events of one subscriber, and sends them from a thread of its own."""

    def __init__(
        self,
        buffering: Buffering,
        destination: Destination,
        awake: threading.Event,
        worded: Callable[[Dropped], bytes | None],
        *,
        numbered: bool,
    ) -> None:
        """Start.

        Args:
            buffering: When to send.
            destination: Where to.
            awake: Set as long as the subscriber can take anything.
            worded: Makes an event of what was given up, or None for a subscriber that is not
                told of such.
            numbered: Send the header `Sequence-Id`, by which a repeated batch can be told.
        """
        self._buffering = buffering
        self._destination = destination
        self._awake = awake
        self._worded = worded
        self._dropped = Dropped()
        self._numbered = numbered
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._first_at = 0.0
        self._sending = False
        self._flushing = False
        self._closed = False
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="emulator-telemetry", daemon=True)
        self._thread.start()

    def add(self, event: bytes) -> None:
        """Collect an event."""
        with self._changed:
            if not self._waiting:
                self._first_at = time.monotonic()
            self._waiting.append(event)
            self._waiting_bytes += len(event)
            self._changed.notify_all()

    def flush(self, until: float) -> bool:
        """Send now what has been collected; return whether it was taken.

        Args:
            until: On the monotonic clock.
        """
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            flushed = self._changed.wait_for(
                lambda: not self._waiting and not self._sending, max(0.0, until - time.monotonic())
            )
            self._flushing = False
        return flushed

    def close(self) -> None:
        """Send nothing more; what is on its way is cut off."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if self._connection is not None:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            told = self._dropped
            news = self._worded(told) if told.records else None
            problem = self._deliver([*batch, news] if news is not None else batch)
            with self._changed:
                self._dropped = (
                    told.and_also(batch, f"could not send events: {problem}")
                    if problem
                    else Dropped()
                )
                self._sending = False
                self._changed.notify_all()

    def _take(self) -> list[bytes] | None:
        """Wait for a batch that is due; None when nothing is sent any more."""
        with self._changed:
            self._drop_what_is_too_much()
            while not self._closed:
                left = self._seconds_left()
                if left <= 0:
                    break
                self._changed.wait(None if left == float("inf") else left)
            if self._closed:
                return None
            size = count = 0
            for event in self._waiting[: self._buffering.items_max]:
                if count and size + len(event) > self._buffering.bytes_max:
                    break
                size, count = size + len(event), count + 1
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            self._waiting_bytes -= size
            self._sending = True
            return batch

    def _seconds_left(self) -> float:
        """Say how long the present batch may still be collected."""
        if not self._waiting:
            return float("inf")
        full = (
            len(self._waiting) >= self._buffering.items_max
            or self._waiting_bytes >= self._buffering.bytes_max
        )
        if full or self._flushing:
            return 0.0
        return self._first_at + self._buffering.timeout_ms / 1_000 - time.monotonic()

    def _drop_what_is_too_much(self) -> None:
        """Give up the oldest of what came while the last batch was tried again and again."""
        records, left = 0, self._waiting_bytes
        while left > WAITING_MAX_BATCHES * self._buffering.bytes_max:
            left -= len(self._waiting[records])
            records += 1
        if records:
            self._dropped = self._dropped.and_also(self._waiting[:records], TOO_SLOW)
            self._waiting, self._waiting_bytes = self._waiting[records:], left

    def _deliver(self, batch: list[bytes]) -> str:
        """Send until it is taken; return what was wrong with the last try, "" for nothing."""
        problem = ""
        for attempt in range(TRIES_MAX):
            self._awake.wait()
            if self._closed:
                return ENDED
            problem = self._try(batch)
            if not problem or attempt == TRIES_MAX - 1:
                break
            with self._changed:
                pause = FIRST_PAUSE_SECONDS * 2**attempt
                self._changed.wait_for(lambda: self._closed, pause)
        return problem

    def _try(self, batch: list[bytes]) -> str:
        address = ("127.0.0.1", self._destination.port)
        try:
            with socket.create_connection(address, SEND_SECONDS) as connection:
                with self._changed:
                    if self._closed:
                        return ENDED
                    self._connection = connection
                if self._destination.protocol == "TCP":
                    connection.sendall(b"".join(event + b"\n" for event in batch))
                    return ""
                status = self._post(connection, b"[" + b",".join(batch) + b"]")
        except (OSError, http1.ProtocolError, http1.ConnectionEndedError) as error:
            return str(error) or type(error).__name__
        finally:
            with self._changed:
                self._connection = None
        return "" if status in _GOOD else f"http request failed with status {status}"

    def _post(self, connection: socket.socket, body: bytes) -> int:
        headers = [
            ("host", f"sandbox.localdomain:{self._destination.port}"),
            ("content-type", "application/json"),
            ("connection", "close"),
        ]
        if self._numbered:
            number = base64.b64encode(hashlib.sha256(body).digest()).decode()
            headers.append(("sequence-id", number))
        connection.sendall(http1.encode_request("POST", self._destination.path, headers, body))
        response, _ = http1.receive(http1.Reader(requests=False), connection.recv)
        assert isinstance(response, http1.Response)  # noqa: S101 - a client's reader makes no other
        return response.status
