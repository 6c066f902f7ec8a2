"""Sessions on every store: many writers at once, faults, kills; nothing lost, nothing twice."""

import random
import threading
import uuid

import pytest

from fakes.converse_rules import window_faults
from fakes.faulty_store import ChanceStore, FaultyStore
from lambdallm_extension import errors
from lambdallm_extension.services.recent_sessions import RecentSessions
from lambdallm_extension.services.session_reads import LongSessions
from lambdallm_extension.services.sessions import SessionWork
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import SystemClock

WRITERS, ENVIRONMENTS = 50, 3
FEWER = {"s3": 12}
"""It is slow, and the same server without a bucket has all of them."""

DELIVERIES_MAX = 1_000
"""The faults are in front of the store's own retries, and many want the same number at once."""

TTL_SECONDS = 3_600


class Fleet:
    """Three environments before one store."""

    def __init__(self, store):
        self.store = store
        self.clock = SystemClock()
        self.session_id = str(uuid.uuid4())
        self.environments = [
            (Workers(), RecentSessions(), LongSessions()) for _ in range(ENVIRONMENTS)
        ]
        self.lock, self.begun = threading.Lock(), 0

    def begin(self, where, identity, durability="before_response", store=None):
        workers, recent, long = self.environments[where]
        with self.lock:
            self.begun += 1
            nonce = f"{self.session_id}:{self.begun}"
        rule = {
            "session_id": self.session_id, "identity": identity, "ttl_seconds": TTL_SECONDS,
            "memory": {"strategy": "full_history"}, "durability": durability,
        }  # fmt: skip
        return SessionWork(
            rule, nonce=nonce, store=store or self.store, workers=workers, clock=self.clock,
            deadline_ms=lambda: self.clock.epoch_ms() + 30_000, recent_sessions=recent,
            long_sessions=long, deferred=True,
        )  # fmt: skip

    def window(self, where=0, store=None):
        return self.begin(where, "reader", store=store).window()["turns"]


def say(work, identity):
    for role, text in (("user", "asks"), ("assistant", "hears")):
        turn = {"role": role, "content": f"{identity} {text}", "metadata": {}, "at_epoch_ms": 1}
        work.append([turn], metadata=None, clear=False)


def test_whatever_is_acknowledged_is_there_once_and_in_one_order(store, request, without):
    """Some deliveries are killed halfway: their units of work are never ended."""
    without("moto", "it fails where a request comes while it answers another one")
    writers = FEWER.get(request.node.callspec.params["store"], WRITERS)
    faulty = ChanceStore(store, seed=7)
    fleet = Fleet(faulty)
    acknowledged, seen, gate = [], [], threading.Barrier(writers)

    def write(number):
        chance = random.Random(number)
        gate.wait()
        for _ in range(DELIVERIES_MAX):
            durability = chance.choice(["before_response", "after_response"])
            work = fleet.begin(number % ENVIRONMENTS, f"w{number}", durability)
            say(work, f"w{number}")
            if chance.random() < 0.1:
                continue  # killed
            work.close()
            try:
                work.save(30)
            except errors.StoreError:
                continue
            acknowledged.append(f"w{number}")
            return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faulty.quiet = True
    for where in range(ENVIRONMENTS):
        seen += [fleet.window(where) for _ in range(3)]
    fresh = Fleet(store)
    fresh.session_id = fleet.session_id
    window = fresh.window()

    assert all(other == window for other in seen)
    assert len(acknowledged) == writers
    texts = [turn["content"] for turn in window]
    assert sorted(texts[::2]) == sorted(f"{identity} asks" for identity in acknowledged)
    assert [text.replace("asks", "hears") for text in texts[::2]] == texts[1::2]
    assert not window_faults(window)


@pytest.mark.parametrize("durability", ["before_response", "after_response"])
def test_a_failed_read_raises_and_the_next_save_erases_nothing(store, durability):
    faulty = FaultyStore(store)
    fleet = Fleet(faulty)
    first = fleet.begin(0, "first", durability)
    say(first, "first")
    first.save(30)

    for where in (0, 1):
        faulty.plan = ["throttled"]
        work = fleet.begin(where, f"second {where}", durability)
        with pytest.raises(errors.StoreUnavailableError):
            work.window()
        say(work, f"second {where}")
        work.close()
        with pytest.raises(errors.StoreUnavailableError):
            work.save(30)
        assert [turn["content"] for turn in fleet.window()] == ["first asks", "first hears"]

    third = fleet.begin(1, "third", durability)
    say(third, "third")
    third.save(30)
    assert [turn["content"] for turn in fleet.window()] == [
        "first asks", "first hears", "third asks", "third hears",
    ]  # fmt: skip


def at_once(count, work):
    """Run `work(number)` in threads that start together, and return what they raised."""
    gate, failures = threading.Barrier(count), []

    def run(number):
        gate.wait()
        try:
            work(number)
        except errors.ExtensionError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@pytest.mark.parametrize("clear", [False, True])
def test_events_at_once_that_change_different_keys_all_win(store, without, clear):
    """Half of them change theirs twice, once in an exchange that is open already."""
    without("moto", "it fails where a request comes while it answers another one")
    fleet = Fleet(store)
    first = fleet.begin(0, "first")
    say(first, "first")
    first.append([], metadata={"removed": 1, "stays": "\N{SLIGHTLY SMILING FACE}"}, clear=False)
    first.save(30)
    large = "x" * 5_000

    def change(number):
        work = fleet.begin(number % ENVIRONMENTS, f"w{number}")
        work.window()
        mine = {"removed": 1, "stays": 0, f"key {number}": large}
        if number % 2:
            work.append([], metadata={f"key {number}": 0}, metadata_keys=[f"key {number}"],
                        clear=clear)  # fmt: skip
            work.save(30)
        if number == 0:
            del mine["removed"]
        say(work, f"w{number}")
        work.append([], metadata=mine, metadata_keys=[f"key {number}", *["removed"][number:]],
                    clear=clear)  # fmt: skip
        work.save(30)

    assert at_once(8, change) == []
    assert fleet.begin(0, "reader").window()["metadata"] == {
        "stays": "\N{SLIGHTLY SMILING FACE}", **{f"key {number}": large for number in range(8)},
    }  # fmt: skip


def test_writers_in_a_hurry_are_never_told_that_they_are_too_many(store, request, without):
    without("moto", "it fails where a request comes while it answers another one")
    slow = request.node.callspec.params["store"] in ("ministack", "s3")
    writers, rounds = 6, 4 if slow else 40
    fleet = Fleet(store)

    def write(number):
        for each in range(rounds):
            work = fleet.begin(number % ENVIRONMENTS, f"w{number}-{each}")
            say(work, f"w{number}-{each}")
            work.save(30)

    assert at_once(writers, write) == []
    assert len(fleet.window()) == 2 * writers * rounds
