"""Environments over one store, as their budgets see it: a clock by hand, and planned faults."""

from __future__ import annotations

from typing import Any

from fakes.clocks import HandClock
from fakes.faulty_store import FaultyStore
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key
from lambdallm_extension.services.budgets import Budgets, Reservation
from lambdallm_extension.stores.memory import MemoryStore

USD = 10**12


class Bench:
    """Environments over one store."""

    def __init__(self, *rules: Budget) -> None:
        self.clock = HandClock()
        self.inner: Any = MemoryStore(self.clock)
        self.store = FaultyStore(self.inner)
        self.rules = [*rules]
        self.asked = 0
        self.said: list[str] = []

    def environment(self, name: str = "e1") -> Budgets:
        def store() -> Any:
            self.asked += 1
            return self.store

        return Budgets(lambda: self.rules, store, self.clock, lambda: name, self.said.append)

    def head(self, budgets: Budgets, **scopes: str) -> dict[str, Any]:
        pk = budgets.accounts(scopes)[0].pk
        item = self.inner.get(Key(pk, keys.HEAD), deadline_ms=0)
        return dict(item.attributes) if item else {}

    def rows(self, budgets: Budgets, **scopes: str) -> list[dict[str, Any]]:
        pk = budgets.accounts(scopes)[0].pk
        return [dict(row.attributes) for row in self.inner.query(pk, keys.LEASE_PREFIX,
                                                                 deadline_ms=0)]  # fmt: skip

    def admit(self, budgets: Budgets, pico_usd: int, **scopes: str) -> Reservation:
        return budgets.admit(scopes, pico_usd, deadline_ms=self.clock.now_ms + 1_000)

    def flush(self, budgets: Budgets, *, last: bool = False) -> None:
        budgets.flush(deadline_ms=self.clock.now_ms + 1_000, last=last)


def daily(limit: int = 10 * USD, **more: Any) -> Budget:
    return Budget("daily", "organisation", limit_pico_usd=limit, **more)
