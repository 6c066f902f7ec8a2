"""When somebody who fails is left alone, and for how long."""

from hypothesis import given, strategies as st

from lambdallm_extension.domain.circuit import (
    FAILURES_MAX,
    FIRST_PAUSE_MS,
    PAUSE_MAX_MS,
    Circuit,
)


def fail(circuit: Circuit, times: int, now_ms: int = 0) -> Circuit:
    for _ in range(times):
        circuit = circuit.failed(now_ms)
    return circuit


def test_a_few_failures_do_not_open_it() -> None:
    assert Circuit().state(0) == "closed"
    assert fail(Circuit(), FAILURES_MAX - 1).state(0) == "failing"


def test_it_opens_for_a_while_and_then_allows_a_try() -> None:
    circuit = fail(Circuit(), FAILURES_MAX, now_ms=1_000)

    assert circuit.state(1_000 + FIRST_PAUSE_MS - 1) == "open"
    assert circuit.state(1_000 + FIRST_PAUSE_MS) == "half_open"


def test_a_failure_while_it_is_open_tells_nothing_new() -> None:
    circuit = fail(Circuit(), FAILURES_MAX)

    assert fail(circuit, 5, now_ms=FIRST_PAUSE_MS - 1) == circuit


def test_each_failed_try_doubles_the_pause_up_to_a_minute() -> None:
    circuit, pauses, now_ms = fail(Circuit(), FAILURES_MAX), [], 0
    for _ in range(6):
        pauses.append(circuit.retry_at_ms - now_ms)
        now_ms = circuit.retry_at_ms
        circuit = circuit.failed(now_ms)

    assert pauses == [5_000, 10_000, 20_000, 40_000, PAUSE_MAX_MS, PAUSE_MAX_MS]


@given(st.lists(st.integers(0, 100_000), max_size=200))
def test_it_never_stays_open_longer_than_its_longest_pause(waits: list[int]) -> None:
    circuit, now_ms = Circuit(), 0
    for wait in waits:
        now_ms += wait
        circuit = circuit.failed(now_ms)
        assert circuit.state(now_ms + PAUSE_MAX_MS) != "open"
