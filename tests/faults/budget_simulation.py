"""Environments by the thousand in one process: what a budget lets through, and what a cached check.

Time is simulated; the admission is the real one, over the store in memory. The other policy is what
most do: look at the sum of what was recorded, once in a minute, and record what a call has cost.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fakes.clocks import HandClock
from lambdallm_extension import errors
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key
from lambdallm_extension.services.budgets import Budgets
from lambdallm_extension.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN_MS = 1_793_491_200_000
"""2026-11-01 00:00 UTC."""

CACHED_MS = 60_000
VANISHING = 0.05


class Load(NamedTuple):
    """What is asked for.

    Attributes:
        environments: How many begin, evenly over the time.
        seconds: So long new ones begin.
        invocations: Of each, one call each.
        pause_seconds: Between two of them, on average.
        call_seconds: Of a call, on average.
        cost_pico_usd: Of a call, on average.
        most_share: The most that a call can cost, in parts of that.
        limit_share: The limit, in parts of what all calls would cost.
    """

    environments: int
    seconds: int
    invocations: int
    pause_seconds: float
    call_seconds: float
    cost_pico_usd: int = 10_000_000_000
    most_share: int = 5
    limit_share: float = 0.8

    @property
    def limit_pico_usd(self) -> int:
        """Of the month."""
        calls = self.environments * self.invocations
        return round(calls * self.cost_pico_usd * self.limit_share)


class Came(NamedTuple):
    """What came of it, in parts of the limit but for the counts."""

    billed: float
    leased: float
    calls: int
    refused: int
    operations_a_call: float
    vanished: int


class Policy(Protocol):
    """One environment's admission."""

    def admit(self, most: int) -> Callable[[int], None] | None:
        """Return what books a call's cost, None where it may not be made."""
        ...

    def end(self, *, last: bool) -> None:
        """End an invocation, or all of them."""
        ...


class CountingStore:
    """A store and how often it was asked."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.operations = 0

    def __getattr__(self, name: str) -> Any:
        self.operations += 1
        return getattr(self._store, name)


class Leased:
    """The real one."""

    def __init__(self, store: Any, clock: HandClock, name: str, rules: list[Budget]) -> None:
        self._clock = clock
        self._budgets = Budgets(lambda: rules, lambda: store, clock, lambda: name, lambda _: None)

    def admit(self, most: int) -> Callable[[int], None] | None:
        try:
            return self._budgets.admit({}, most, deadline_ms=self._clock.now_ms + 1_000).settle
        except errors.BudgetExceededError:
            return None

    def end(self, *, last: bool) -> None:
        self._budgets.flush(deadline_ms=self._clock.now_ms + 1_000, last=last)


class Recorded:
    """The sum that all of a cached check share."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sum = 0
        self.operations = 0


class Cached:
    """Checked before, recorded after, and read once in a minute."""

    def __init__(self, recorded: Recorded, clock: HandClock) -> None:
        self._recorded = recorded
        self._clock = clock
        self._seen = 0
        self._seen_ms = -CACHED_MS

    def admit(self, most: int) -> Callable[[int], None] | None:
        if self._clock.now_ms - self._seen_ms >= CACHED_MS:
            self._recorded.operations += 1
            self._seen, self._seen_ms = self._recorded.sum, self._clock.now_ms
        return self._record if self._seen < self._recorded.limit else None

    def end(self, *, last: bool) -> None:
        """Hold nothing that could go back."""

    def _record(self, cost: int) -> None:
        self._recorded.operations += 1
        self._recorded.sum += cost


def simulate(load: Load, *, cached: bool = False, seed: int = 1) -> Came:
    """Let them all live and spend."""
    clock = HandClock()
    clock.now_ms = BEGIN_MS
    inner: Any = MemoryStore(clock)
    store = CountingStore(inner)
    recorded = Recorded(load.limit_pico_usd)
    rules = [Budget("monthly", "organisation", window="month", limit_pico_usd=load.limit_pico_usd)]

    def make(number: int) -> Policy:
        return Cached(recorded, clock) if cached else Leased(store, clock, f"e{number}", rules)

    run = _Run(load, clock, make, random.Random(seed))
    run.all()
    head = inner.get(Key(keys.budget_pk("monthly", "", "2026-11"), keys.HEAD), deadline_ms=0)
    leased = head.attributes["leased"] if head else run.billed
    operations = recorded.operations if cached else store.operations
    limit = load.limit_pico_usd
    return Came(run.billed / limit, leased / limit, run.calls, run.refused,
                operations / max(1, run.calls), run.vanished)  # fmt: skip


class _Run:
    """Events in their order: an environment asks, or its answer has come."""

    def __init__(
        self, load: Load, clock: HandClock, make: Callable[[int], Policy], chance: random.Random
    ) -> None:
        self._load = load
        self._clock = clock
        self._make = make
        self._chance = chance
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self.billed = self.calls = self.refused = self.vanished = 0

    def all(self) -> None:
        for number in range(self._load.environments):
            begins = self._chance.uniform(0, self._load.seconds)
            self._at(begins, self._life(number))
        while self._events:
            self._clock.now_ms, _, act = heapq.heappop(self._events)
            act()

    def _life(self, number: int) -> Callable[[], None]:
        vanishes = self._chance.random() < VANISHING
        last = self._chance.randrange(self._load.invocations) if vanishes else -1

        def begin() -> None:
            self._ask(self._make(number), self._load.invocations, last)

        return begin

    def _ask(self, policy: Policy, left: int, vanishes_at: int) -> None:
        load = self._load
        cost = round(min(load.most_share, self._chance.expovariate(1)) * load.cost_pico_usd)
        book = policy.admit(load.most_share * load.cost_pico_usd)
        if book is None:
            self.refused += 1
            self._go_on(policy, left, vanishes_at)
            return
        self.calls += 1
        self.billed += cost
        if left - 1 == vanishes_at:
            self.vanished += 1  # in the middle of the call, which is billed all the same
            return

        def answer() -> None:
            book(cost)
            self._go_on(policy, left, vanishes_at)

        self._at(self._chance.expovariate(1 / load.call_seconds), answer)

    def _go_on(self, policy: Policy, left: int, vanishes_at: int) -> None:
        policy.end(last=left == 1)
        if left > 1:
            pause = self._chance.expovariate(1 / self._load.pause_seconds)
            self._at(pause, lambda: self._ask(policy, left - 1, vanishes_at))

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(
            self._events, (self._clock.now_ms + round(seconds * 1_000), self._order, act)
        )
