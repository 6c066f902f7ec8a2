"""Which budgets hold, and how soon what was changed in the table holds everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.faulty_store import FaultyStore
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys
from lambdallm_extension.errors import StoreUnavailableError
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.services.budget_rules import BudgetRules
from lambdallm_extension.stores.memory import MemoryStore

DAILY = Budget("daily", "organisation", limit_pico_usd=100)
STOP: tuple[str, dict[str, Any]] = ("STOP#tenant#acme", {"stopped": True})
WARNS = DAILY._replace(on_exceeded="warn")
ALLOWED = DAILY._replace(allowance_pico_usd=1)
SWITCH_SECONDS = 60
"""So soon a switch holds in every environment."""


class Bench:
    """One environment's rules over a table."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.inner: Any = MemoryStore(self.clock)
        self.store = FaultyStore(self.inner)
        self.said: list[str] = []
        self.rules = BudgetRules([DAILY], lambda: self.store, self.clock, self.said.append)

    def put(self, sk: str, attributes: dict[str, Any]) -> None:
        item = Item(Key(keys.BUDGETS, sk), {"schema": 1, **attributes})
        self.inner.put_if(Put(item), deadline_ms=0)

    def stopped(self) -> bool:
        return any(rule.stopped for rule in self.rules.current())

    def limit(self) -> int | None:
        [daily] = [rule for rule in self.rules.current() if rule.name == "daily"]
        return daily.limit_pico_usd


def test_a_switch_holds_within_a_minute_and_so_does_its_end() -> None:
    bench = Bench()
    assert not bench.stopped()
    bench.put(*STOP)
    bench.clock.jump("wall", SWITCH_SECONDS)
    assert bench.stopped()
    bench.put(STOP[0], {"stopped": False})
    bench.clock.jump("wall", SWITCH_SECONDS)

    assert not bench.stopped()


def test_a_clock_that_is_set_back_keeps_no_switch_from_holding() -> None:
    bench = Bench()
    assert not bench.stopped()
    bench.clock.jump("wall", -86_400)
    bench.put(*STOP)
    bench.clock.jump("wall", SWITCH_SECONDS)

    assert bench.stopped()


@pytest.mark.parametrize(
    ("sk", "attributes"),
    [
        ("RULE#daily", {"limit": "much"}),
        ("RULE#daily", {"on_exceeded": "shout"}),
        ("RULE#daily#acme", {}),
        ("RULE#new", {"scope": "galaxy", "window": "day"}),
        ("HELLO", {}),
    ],
)
def test_what_cannot_be_read_keeps_no_switch_from_holding(
    sk: str, attributes: dict[str, Any]
) -> None:
    bench = Bench()
    bench.put(sk, attributes)
    bench.put(*STOP)

    assert bench.stopped()
    assert bench.limit() == 100
    bench.clock.jump("wall", SWITCH_SECONDS)
    assert bench.stopped()
    assert len(bench.said) == 1
    assert sk in bench.said[0]


def test_what_another_function_has_configured_changes_nothing_here() -> None:
    bench = Bench()
    bench.put("RULE#theirs", {"limit": 5})
    bench.put("RULE#theirs#acme", {"limit": 5})
    bench.put("RULE#daily", {"limit": 7})

    assert [rule.name for rule in bench.rules.current()] == ["daily"]
    assert bench.limit() == 7
    assert not bench.said


def test_while_the_table_cannot_be_asked_what_was_known_holds() -> None:
    bench = Bench()
    bench.put("RULE#daily", {"limit": 7})
    assert bench.limit() == 7
    bench.clock.jump("wall", SWITCH_SECONDS)
    bench.store.plan = ["throttled"] * 2
    assert [bench.limit(), bench.limit()] == [7, 7]
    assert len(bench.store.plan) == 1, "nobody asks again for some seconds"
    bench.clock.jump("wall", 6)
    bench.put("RULE#daily", {"limit": 8})
    assert bench.limit() == 7
    bench.clock.jump("wall", 6)

    assert bench.limit() == 8
    assert len(bench.said) == 1


def test_who_has_never_read_them_spends_nothing() -> None:
    bench = Bench()
    bench.store.plan = ["throttled"]
    with pytest.raises(StoreUnavailableError, match="whether spending was stopped"):
        bench.rules.check()
    bench.clock.jump("wall", 6)

    bench.rules.check()
    bench.store.plan = ["throttled"]
    bench.clock.jump("wall", SWITCH_SECONDS)
    bench.rules.check()
    assert not bench.store.plan


@pytest.mark.parametrize("rule", [WARNS, ALLOWED], ids=["warns", "has an allowance"])
def test_a_budget_that_goes_on_without_its_table_goes_on_without_its_changes(rule: Budget) -> None:
    clock = HandClock()
    store = FaultyStore(MemoryStore(clock))
    store.plan = ["throttled"]
    said: list[str] = []

    BudgetRules([rule], lambda: store, clock, said.append).check()

    assert len(said) == 1
