"""Where nothing stops a process, a lease is short and renewed: who is gone is soon replaced."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.faulty_store import FaultyStore
from fakes.open_runs import Model, OwnClock, Owner
from fakes.waiting import until
from lambdallm_extension import errors
from lambdallm_extension.services.run_heartbeat import BEAT_SECONDS, LEASE_SECONDS, Heartbeat
from lambdallm_extension.stores.memory import MemoryStore

HOUR_MS = 3_600_000


class Bench:
    def __init__(self) -> None:
        self.time = HandClock()
        self.store = FaultyStore(MemoryStore(self.time))
        self.logged: list[str] = []
        self.heartbeat = Heartbeat(self.logged.append)
        self.one = self.owner("e1", self.heartbeat)
        self.two = self.owner("e2", None)

    def owner(self, name: str, heartbeat: Heartbeat | None) -> Owner:
        return Owner(self.store, OwnClock(self.time), Model(), name, heartbeat)

    def beat_for(self, seconds: float) -> None:
        for _ in range(round(seconds / BEAT_SECONDS)):
            self.time.now_ms += round(BEAT_SECONDS * 1_000)
            self.heartbeat.beat()


@pytest.fixture
def bench() -> Any:
    bench = Bench()
    yield bench
    bench.heartbeat.stop()
    until(lambda: not bench.heartbeat.beating)


def test_a_worker_that_lives_keeps_its_run(bench: Bench) -> None:
    run, _ = bench.one.open(bench.one.work(HOUR_MS))

    bench.beat_for(300)

    with pytest.raises(errors.RunBusyError) as busy:
        bench.two.open()
    assert busy.value.retry_after_seconds == LEASE_SECONDS + 1
    bench.one.ask(run, "a")


def test_a_worker_that_is_gone_is_replaced_within_half_a_minute(bench: Bench) -> None:
    bench.one.open(bench.one.work(HOUR_MS))
    bench.beat_for(20)

    bench.time.now_ms += round(LEASE_SECONDS * 1_000) + 1_000

    assert bench.two.open()[1]["attempt"] == 2


def test_a_lease_is_never_renewed_beyond_its_unit_of_work(bench: Bench) -> None:
    bench.one.open(bench.one.work(60_000))
    bench.beat_for(70)

    assert bench.two.open()[1]["attempt"] == 2


def test_a_run_that_was_taken_over_is_let_go(bench: Bench) -> None:
    run, _ = bench.one.open(bench.one.work(HOUR_MS))
    bench.two.clock.off_ms = HOUR_MS
    bench.two.open()

    bench.beat_for(10)

    assert run.closed
    assert bench.logged == []
    with pytest.raises(errors.RunLostError):
        bench.one.ask(run, "a")


def test_a_store_that_is_away_for_a_beat_is_asked_at_the_next(bench: Bench) -> None:
    run, _ = bench.one.open(bench.one.work(HOUR_MS))
    bench.store.plan = ["throttled"]
    bench.beat_for(30)

    bench.one.ask(run, "a")
    (told,) = bench.logged
    assert "The lease of run r was not renewed" in told


def test_whoever_cannot_renew_asks_nobody_any_more(bench: Bench) -> None:
    run, _ = bench.one.open(bench.one.work(HOUR_MS))
    bench.store.plan = ["throttled"] * 3
    bench.beat_for(30)

    with pytest.raises(errors.RunLostError):
        bench.one.ask(run, "a")


def test_its_thread_is_there_as_long_as_there_are_runs() -> None:
    time = HandClock()
    heartbeat = Heartbeat(lambda _: None, beat_seconds=0.01)
    owner = Owner(MemoryStore(time), OwnClock(time), Model(), "e1", heartbeat)
    assert not heartbeat.beating

    run, _ = owner.open(owner.work(HOUR_MS))
    assert heartbeat.beating
    time.now_ms += 20_000
    until(lambda: owner.read()["leased_until_epoch_ms"] == time.now_ms + 30_000)
    run.close("completed", [])

    until(lambda: not heartbeat.beating)
    run, _ = owner.open(owner.work(HOUR_MS))
    assert run is None  # it is completed, and nothing is held
    assert not heartbeat.beating
