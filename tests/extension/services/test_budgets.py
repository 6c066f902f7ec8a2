"""Admission, one environment at a time: what is asked, what is refused, and when it opens again."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.budget_bench import USD, Bench, daily
from lambdallm_extension import errors
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key


def test_a_call_that_fits_is_booked_and_what_it_did_not_need_is_free_again() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    bench.admit(budgets, 4 * USD).settle(1 * USD)
    bench.flush(budgets, last=True)

    assert bench.head(budgets)["leased"] == 1 * USD
    assert bench.head(budgets)["leases"] == 0, "nobody holds a part that is not spent"
    assert [(row["granted"], row["spent"], row["reserved"]) for row in bench.rows(budgets)] == [
        (USD, USD, 0)
    ]


def test_no_store_is_asked_without_a_budget_that_concerns_the_call() -> None:
    bench = Bench(Budget("team", "tag:team", limit_pico_usd=USD))
    budgets = bench.environment()
    bench.admit(budgets, 5 * USD, user="ada").settle(USD)
    bench.flush(budgets)

    assert bench.asked == 0


def test_what_has_no_room_is_refused_until_the_window_ends() -> None:
    bench = Bench(daily(time_zone="Europe/Berlin"))
    budgets = bench.environment()
    bench.admit(budgets, 9 * USD).settle(9 * USD)
    with pytest.raises(errors.BudgetExceededError) as refused:
        bench.admit(budgets, 2 * USD)

    assert "$10.00" in refused.value.detail
    assert "$1.00 of it is left" in refused.value.detail
    assert refused.value.retryable
    assert refused.value.retry_after_seconds
    bench.clock.jump("wall", refused.value.retry_after_seconds - 1)
    with pytest.raises(errors.BudgetExceededError):
        bench.admit(budgets, 2 * USD)
    bench.clock.jump("wall", 1)
    bench.admit(budgets, 2 * USD).settle(2 * USD)
    assert bench.head(budgets)["leased"] == 2 * USD, "of the new day"


def test_what_fits_is_still_admitted_beside_a_refusal() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    bench.admit(budgets, 9 * USD).settle(9 * USD)
    for _ in range(3):
        with pytest.raises(errors.BudgetExceededError):
            bench.admit(budgets, 2 * USD)
    asked = bench.asked
    with pytest.raises(errors.BudgetExceededError):
        bench.admit(budgets, 2 * USD)

    bench.admit(budgets, 1 * USD).settle(USD)
    assert bench.head(budgets)["leased"] == 10 * USD
    assert asked <= 4 + 1


def test_a_call_is_settled_in_the_window_that_admitted_it() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    before = budgets.accounts({})[0].pk
    call = bench.admit(budgets, 3 * USD)
    bench.clock.jump("wall", 86_400)
    bench.admit(budgets, 1 * USD).settle(USD)
    call.settle(2 * USD)
    bench.flush(budgets, last=True)

    head = bench.inner.get(Key(before, keys.HEAD), deadline_ms=0)
    assert head.attributes["leased"] == 2 * USD
    assert bench.head(budgets)["leased"] == USD


def test_a_clock_that_is_set_back_loses_nothing_that_was_told() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    for hours in (0, 24, -24, 24):
        bench.clock.jump("wall", hours * 3_600)
        bench.admit(budgets, USD).settle(USD)
        bench.flush(budgets, last=True)

        assert sum(row["spent"] for row in bench.rows(budgets)) == bench.head(budgets)["leased"]
    assert bench.head(budgets)["leased"] == 2 * USD


def test_a_clock_that_is_set_back_closes_nothing_that_has_room() -> None:
    bench = Bench(daily())
    one, other = bench.environment("e1"), bench.environment("e2")
    held = bench.admit(one, 9 * USD)
    with pytest.raises(errors.BudgetExceededError):
        bench.admit(other, 2 * USD)
    held.release()
    bench.flush(one, last=True)
    bench.clock.jump("wall", -3_600)

    bench.admit(other, 2 * USD)


def test_all_budgets_must_have_room_or_none_is_touched() -> None:
    bench = Bench(daily(), Budget("users", "user", window="month", limit_pico_usd=USD))
    budgets = bench.environment()
    with pytest.raises(errors.BudgetExceededError, match="user 'ada'"):
        bench.admit(budgets, 2 * USD, user="ada")
    bench.flush(budgets, last=True)

    assert bench.head(budgets, user="ada")["leased"] == 0
    bench.admit(budgets, USD, user="ada").settle(USD)
    bench.admit(budgets, USD, user="bob").settle(USD)
    with pytest.raises(errors.BudgetExceededError, match="user 'ada'"):
        bench.admit(budgets, 1, user="ada")


def test_a_lost_answer_counts_as_the_most_it_can_cost() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    bench.admit(budgets, 3 * USD).lose()
    bench.flush(budgets, last=True)

    [row] = bench.rows(budgets)
    assert (row["spent"], row["unknown"]) == (3 * USD, 3 * USD)


def test_a_refused_call_costs_nothing_and_ends_once() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    call = bench.admit(budgets, 3 * USD)
    call.release()
    call.settle(3 * USD)
    bench.flush(budgets, last=True)

    assert bench.head(budgets)["leased"] == 0


def test_a_call_that_costs_more_than_was_reserved_is_made_up_for() -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    bench.admit(budgets, 1 * USD).settle(3 * USD)
    bench.admit(budgets, 1 * USD).settle(1 * USD)
    bench.flush(budgets, last=True)

    assert bench.head(budgets)["leased"] == 4 * USD


@pytest.mark.parametrize("fault", ["throttled", "unsent", "lost", "late"])
def test_a_budget_that_cannot_be_asked_is_closed(fault: str) -> None:
    bench = Bench(daily())
    budgets = bench.environment()
    bench.store.plan = [fault] * 8
    with pytest.raises(errors.StoreError):
        bench.admit(budgets, USD)


def test_or_has_the_allowance_that_it_was_given() -> None:
    bench = Bench(daily(allowance_pico_usd=3 * USD))
    budgets = bench.environment()
    bench.store.plan = ["throttled"] * 100
    for _ in range(3):
        bench.admit(budgets, USD).settle(USD)
    with pytest.raises(errors.StoreError):
        bench.admit(budgets, USD)
    bench.store.plan = []
    bench.admit(budgets, USD).settle(USD)
    bench.flush(budgets, last=True)

    assert bench.head(budgets)["leased"] == USD, "what nobody was asked for is in the row alone"
    assert bench.rows(budgets)[0]["spent"] == 4 * USD


def test_a_stopped_budget_spends_nothing_though_it_has_room() -> None:
    bench = Bench(daily(stopped=True))
    budgets = bench.environment()
    with pytest.raises(errors.BudgetExceededError, match="stopped"):
        bench.admit(budgets, 1)
    bench.rules[0] = daily()
    bench.admit(budgets, 1).settle(1)
    bench.rules[0] = daily(stopped=True)
    with pytest.raises(errors.BudgetExceededError, match="stopped"):
        bench.admit(budgets, 1)


def test_what_is_stopped_says_so_though_another_budget_is_full() -> None:
    bench = Bench(daily(USD), Budget("stop of organisation", "organisation", window="all",
                                     stopped=True))  # fmt: skip
    budgets = bench.environment()
    with pytest.raises(errors.BudgetExceededError, match="stopped"):
        bench.admit(budgets, 2 * USD)
    with pytest.raises(errors.BudgetExceededError, match="stopped"):
        bench.admit(budgets, 1)

    assert bench.asked == 0, "nothing is leased for what is stopped"


def test_a_raised_limit_opens_it_and_a_lowered_one_closes_it() -> None:
    bench = Bench(daily(USD))
    budgets = bench.environment()
    bench.admit(budgets, USD).settle(USD)
    with pytest.raises(errors.BudgetExceededError):
        bench.admit(budgets, USD)
    bench.rules[0] = daily(3 * USD)
    bench.clock.jump("wall", 3)
    bench.admit(budgets, USD).settle(USD)
    bench.rules[0] = daily(USD)
    with pytest.raises(errors.BudgetExceededError):
        bench.admit(budgets, USD)


def test_one_that_only_warns_admits_beyond_its_limit_and_counts() -> None:
    bench = Bench(daily(USD, on_exceeded="warn"))
    budgets = bench.environment()
    bench.admit(budgets, 3 * USD).settle(3 * USD)
    bench.flush(budgets)

    assert bench.head(budgets)["leased"] == 3 * USD


def test_many_environments_share_a_limit_to_the_last() -> None:
    bench = Bench(daily(1_000))
    environments = [bench.environment(f"e{number}") for number in range(20)]
    spent = 0
    for turn in range(200):
        try:
            bench.admit(environments[turn % 20], 10).settle(10)
            spent += 10
        except errors.BudgetExceededError:
            continue

    assert spent == 1_000


def test_one_environment_of_all_says_that_a_part_is_gone() -> None:
    bench = Bench(daily())
    environments = [bench.environment(f"e{number}") for number in range(3)]
    for budgets in environments:
        bench.admit(budgets, 3 * USD).settle(3 * USD)
        bench.flush(budgets)
        bench.flush(budgets)

    assert [line.partition(" is leased")[2][:7] for line in bench.said] == [" to 60 ", " to 90 "]
    assert "$6.00 of $10.00" in bench.said[0]


@pytest.mark.parametrize("fault", ["throttled", "unsent", "lost", "late"])
def test_one_that_only_warns_blocks_nothing_while_nobody_can_be_asked(fault: str) -> None:
    bench = Bench(daily(USD, on_exceeded="warn"))
    budgets = bench.environment()
    bench.store.plan = [fault] * 100
    for _ in range(20):
        bench.admit(budgets, USD).settle(USD)
    asked = bench.asked
    with pytest.raises(errors.StoreError):
        bench.flush(budgets)
    bench.store.plan = []
    bench.flush(budgets, last=True)

    assert asked == 1, "no call waits for what the one before has waited for"
    assert bench.rows(budgets)[0]["spent"] == 20 * USD
    assert bench.head(budgets)["leased"] >= 20 * USD, "it is made up for"


@pytest.mark.parametrize(
    "change", [{"window": "month"}, {"window": "all"}, {"time_zone": "Pacific/Auckland"}], ids=str
)
def test_a_budget_whose_windows_are_changed_is_one_account_everywhere(change: Any) -> None:
    bench = Bench(daily())
    warm = bench.environment("warm")
    bench.admit(warm, USD).settle(USD)
    bench.rules[0] = daily(5 * USD)._replace(**change)
    bench.admit(warm, 3 * USD).settle(3 * USD)
    cold = bench.environment("cold")

    assert warm.accounts({})[0].window == cold.accounts({})[0].window
    bench.admit(cold, USD).settle(USD)
    with pytest.raises(errors.BudgetExceededError):
        bench.admit(cold, 2 * USD)
    bench.flush(warm, last=True)
    assert [account.lease.left for account in warm.known()] == [0], "of the other window, too"
