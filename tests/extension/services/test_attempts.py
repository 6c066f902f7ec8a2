"""Who is asked how often: never what may be billed, never beyond the deadline, never a storm."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from fakes.played import ANSWER, Gateway, lost, refused
from lambdallm_extension import errors
from lambdallm_extension.domain import retry
from lambdallm_extension.domain.model_circuit import FAILURES_MIN, FIRST_PAUSE_MS, PROBE_MS
from lambdallm_extension.domain.retry import BUDGET_MAX
from lambdallm_extension.services.attempts import RETRIES_MAX, Attempts
from lambdallm_extension.services.model_health import Candidate


class Asked:
    """Asks candidates; each gives its next outcome, or answers when it has none left."""

    def __init__(self, gateway: Gateway, **outcomes: list[Any]) -> None:
        self.gateway = gateway
        self.outcomes = outcomes
        self.models: list[str] = []

    def run(self, *models: str, retries: int = 0, left_ms: int = 60_000) -> Any:
        gateway = self.gateway
        attempts = Attempts(
            gateway.candidates(*models), gateway.call(), gateway.health,
            retries=retries, deadline_ms=gateway.deadline_ms(left_ms),
        )  # fmt: skip
        return attempts.run(self._ask)

    def fails(self, *models: str, **more: Any) -> errors.ExtensionError:
        with pytest.raises(errors.ExtensionError) as caught:
            self.run(*models, **more)
        return caught.value

    def _ask(self, candidate: Candidate) -> Any:
        self.models.append(candidate.model)
        left = self.outcomes.get(candidate.model) or []
        outcome = left.pop(0) if left else ANSWER
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def test_each_candidate_is_asked_again_and_then_the_next_one(gateway: Gateway) -> None:
    asked = Asked(gateway, a=[refused()] * 9, b=[refused(503)])

    assert asked.run("a", "b", "c", retries=2) is ANSWER
    assert asked.models == ["a", "a", "a", "b", "b"]
    assert (gateway.totals.errors, gateway.totals.throttles) == (4, 3)


def test_the_last_failure_is_told_and_names_the_one_before(gateway: Gateway) -> None:
    first, last = refused(), refused(400, retryable=False)
    error = Asked(gateway, a=[first], b=[last]).fails("a", "b")

    assert (error, error.__cause__) == (last, first)


def test_time_that_runs_out_between_two_is_told_with_what_took_it(gateway: Gateway) -> None:
    first = refused()

    def slow(candidate: Candidate) -> Any:
        gateway.clock.now_ms += 59_900
        raise first

    attempts = Attempts(
        gateway.candidates("a", "b"), gateway.call(), gateway.health,
        retries=3, deadline_ms=gateway.deadline_ms(),
    )  # fmt: skip
    with pytest.raises(errors.DeadlineError) as caught:
        attempts.run(slow)

    assert caught.value.__cause__ is first


@pytest.mark.parametrize("error", [lost(), refused(200), refused(0, retryable=True)])
def test_what_may_be_billed_is_not_asked_again_by_anybody(
    gateway: Gateway, error: errors.ProviderError
) -> None:
    asked = Asked(gateway, a=[error])

    assert asked.fails("a", "b", retries=5) is error
    assert asked.models == ["a"]


def test_retries_are_bounded_whoever_asks_for_them(gateway: Gateway) -> None:
    asked = Asked(gateway, a=[refused(retry_after_seconds=0)] * 99)
    asked.fails("a", retries=99)

    assert len(asked.models) == 1 + RETRIES_MAX
    assert Asked(gateway).run("b", retries=-1) is ANSWER


def test_an_outage_is_not_answered_with_several_times_the_load() -> None:
    gateway = Gateway(retry_share=0.125)
    asked = Asked(gateway, **{f"m{number}": [refused()] * 9 for number in range(100)})
    for number in range(100):
        asked.fails(f"m{number}", retries=2)

    assert len(asked.models) - 100 <= BUDGET_MAX + 100 * 0.125


def test_who_fails_too_often_is_left_alone_for_a_while(gateway: Gateway) -> None:
    asked = Asked(gateway, a=[refused(503)] * FAILURES_MIN)
    for _ in range(FAILURES_MIN):
        asked.run("a", "b")
    asked.models.clear()

    asked.run("a", "b")
    assert asked.models == ["b"]
    gateway.clock.now_ms += FIRST_PAUSE_MS
    asked.run("a", "b")
    asked.run("a", "b")
    assert asked.models == ["b", "a", "a"], "it answered, and is well"


def test_one_call_at_a_time_tries_who_was_failing(gateway: Gateway) -> None:
    asked = Asked(gateway, a=[refused(503)] * FAILURES_MIN)
    for _ in range(FAILURES_MIN):
        asked.run("a", "b")
    gateway.clock.now_ms += FIRST_PAUSE_MS
    asked.models.clear()

    def ask(candidate: Candidate) -> Any:
        if candidate.model == "a":  # another call comes while this one is under way
            asked.run("a", "b")
        return ANSWER

    attempts = Attempts(
        gateway.candidates("a", "b"), gateway.call(), gateway.health,
        retries=0, deadline_ms=gateway.deadline_ms(),
    )  # fmt: skip
    assert attempts.run(ask) is ANSWER
    assert asked.models == ["b"]


def test_a_try_that_was_given_up_without_a_word_makes_way_for_another_one(
    gateway: Gateway,
) -> None:
    asked = Asked(gateway, a=[*[refused(503)] * FAILURES_MIN, ValueError()])
    for _ in range(FAILURES_MIN):
        asked.run("a", "b")
    gateway.clock.now_ms += FIRST_PAUSE_MS
    with pytest.raises(ValueError):  # noqa: PT011 - a fault of ours
        asked.run("a", "b")
    asked.models.clear()

    asked.run("a", "b")
    gateway.clock.now_ms += PROBE_MS
    asked.run("a", "b")
    assert asked.models == ["b", "a"]


def test_where_all_are_failing_the_one_that_failed_longest_ago_is_tried_once(
    gateway: Gateway,
) -> None:
    asked = Asked(gateway, a=[refused(503)] * 9, b=[refused(503)] * 9)
    for _ in range(FAILURES_MIN):
        asked.fails("a", "b")
        gateway.clock.now_ms += 1
    asked.models.clear()

    for _ in range(3):
        asked.fails("a", "b", retries=3)
        gateway.clock.now_ms += 1
    assert asked.models == ["a", "b", "a"]


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_refusal_for_the_callers_own_fault_is_an_answer(gateway: Gateway, status: int) -> None:
    asked = Asked(gateway, a=[refused(status, retryable=False)] * 20)
    for _ in range(20):
        asked.fails("a")

    asked.run("a", "b")
    assert asked.models[-1] == "a"


outcomes = st.lists(
    st.one_of(
        st.builds(refused, st.sampled_from([429, 500, 503, 529])),
        st.builds(refused, retry_after_seconds=st.floats(0, 30)),
        st.builds(refused, st.just(400), retryable=st.just(False)),
        st.builds(refused, st.just(0), sent=st.just(False)),
        st.builds(lost),
        st.builds(refused, st.just(200)),
        st.just(ANSWER),
    ),
    max_size=12,
)


@given(
    played=st.tuples(outcomes, outcomes, outcomes),
    takes_ms=st.integers(0, 5_000),
    retries=st.integers(0, 12),
    left_ms=st.integers(0, 40_000),
)
def test_whatever_happens_nothing_billed_is_repeated_and_the_deadline_holds(
    played: tuple[list[Any], ...], takes_ms: int, retries: int, left_ms: int
) -> None:
    gateway = Gateway()
    deadline_ms = gateway.deadline_ms(left_ms)
    left = dict(zip("abc", map(list, played), strict=True))
    may_be_billed: list[bool] = []

    def ask(candidate: Candidate) -> Any:
        assert not any(may_be_billed)
        assert deadline_ms - gateway.clock.now_ms >= retry.USEFUL_MS
        gateway.clock.now_ms += takes_ms
        outcome = left[candidate.model].pop(0) if left[candidate.model] else ANSWER
        if isinstance(outcome, errors.ProviderError):
            may_be_billed.append(outcome.sent and outcome.status < 400)
            raise outcome
        return outcome

    attempts = Attempts(
        gateway.candidates(*"abc"), gateway.call(), gateway.health,
        retries=retries, deadline_ms=deadline_ms,
    )  # fmt: skip
    with contextlib.suppress(errors.ProviderError, errors.DeadlineError):
        assert attempts.run(ask) is ANSWER
    if gateway.waits:
        assert gateway.clock.now_ms - takes_ms <= deadline_ms
    assert gateway.totals.errors == len(may_be_billed)


def test_a_candidate_whose_key_is_missing_makes_way_for_the_next_one(gateway: Gateway) -> None:
    missing = errors.SettingError("Set OPENAI_API_KEY.")

    assert Asked(gateway, a=[missing]).run("a", "b") is ANSWER
    assert Asked(gateway, a=[missing]).fails("a") is missing


def test_a_fallback_without_its_key_hides_nothing_of_the_first_failure(gateway: Gateway) -> None:
    first, missing = refused(503), errors.SettingError("Set OPENAI_API_KEY.")
    error = Asked(gateway, a=[first], b=[missing]).fails("a", "b")

    assert (error, error.__cause__) == (missing, first)
