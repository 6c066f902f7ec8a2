"""How a subscriber of telemetry gets its events, over real connections."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from fakes.listener import Listener
from lambda_runtime_api.emulator.deliveries import (
    TOO_SLOW,
    TRIES_MAX,
    WAITING_MAX_BATCHES,
    Buffering,
    Destination,
    Dropped,
    Subscriber,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER_MS = 3_600_000


def worded(dropped: Dropped) -> bytes:
    return json.dumps({"dropped": list(dropped)}).encode()


def encoded(*events: object) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


@contextmanager
def subscriber(
    port: int,
    buffering: Buffering | None = None,
    *,
    protocol: str = "HTTP",
    awake: threading.Event | None = None,
    **options: Any,
) -> Iterator[Subscriber]:
    if awake is None:
        awake = threading.Event()
        awake.set()
    made = Subscriber(
        buffering or Buffering(timeout_ms=25),
        Destination(protocol, port, "/events"),
        awake,
        options.pop("worded", worded),
        numbered=options.pop("numbered", False),
    )
    try:
        yield made
    finally:
        awake.set()
        made.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def test_what_came_is_sent_after_its_time(listener: Listener) -> None:
    with subscriber(listener.port) as one:
        for event in encoded(1, {"two": 2}, "three"):
            one.add(event)
        listener.wait(lambda: len(listener.taken) == 3)

    assert listener.taken == [1, {"two": 2}, "three"]
    batch = listener.batches[0]
    assert batch.path == "/events"
    assert batch.headers["content-type"] == "application/json"
    assert batch.headers["host"] == f"sandbox.localdomain:{listener.port}"
    assert "sequence-id" not in batch.headers


def test_a_batch_goes_out_with_so_many_events(listener: Listener) -> None:
    with subscriber(listener.port, Buffering(items_max=3, timeout_ms=NEVER_MS)) as one:
        for event in encoded(*range(7)):
            one.add(event)
        listener.wait(lambda: len(listener.taken) == 6)

    assert [len(batch.events) for batch in listener.batches] == [3, 3]


def test_a_batch_goes_out_with_so_many_bytes(listener: Listener) -> None:
    with subscriber(listener.port, Buffering(bytes_max=100, timeout_ms=NEVER_MS)) as one:
        for event in encoded("a" * 58, "b" * 38, "c" * 198, "d"):
            one.add(event)
        listener.wait(lambda: len(listener.taken) == 3)

    # The third is longer than a batch may be, and goes alone.
    assert [len(batch.events) for batch in listener.batches] == [2, 1]


def test_a_flush_sends_at_once_and_says_whether_it_was_taken(listener: Listener) -> None:
    with subscriber(listener.port, Buffering(timeout_ms=NEVER_MS)) as one:
        assert one.flush(time.monotonic())
        one.add(b"1")
        assert one.flush(time.monotonic() + 20)
        assert listener.taken == [1]

        listener.open.clear()
        one.add(b"2")
        assert not one.flush(time.monotonic() + 0.05)


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_was_refused_is_sent_again_as_it_was(status: int) -> None:
    with Listener([status, status]) as listener, subscriber(listener.port, numbered=True) as one:
        one.add(b"1")
        one.add(b"2")
        listener.wait(lambda: len(listener.batches) == 3)

    assert [batch.events for batch in listener.batches] == [[1, 2]] * 3
    number = base64.b64encode(hashlib.sha256(b"[1,2]").digest()).decode()
    assert {batch.headers["sequence-id"] for batch in listener.batches} == {number}


def test_who_does_not_listen_yet_gets_it_later() -> None:
    with Listener() as gone:
        port = gone.port
    with subscriber(port) as one:
        one.add(b"1")
        with socket.create_server(("127.0.0.1", port)) as listener:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(65_536).startswith(b"POST /events HTTP/1.1\r\n")


def test_what_nobody_takes_is_given_up_and_told_once() -> None:
    with Listener([500] * TRIES_MAX * 2) as listener, subscriber(listener.port) as one:
        one.add(b'"lost"')
        listener.wait(lambda: len(listener.batches) == TRIES_MAX)
        one.add(b'"lost too"')
        listener.wait(lambda: len(listener.batches) == 2 * TRIES_MAX)
        one.add(b'"taken"')
        listener.wait(lambda: listener.taken)
        one.add(b'"last"')
        listener.wait(lambda: len(listener.taken) == 3)

    sizes = len(b'"lost"') + len(b'"lost too"')
    reason = "could not send events: http request failed with status 500"
    assert listener.taken == ["taken", {"dropped": [2, sizes, reason]}, "last"]


def test_who_is_slow_loses_the_oldest_and_hears_of_it(listener: Listener) -> None:
    with subscriber(listener.port, Buffering(bytes_max=100, timeout_ms=25)) as one:
        listener.open.clear()
        one.add(b'"first"')
        listener.wait(lambda: listener.batches)
        for event in encoded(*("x" * 98 for _ in range(WAITING_MAX_BATCHES + 3)), "last"):
            one.add(event)
        listener.open.set()
        listener.wait(lambda: "last" in listener.taken)

    (dropped,) = [event for event in listener.taken if isinstance(event, dict)]
    assert dropped == {"dropped": [4, 400, TOO_SLOW]}
    assert listener.taken.count("x" * 98) == WAITING_MAX_BATCHES - 1


def test_who_asked_for_no_such_word_gets_none() -> None:
    with (
        Listener([500] * TRIES_MAX) as listener,
        subscriber(listener.port, worded=lambda _: None) as one,
    ):
        one.add(b"1")
        listener.wait(lambda: len(listener.batches) == TRIES_MAX)
        one.add(b"2")
        listener.wait(lambda: listener.taken)

    assert listener.taken == [2]


def test_nothing_is_sent_to_who_is_frozen(listener: Listener) -> None:
    awake = threading.Event()
    with subscriber(listener.port, awake=awake) as one:
        one.add(b"1")
        assert not one.flush(time.monotonic() + 0.1)
        assert listener.batches == []
        awake.set()
        listener.wait(lambda: listener.taken == [1])


def test_over_tcp_each_event_is_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with subscriber(port, protocol="TCP") as one:
            one.add(b'{"a":1}')
            one.add(b"2")
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                assert lines.readlines() == [b'{"a":1}\n', b"2\n"]


@pytest.mark.parametrize("busy", ["waiting", "sending", "pausing", "frozen"])
def test_closing_ends_its_thread_whatever_it_does(listener: Listener, busy: str) -> None:
    awake = threading.Event()
    if busy != "frozen":
        awake.set()
    if busy == "sending":
        listener.open.clear()
    port = listener.port
    if busy == "pausing":
        with Listener() as gone:
            port = gone.port
    before = set(threading.enumerate())
    with subscriber(port, awake=awake) as one:
        if busy != "waiting":
            one.add(b"1")
        if busy == "sending":
            listener.wait(lambda: listener.batches)

    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name == "emulator-telemetry"]
