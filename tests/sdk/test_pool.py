"""Model calls at once: so many as there are places, and the others wait."""

import threading
import time
from typing import Any

import pytest

import lambdallm
from fakes.units import make_work
from lambdallm import _sidecar, _transport
from lambdallm._pool import CALLS_MAX
from lambdallm_wire import routes


class Crowd:
    """Model calls that end when they are let, counted."""

    def __init__(self, sidecar: Any) -> None:
        self.go = threading.Event()
        self.most = self.now = 0
        self._lock = threading.Lock()
        self._handle = sidecar.handle
        sidecar.handle = self

    def __call__(self, method: str, path: str, body: bytes, *, connection: int) -> Any:
        if path != "/v1/chat":
            return self._handle(method, path, body, connection=connection)
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.go.wait(10)
        with self._lock:
            self.now -= 1
        return 200, b'{"total_cost_pico_usd":0,"total_unpriced_calls":0}'


def test_more_calls_at_once_than_places_wait_for_each_other(sidecar: Any) -> None:
    crowd, work = Crowd(sidecar), make_work()
    work.begin()
    done: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda n=n: done.append(
                work.ask(routes.CHAT, {"call_id": str(n)}, work.deadline_epoch_ms)
            )
        )
        for n in range(3 * CALLS_MAX)
    ]
    for thread in threads:
        thread.start()
    while crowd.now < CALLS_MAX:
        time.sleep(0.001)
    crowd.go.set()
    for thread in threads:
        thread.join()
    work.end("ok", "", 1.0)

    assert len(done) == 3 * CALLS_MAX
    assert crowd.most == CALLS_MAX
    assert isinstance(_transport.current(), _sidecar.SidecarTransport)


def test_a_call_that_finds_no_place_in_time_was_not_made(sidecar: Any) -> None:
    crowd, work = Crowd(sidecar), make_work()
    work.begin()
    threads = [
        threading.Thread(
            target=lambda: work.ask(routes.CHAT, {"call_id": "c"}, work.deadline_epoch_ms)
        )
        for _ in range(CALLS_MAX)
    ]
    for thread in threads:
        thread.start()
    while crowd.now < CALLS_MAX:
        time.sleep(0.001)
    with pytest.raises(lambdallm.SidecarError, match="was not made") as refused:
        work.ask(routes.CHAT, {"call_id": "late"}, 0)
    crowd.go.set()
    for thread in threads:
        thread.join()

    assert refused.value.retryable
    assert work.ask(routes.CHAT, {"call_id": "later"}, work.deadline_epoch_ms)
    work.end("ok", "", 1.0)
