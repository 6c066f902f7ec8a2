"""Whatever happens to environments and to the store, no window of a budget is overspent.

Environments reserve, settle, lose calls, return leases, vanish, and are cloned; operations of the
store are throttled, lost before or after they were done, or arrive late; clocks pass midnight.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fakes.clocks import HandClock
from fakes.faulty_store import FAULTS, FaultyStore
from lambdallm_extension import errors
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key
from lambdallm_extension.services.budgets import Budgets, Reservation
from lambdallm_extension.stores.memory import MemoryStore

DAILY, USERS = 10_000, 3_000
RULES = [
    Budget("daily", "organisation", limit_pico_usd=DAILY, time_zone="Europe/Berlin"),
    Budget("users", "user", window="week", limit_pico_usd=USERS),
    Budget("told", "organisation", limit_pico_usd=5, on_exceeded="warn"),
]

faults = st.lists(st.sampled_from([each for each in FAULTS if each != "between"]), max_size=4)
numbers = st.integers(0, 1_000)


class Environment:
    """One that lives. `billed` is what the provider charges for its calls, by account."""

    def __init__(self, budgets: Budgets) -> None:
        self.budgets = budgets
        self.calls: list[tuple[Reservation, list[str]]] = []


class Histories(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.inner: Any = MemoryStore(self.clock)
        self.store = FaultyStore(self.inner)
        self.environments: list[Environment] = []
        self.made = 0
        self.billed: dict[str, int] = {}
        self.limits: dict[str, int] = {}
        self.guessed: set[str] = set()

    @precondition(lambda self: len(self.environments) < 5)
    @rule()
    def begin(self) -> None:
        self.made += 1
        name = f"e{self.made}"
        self.environments.append(
            Environment(
                Budgets(lambda: RULES, lambda: self.store, self.clock, lambda: name, lambda _: None)
            )
        )

    @precondition(lambda self: self.environments)
    @rule(which=numbers, user=st.sampled_from("ab"), worst=st.integers(0, 2_000), plan=faults)
    def call(self, which: int, user: str, worst: int, plan: list[str]) -> None:
        environment = self.pick(which)
        scopes = {"user": user}
        accounts = environment.budgets.accounts(scopes)
        self.limits |= {each.pk: each.budget.limit_pico_usd or 0 for each in accounts}
        self.store.plan = list(plan)
        try:
            reserved = environment.budgets.admit(
                scopes, worst, deadline_ms=self.clock.now_ms + 1_000
            )
        except (errors.BudgetExceededError, errors.StoreError):
            return
        finally:
            self.store.plan = []
        environment.calls.append((reserved, [each.pk for each in accounts]))

    @precondition(lambda self: any(each.calls for each in self.environments))
    @rule(
        which=numbers, share=st.integers(0, 100), how=st.sampled_from(["known", "lost", "refused"])
    )
    def answer(self, which: int, share: int, how: str) -> None:
        calling = [each for each in self.environments if each.calls]
        environment = calling[which % len(calling)]
        reserved, pks = environment.calls.pop(which % len(environment.calls))
        cost = 0 if how == "refused" else reserved.pico_usd * share // 100
        for pk in pks:
            self.billed[pk] = self.billed.get(pk, 0) + cost
        if how == "known":
            reserved.settle(cost)
        elif how == "lost":
            self.guessed |= {*pks}
            reserved.lose()
        else:
            reserved.release()

    @precondition(lambda self: self.environments)
    @rule(which=numbers, plan=faults, last=st.booleans())
    def flush(self, which: int, plan: list[str], last: bool) -> None:
        environment = self.pick(which)
        self.store.plan = list(plan)
        try:
            environment.budgets.flush(deadline_ms=self.clock.now_ms + 1_000, last=last)
        except errors.StoreError:
            pass  # it says so, and goes on with what is left
        finally:
            self.store.plan = []

    @precondition(lambda self: self.environments)
    @rule(which=numbers, share=st.integers(0, 100))
    def vanish(self, which: int, share: int) -> None:
        """Killed: what was under way may be billed, and nobody settles it."""
        environment = self.pick(which)
        self.environments.remove(environment)
        self.guessed |= {account.pk for account in environment.budgets.known()}
        for reserved, pks in environment.calls:
            for pk in pks:
                cost = reserved.pico_usd * share // 100
                self.billed[pk] = self.billed.get(pk, 0) + cost

    @rule()
    def arrive(self) -> None:
        self.store.arrive()

    @rule(hours=st.sampled_from([1, 11, 24]))
    def pass_time(self, hours: int) -> None:
        self.clock.jump("wall", hours * 3_600)

    @invariant()
    def no_window_is_overspent(self) -> None:
        for pk, limit in self.limits.items():
            if "#told#" not in pk:
                assert self.billed.get(pk, 0) <= limit, pk

    @invariant()
    def what_is_held_is_leased(self) -> None:
        held: dict[str, int] = {}
        for environment in self.environments:
            for account in environment.budgets.known():
                held[account.pk] = held.get(account.pk, 0) + account.lease.granted
        for pk, granted in held.items():
            head = self.inner.get(Key(pk, keys.HEAD), deadline_ms=0)
            assert granted <= (head.attributes["leased"] if head else 0), pk

    def teardown(self) -> None:
        """Everybody answers and goes: what is told is what was billed, or more if one was lost."""
        for environment in self.environments:
            for reserved, pks in environment.calls:
                for pk in pks:
                    self.billed[pk] = self.billed.get(pk, 0) + reserved.pico_usd
                reserved.settle(reserved.pico_usd)
            environment.budgets.flush(deadline_ms=self.clock.now_ms + 1_000, last=True)
        for pk, billed in self.billed.items():
            head = self.inner.get(Key(pk, keys.HEAD), deadline_ms=0)
            assert billed <= (head.attributes["leased"] if head else 0), pk
            rows = self.inner.query(pk, keys.LEASE_PREFIX, deadline_ms=0)
            told = sum(row.attributes["spent"] for row in rows)
            assert told == billed or pk in self.guessed, pk

    def pick(self, which: int) -> Environment:
        return self.environments[which % len(self.environments)]


def profile(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=40, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


TestHistories = Histories.TestCase
TestHistories.settings = profile(60)


@pytest.mark.slow
class TestManyHistories(Histories.TestCase):  # type: ignore[name-defined,misc]
    """The same, for longer."""

    settings = profile(600)
