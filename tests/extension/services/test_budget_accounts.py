"""What an environment leases, tells and gives back, over a store that does not always answer."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from fakes.budget_bench import USD, Bench, daily
from lambdallm_extension import errors
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Put

DAY_MS = 86_400_000


def test_a_window_that_is_over_is_told_and_what_is_left_of_it_goes_back_at_once() -> None:
    """Though it was told a moment ago, and a minute like the last one would need what is left."""
    bench = Bench(daily())
    budgets = bench.environment()
    bench.clock.jump("wall", (DAY_MS - bench.clock.now_ms % DAY_MS) / 1_000 - 1)
    before = budgets.accounts({})[0].pk
    bench.admit(budgets, USD).settle(USD)
    bench.flush(budgets)
    bench.admit(budgets, 3 * USD).settle(2 * USD)
    bench.clock.jump("wall", 2)
    bench.admit(budgets, USD).settle(USD)
    bench.flush(budgets)

    head = bench.inner.get(Key(before, keys.HEAD), deadline_ms=0)
    [row] = bench.inner.query(before, keys.LEASE_PREFIX, deadline_ms=0)
    assert head.attributes["leased"] == row.attributes["spent"] == 3 * USD


def test_an_account_that_was_forgotten_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of more users than are remembered, each is told exactly."""
    monkeypatch.setattr("lambdallm_extension.services.budgets.ACCOUNTS_MAX", 4)
    bench = Bench(Budget("users", "user", limit_pico_usd=10 * USD))
    budgets = bench.environment()
    for _ in range(3):
        for user in "abcdefgh":
            bench.admit(budgets, USD, user=user).settle(USD)
            bench.flush(budgets, last=True)

    for user in "abcdefgh":
        assert sum(row["spent"] for row in bench.rows(budgets, user=user)) == 3 * USD


def test_what_the_allowance_gave_is_not_returned_to_what_others_have_leased() -> None:
    bench = Bench(daily(allowance_pico_usd=3 * USD))
    one, other = bench.environment("e1"), bench.environment("e2")
    bench.admit(other, 2 * USD).settle(2 * USD)
    bench.store.plan = ["throttled"]
    bench.admit(one, 3 * USD).release()
    bench.flush(one, last=True)

    assert bench.head(other)["leased"] == 2 * USD


def test_a_lost_answer_strands_a_lease_and_never_doubles_one() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    bench.store.plan = ["lost"]
    bench.admit(budgets, USD).settle(USD)
    bench.flush(budgets, last=True)

    assert bench.head(budgets)["leased"] == 2 * USD
    bench.store.plan = ["lost"]
    bench.admit(budgets, 3 * USD).settle(0)
    bench.store.plan = ["lost"]
    with pytest.raises(errors.WriteUncertainError):
        bench.flush(budgets, last=True)
    bench.flush(budgets, last=True)
    assert bench.head(budgets)["leased"] >= 2 * USD, "nothing went back twice"


def test_what_was_told_before_does_not_come_after_what_was_told_since() -> None:
    """A row that is late is refused: another one with a higher number stands there."""
    bench = Bench(daily())
    budgets = bench.environment()
    for fault in ("late", ""):
        call = bench.admit(budgets, 2 * USD)
        call.settle(2 * USD)
        bench.store.plan = [fault]
        with contextlib.suppress(errors.StoreError):
            bench.flush(budgets, last=True)
    bench.store.arrive()

    assert [(row["spent"], row["calls"]) for row in bench.rows(budgets)] == [(4 * USD, 2)]


class Untold:
    """A store that does not say what stands where a condition does not hold, as some servers."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def add_if(self, add: Any, **options: Any) -> Any:
        try:
            return self._store.add_if(add, **options)
        except errors.ConditionFailedError as refusal:
            raise errors.ConditionFailedError(refusal.detail, (None,)) from None


def test_a_full_account_is_looked_at_where_the_refusal_does_not_say_how_it_stands() -> None:
    bench = Bench(daily())
    one, other = bench.environment("e1"), bench.environment("e2")
    bench.admit(one, 9 * USD).settle(9 * USD)
    bench.store = Untold(bench.inner)  # type: ignore[assignment]
    with pytest.raises(errors.BudgetExceededError, match=r"\$1\.00 of it is left"):
        bench.admit(other, 2 * USD)

    bench.admit(other, USD).settle(USD)
    assert bench.head(other)["leased"] == 10 * USD


def test_what_is_left_of_a_lease_goes_back_when_the_account_has_no_more() -> None:
    """Two that have too little each: one of them has enough with what the other returns."""
    bench = Bench(daily())
    one, other = bench.environment("e1"), bench.environment("e2")
    for budgets in (one, other):
        bench.admit(budgets, 4 * USD).settle(3 * USD)
    bench.flush(one)
    bench.admit(one, 2 * USD).settle(USD // 2)
    for budgets in (one, other):
        with pytest.raises(errors.BudgetExceededError):
            bench.admit(budgets, 4 * USD)
        bench.flush(budgets)
    bench.clock.jump("wall", 3)

    bench.admit(other, 3 * USD).settle(3 * USD)
    assert bench.head(one)["leased"] == 9 * USD + USD // 2


def test_a_damaged_account_is_refused_with_its_name() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    pk = budgets.accounts({})[0].pk
    bench.inner.put_if(Put(Item(Key(pk, keys.HEAD), {"leased": "much"})), deadline_ms=0)
    with pytest.raises(errors.StoreError):
        bench.admit(budgets, USD)
