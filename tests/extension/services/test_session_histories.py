"""Whatever happens to the writers of a session, its readers see one history, whole and in order.

Three environments, each with what it keeps of recent sessions, act in turns on one session; every
operation of the store may be throttled, lost before or after it was done, arrive late, or have
somebody else's work done in the middle of it. Kills are works that nobody goes on with.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fakes.clocks import HandClock
from fakes.converse_rules import window_faults
from fakes.faulty_store import FAULTS, FaultyStore
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key
from lambdallm_extension.services.recent_sessions import RecentSessions
from lambdallm_extension.services.session_reads import LongSessions
from lambdallm_extension.services.sessions import SessionWork
from lambdallm_extension.services.tasks import Deferred
from lambdallm_extension.stores.memory import MemoryStore

PK = keys.session_pk("s", "")
TTL_SECONDS = 1_000
OPEN_MAX = 5
MEMORIES = ({"strategy": "full_history"}, {"strategy": "sliding_window", "max_messages": 4})

faults = st.lists(st.sampled_from(FAULTS), max_size=5)
numbers = st.integers(0, 1_000)


class LazyWorkers:
    """Threads that get on with their work when somebody waits for it, so that all repeats."""

    def start(self, call: Any) -> Any:
        return Deferred(call)


class Environment:
    """What outlives a unit of work."""

    def __init__(self) -> None:
        self.recent, self.long = RecentSessions(), LongSessions()


class Delivery:
    """An event that is being handled."""

    def __init__(self, work: SessionWork, identity: str, number: int) -> None:
        self.work, self.identity, self.number = work, identity, number
        self.said: list[str] = []
        self.answered = 0
        self.cleared = self.expired = False


class Histories(RuleBasedStateMachine):
    """See the module. `acknowledged` are identities of which the store has confirmed an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.inner: Any = MemoryStore(self.clock)
        self.store = FaultyStore(self.inner)
        self.environments = [Environment() for _ in range(3)]
        self.deliveries: list[Delivery] = []
        self.all: list[Delivery] = []
        self.identities: list[str] = []
        self.acknowledged: dict[str, list[str]] = {}
        self.order: list[str] = []
        self.metadata: dict[str, int] = {}
        self.begun = 0

    # What happens

    @precondition(lambda self: len(self.deliveries) < OPEN_MAX)
    @rule(where=numbers, again=st.booleans(), which=numbers, early=st.booleans(), how=numbers)
    def begin(self, where: int, again: bool, which: int, early: bool, how: int) -> None:
        if again and self.identities:
            identity = self.identities[which % len(self.identities)]
        else:
            identity = f"event-{len(self.identities)}"
            self.identities.append(identity)
        self.deliveries.append(self.deliver(where, identity, early, MEMORIES[how % 2]))

    @precondition(lambda self: self.deliveries)
    @rule(which=numbers, rounds=st.integers(1, 3), answered=st.booleans())
    def say(self, which: int, rounds: int, answered: bool) -> None:
        delivery = self.pick(which)
        for number in range(rounds):
            self.add(delivery, "user")
            if answered or number < rounds - 1:
                self.add(delivery, "assistant")

    @precondition(lambda self: self.deliveries)
    @rule(which=numbers)
    def clear(self, which: int) -> None:
        delivery = self.pick(which)
        delivery.said.clear()
        delivery.answered, delivery.cleared = 0, True
        self.acknowledged.clear()
        self.order.clear()
        delivery.work.append([], metadata={"by": delivery.number}, metadata_keys=["by"], clear=True)

    @precondition(lambda self: self.deliveries)
    @rule(which=numbers, plan=faults, other=numbers, end=st.booleans())
    def save(self, which: int, plan: list[str], other: int, end: bool) -> None:
        delivery = self.pick(which)
        if end:
            self.deliveries.remove(delivery)
            delivery.work.close()
        if self.attempt(plan, other, lambda: delivery.work.save(5)):
            self.acknowledge(delivery)
        elif delivery in self.deliveries:
            self.deliveries.remove(delivery)

    @precondition(lambda self: self.deliveries)
    @rule(which=numbers, plan=faults, other=numbers)
    def fail(self, which: int, plan: list[str], other: int) -> None:
        """The handler has failed: a retry says it all again."""
        delivery = self.pick(which)
        self.deliveries.remove(delivery)
        self.acknowledged.pop(delivery.identity, None)
        delivery.work.close()
        delivery.work.fail()
        self.attempt(plan, other, lambda: delivery.work.save(5))

    @precondition(lambda self: self.deliveries)
    @rule(which=numbers)
    def kill(self, which: int) -> None:
        self.deliveries.remove(self.pick(which))

    @rule()
    def arrive(self) -> None:
        self.store.arrive()

    @rule(seconds=st.sampled_from([1, TTL_SECONDS // 2, TTL_SECONDS + 1]))
    def pass_time(self, seconds: int) -> None:
        self.clock.jump("wall", seconds)
        self.forget()
        for delivery in self.all:
            delivery.expired = delivery.expired or delivery.work.version > 0

    @rule(where=numbers, how=numbers, plan=faults, other=numbers)
    def look(self, where: int, how: int, plan: list[str], other: int) -> None:
        """Read under faults, and then twice without: what is kept must not have been spoilt."""
        reader = self.deliver(where, "reader", early=False, memory=MEMORIES[how % 2])
        self.attempt(plan, other, reader.work.window)
        for _ in range(2):
            reader = self.deliver(where, "reader", early=False, memory=MEMORIES[how % 2])
            assert reader.work.window() == self.fresh(MEMORIES[how % 2])

    # What must be so

    @invariant()
    def one_history(self) -> None:
        window = self.fresh(MEMORIES[0])
        texts = [turn["content"] for turn in window["turns"]]
        assert len(texts) == len(set(texts))
        assert not window_faults(window["turns"])
        assert not window_faults(self.fresh(MEMORIES[1])["turns"])
        seen: dict[str, list[str]] = {}
        for text in texts:
            seen.setdefault(text.split("/")[0], []).append(text)
        assert texts == [text for said in seen.values() for text in said], "exchanges interleave"
        for identity, said in seen.items():
            assert any(
                said == each.said[: len(said)] or each.cleared
                for each in self.all
                if each.identity == identity
            ), f"{identity} mixes what two deliveries said"
        known = {key: window["metadata"].get(key) for key in self.metadata}
        assert known == self.metadata, "metadata was lost"
        self.forget_hidden()
        for identity, said in self.acknowledged.items():
            assert seen.get(identity, [])[: len(said)] == said, f"{identity} was lost"
        ordered = [identity for identity in seen if identity in self.acknowledged]
        known = [identity for identity in self.order if identity in ordered]
        assert [identity for identity in ordered if identity in known] == known
        self.order = ordered

    # How

    def deliver(self, where: int, identity: str, early: bool, memory: Any) -> Delivery:
        environment = self.environments[where % 3]
        self.begun += 1
        durability: Any = ("before_response", "after_response")[self.begun % 2]
        work = SessionWork(
            {"session_id": "s", "identity": identity, "ttl_seconds": TTL_SECONDS,
             "memory": memory, "durability": durability},
            nonce=str(self.begun), store=self.store, workers=LazyWorkers(),  # type: ignore[arg-type]
            clock=self.clock, deadline_ms=lambda: self.clock.now_ms + 5_000,
            long_sessions=environment.long, recent_sessions=environment.recent, deferred=True,
        )  # fmt: skip
        delivery = Delivery(work, identity, self.begun)
        self.all.append(delivery)
        if early:
            work.window()
        return delivery

    def pick(self, which: int) -> Delivery:
        return self.deliveries[which % len(self.deliveries)]

    def add(self, delivery: Delivery, role: str) -> None:
        text = f"{delivery.identity}/{delivery.number}/{len(delivery.said)}"
        delivery.said.append(text)
        if role == "assistant":
            delivery.answered = len(delivery.said)
        key = f"of {delivery.number}"
        delivery.work.append(
            [{"role": role, "content": text, "metadata": {}, "at_epoch_ms": 1}],
            metadata={key: len(delivery.said)}, metadata_keys=[key], clear=False,
        )  # fmt: skip

    def attempt(self, plan: list[str], other: int, act: Any) -> bool:
        """Do something under faults; what may happen in the middle is another delivery's save."""
        self.store.plan = list(plan)
        self.store.between = lambda: self.interfere(other)
        try:
            act()
        except errors.StoreError:
            return False
        finally:
            self.store.plan = []
        return True

    def interfere(self, other: int) -> None:
        if other % 3 and self.deliveries:
            delivery = self.pick(other)
        else:
            identity = self.identities[other % len(self.identities)] if self.identities else "new"
            delivery = self.deliver(other, identity, early=False, memory=MEMORIES[0])
            self.add(delivery, "user")
            self.add(delivery, "assistant")
        try:
            delivery.work.save(5)
        except errors.StoreError:
            if delivery in self.deliveries:
                self.deliveries.remove(delivery)

    def acknowledge(self, delivery: Delivery) -> None:
        """The store has confirmed it: what stands under its identity now must stay.

        It may be what another delivery of the event said: then this one's was left out.
        """
        stands = [
            turn["content"]
            for turn in self.fresh(MEMORIES[0])["turns"]
            if turn["content"].startswith(f"{delivery.identity}/")
        ]
        alone = all(d is delivery for d in self.all if d.identity == delivery.identity)
        if alone and not (delivery.cleared or delivery.expired):
            assert stands == delivery.said[: delivery.answered]
            if delivery.said:
                self.metadata[f"of {delivery.number}"] = len(delivery.said)
        if stands:
            self.acknowledged[delivery.identity] = stands

    def fresh(self, memory: Any) -> Any:
        """What somebody sees who keeps nothing, in a store without faults."""
        work = SessionWork(
            {"session_id": "s", "identity": "reader", "ttl_seconds": TTL_SECONDS,
             "memory": memory, "durability": "before_response"},
            nonce="fresh", store=self.inner, workers=LazyWorkers(),  # type: ignore[arg-type]
            clock=self.clock, deadline_ms=lambda: self.clock.now_ms + 5_000, deferred=True,
        )  # fmt: skip
        return work.window()

    def forget_hidden(self) -> None:
        """Forget what a `clear` hides: all that stands before the exchange that it was said in.

        A `clear` has its place in the session's order when it is written, later than it is said:
        what was acknowledged in between is hidden too.
        """
        head = self.inner.get(Key(PK, keys.HEAD), deadline_ms=0)
        first = 0 if head is None else head.attributes["first_exchange"]
        if first not in {self.number_of(each.identity) for each in self.all if each.cleared}:
            return
        for identity in [*self.acknowledged]:
            if 0 < self.number_of(identity) < first:
                del self.acknowledged[identity]

    def number_of(self, identity: str) -> int:
        item = self.inner.get(Key(PK, keys.exchange_sk(identity)), deadline_ms=0)
        return item.attributes["number"] if item else 0

    def forget(self) -> None:
        self.acknowledged.clear()
        self.order.clear()
        self.metadata.clear()


def profile(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=30, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


TestHistories = Histories.TestCase
TestHistories.settings = profile(60)


@pytest.mark.slow
class TestManyHistories(Histories.TestCase):  # type: ignore[name-defined,misc]
    """The same, for longer."""

    settings = profile(300)
