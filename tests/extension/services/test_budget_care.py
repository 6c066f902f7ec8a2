"""How budgets stand, read from what environments have left in the store."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.clocks import HandClock
from lambdallm_extension import errors
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Page, Put
from lambdallm_extension.services.budget_care import BudgetCare
from lambdallm_extension.services.budgets import Budgets
from lambdallm_extension.stores.memory import MemoryStore

ALL = Budget("all", "organisation", limit_pico_usd=1_000_000)
USERS = Budget("users", "user", window="month", limit_pico_usd=1_000)
MINUTE_MS = 60_000


class OnePageEach(MemoryStore):
    """A store that finds one item with each page of a scan, and sometimes none."""

    def scan(self, prefix: str, sk: str, *, cursor: str = "", deadline_ms: int) -> Page:
        whole = super().scan(prefix, sk, deadline_ms=deadline_ms).items
        number = int(cursor or "0")
        found = [] if number % 2 else [*whole[number // 2 : number // 2 + 1]]
        return Page(found, str(number + 1) if number // 2 + 1 < len(whole) else "")


class World:
    def __init__(self, *rules: Budget) -> None:
        self.clock = HandClock()
        self.store: Any = OnePageEach(self.clock)
        self.rules = rules

    def environment(self, name: str) -> Budgets:
        return Budgets(lambda: self.rules, lambda: self.store, self.clock, lambda: name, print)

    def listed(self, name: str = "") -> list[Any]:
        care = BudgetCare(self.rules, self.store, self.clock, deadline_ms=self.deadline_ms)
        page = care.listed(name, "")
        accounts = [*page["accounts"]]
        while page["cursor"]:
            page = care.listed(name, page["cursor"])
            accounts += page["accounts"]
        return accounts

    @property
    def deadline_ms(self) -> int:
        return self.clock.now_ms + 5_000

    def spend(self, environment: Budgets, reserved: int, spent: int, **scopes: str) -> None:
        reservation = environment.admit(scopes, reserved, deadline_ms=self.deadline_ms)
        reservation.settle(spent)
        environment.flush(deadline_ms=self.deadline_ms)


def test_what_a_silent_environment_holds_is_stranded_and_no_longer_when_it_speaks() -> None:
    world = World(ALL)
    one, other = world.environment("e1"), world.environment("e2")
    for environment in (one, other):
        world.spend(environment, 400, 300)
        environment.admit({}, 5_000, deadline_ms=world.deadline_ms)  # under way
        environment.flush(deadline_ms=world.deadline_ms, last=True)
    (account,) = world.listed()
    assert account["stranded_pico_usd"] == 0
    assert account["spent_pico_usd"] == 600
    assert account["leased_pico_usd"] == 10_600

    world.clock.now_ms += 16 * MINUTE_MS
    assert world.listed()[0]["stranded_pico_usd"] == 10_000
    world.spend(one, 1, 1)
    assert world.listed()[0]["stranded_pico_usd"] == 5_000


def test_a_lease_that_was_never_told_is_stranded() -> None:
    world = World(ALL)
    world.environment("e1").admit({}, 700, deadline_ms=world.deadline_ms)
    (account,) = world.listed()

    assert account["stranded_pico_usd"] == account["leased_pico_usd"] >= 700
    assert account["environments"] == 0


def test_lost_calls_are_part_of_what_is_spent() -> None:
    world = World(ALL)
    environment = world.environment("e1")
    environment.admit({}, 700, deadline_ms=world.deadline_ms).lose()
    environment.flush(deadline_ms=world.deadline_ms, last=True)
    (account,) = world.listed()

    assert (account["spent_pico_usd"], account["unknown_pico_usd"]) == (700, 700)
    assert account["stranded_pico_usd"] == 0


def test_each_id_of_now_is_found_whatever_pages_the_store_returns() -> None:
    world = World(ALL, USERS, USERS._replace(name="users2", limit_pico_usd=50))
    environment = world.environment("e1")
    world.spend(environment, 10, 10, user="long ago")
    world.clock.now_ms += 40 * 24 * 60 * MINUTE_MS
    for user in ("ada", "b#b", "c c%"):
        world.spend(environment, 10, 10, user=user)

    assert sorted(each["id"] for each in world.listed("users")) == ["ada", "b#b", "c c%"]
    assert len(world.listed()) == 7
    assert {each["percent"] for each in world.listed("users")} == {1}


def test_a_rule_that_cannot_have_windows_is_named() -> None:
    world = World(ALL._replace(time_zone="Mars/Olympus"))

    with pytest.raises(errors.SettingError, match=r"'all'.*Mars"):
        world.listed()


def test_an_account_that_was_changed_is_named() -> None:
    world = World(ALL)
    pk = world.environment("e1").accounts({})[0].pk
    world.store.put_if(Put(Item(Key(pk, keys.HEAD), {"leased": "x"})), deadline_ms=0)

    with pytest.raises(errors.StoreRefusedError, match="BUDGET#all"):
        world.listed()
