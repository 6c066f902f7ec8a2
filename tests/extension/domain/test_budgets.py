"""How much an environment leases, and what it gives back."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain.budgets import (
    MINUTE_MS,
    Lease,
    Pace,
    Standing,
    lease_size,
    percent,
    surplus,
)

amounts = st.integers(0, 10**18)


@given(amounts, amounts, amounts, st.integers(0, 10_000), amounts)
def test_a_lease_covers_what_is_needed_and_is_small(
    needed: int, limit: int, leased: int, leases: int, per_minute: int
) -> None:
    size = lease_size(needed, limit, Standing(leased, leases), per_minute)

    assert size >= needed
    assert size <= max(needed, limit // 200)
    assert size <= max(needed, max(0, limit - leased) // 4)


@given(amounts, amounts, amounts, amounts)
def test_nothing_goes_back_that_is_spent_or_reserved(
    granted: int, spent: int, reserved: int, per_minute: int
) -> None:
    lease = Lease(granted, spent, reserved)

    assert 0 <= surplus(lease, per_minute) <= max(0, lease.left)


def test_a_pace_is_that_of_the_last_minute() -> None:
    pace = Pace()
    start = 10 * MINUTE_MS
    pace.add(600, start)
    assert pace.per_minute(start) == 600
    pace.add(600, start + MINUTE_MS // 2)
    assert pace.per_minute(start + MINUTE_MS) == 1_200, "the minute before counts whole at first"
    assert pace.per_minute(start + MINUTE_MS + MINUTE_MS // 2) == 600
    assert pace.per_minute(start + 9 * MINUTE_MS) == 0
    pace.add(5, start)
    assert pace.per_minute(start) == 5, "the clock was set back"


@pytest.mark.parametrize(
    ("budget", "found"),
    [
        (Budget("b", "organisation"), ""),
        (Budget("b", "user"), "ada"),
        (Budget("b", "user", only="ada"), "ada"),
        (Budget("b", "user", only="bob"), None),
        (Budget("b", "tenant"), None),
        (Budget("b", "tag:team"), "search"),
        (Budget("b", "tag:other"), None),
    ],
)
def test_a_budget_concerns_its_scope(budget: Budget, found: str | None) -> None:
    assert budget.concerns({"user": "ada", "tag:team": "search"}) == found


@pytest.mark.parametrize(
    ("leased", "limit", "expected"),
    [(0, None, 0), (5, None, 0), (0, 0, 100), (5, 0, 100), (1, 3, 33)],
)
def test_a_limit_of_nothing_is_full_and_no_limit_never(
    leased: int, limit: int | None, expected: int
) -> None:
    assert percent(leased, limit) == expected
