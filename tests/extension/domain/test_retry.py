"""When a failed call is asked again."""

from hypothesis import given, strategies as st

from lambdallm_extension.domain import flush, retry
from lambdallm_extension.domain.retry import BUDGET_MAX, RetryBudget


class Highest:
    def uniform(self, low: float, high: float) -> float:
        assert low == 0
        return high


def delay(
    attempt: int, *, retry_after: float | None = None, remaining: float = 60_000
) -> int | None:
    return retry.delay_ms(
        attempt, retry_after_seconds=retry_after, remaining_ms=remaining, random=Highest()
    )


def test_the_bound_doubles_up_to_its_maximum() -> None:
    assert [delay(attempt) for attempt in range(8)] == [
        200, 400, 800, 1_600, 3_200, 6_400, 8_000, 8_000,
    ]  # fmt: skip


def test_the_servers_word_is_not_shortened() -> None:
    assert delay(0, retry_after=12.5) == 12_500


def test_nothing_is_tried_that_the_deadline_would_cut() -> None:
    assert delay(0, retry_after=5, remaining=5_000 + retry.USEFUL_MS - 1) is None
    assert delay(0, retry_after=5, remaining=5_000 + retry.USEFUL_MS) == 5_000
    assert delay(0, remaining=0) is None


def test_the_reserve_before_the_deadline_is_five_percent_within_bounds() -> None:
    assert [flush.reserve_ms(ms) for ms in (1_000, 10_000, 900_000)] == [100, 500, 2_000]


def test_retries_are_saved_up_for_a_burst_and_then_a_share_of_the_calls() -> None:
    budget, taken = RetryBudget(), 0
    while (after := budget.take()) is not None:
        budget, taken = after, taken + 1
    assert taken == BUDGET_MAX

    for _ in range(8):
        assert budget.take() is None
        budget = budget.earn(0.125)
    assert budget.take() == RetryBudget(0)


@given(calls=st.lists(st.booleans(), max_size=300), share=st.sampled_from([0, 0.125, 0.5, 1]))
def test_there_are_never_more_retries_than_the_budget_and_the_share_allow(
    calls: list[bool], share: float
) -> None:
    budget, retries = RetryBudget(), 0
    for fails in calls:
        budget = budget.earn(share)
        after = budget.take() if fails else None
        if after is not None:
            budget, retries = after, retries + 1
        assert 0 <= budget.left <= BUDGET_MAX

    assert retries <= BUDGET_MAX + share * len(calls)
