"""A model that fails too often is left alone for a while, and tried by one call at a time."""

from hypothesis import given, strategies as st

from lambdallm_extension.domain.model_circuit import (
    FAILURES_MIN,
    FIRST_PAUSE_MS,
    OUTCOMES_MAX,
    PAUSE_MAX_MS,
    PROBE_MS,
    WINDOW_MS,
    ModelCircuit,
)

NOW = 1_790_000_000_000


def failing(times: int = FAILURES_MIN, at: int = NOW, retry_after_ms: float = 0) -> ModelCircuit:
    circuit = ModelCircuit()
    for _ in range(times):
        circuit = circuit.failed(at, retry_after_ms)
    return circuit


def test_five_failures_open_it_and_four_do_not() -> None:
    assert failing(FAILURES_MIN - 1).state(NOW) == "closed"
    opened = failing()
    assert opened.state(NOW) == "open"
    assert opened.state(NOW + FIRST_PAUSE_MS - 1) == "open"
    assert opened.state(NOW + FIRST_PAUSE_MS) == "half_open"


def test_failures_that_are_the_smaller_part_do_not_open_it() -> None:
    circuit = ModelCircuit()
    for _ in range(6):
        circuit = circuit.succeeded(NOW)
    for _ in range(5):
        circuit = circuit.failed(NOW)
    assert circuit.state(NOW) == "closed"
    assert circuit.failed(NOW).state(NOW) == "open", "six of twelve are half"


def test_what_is_longer_ago_than_the_window_does_not_count() -> None:
    circuit = failing(FAILURES_MIN - 1).failed(NOW + WINDOW_MS)

    assert circuit.state(NOW + WINDOW_MS) == "closed"


def test_one_call_tries_it_and_its_answer_closes_it() -> None:
    later = NOW + FIRST_PAUSE_MS
    probed = failing().probed(later)

    assert probed.state(later) == "open", "nobody else asks meanwhile"
    assert probed.state(later + PROBE_MS) == "half_open", "it was given up without a word"
    assert probed.succeeded(later + 5) == ModelCircuit()


def test_each_try_that_fails_doubles_the_pause_up_to_a_minute() -> None:
    circuit, now, pauses = failing(), NOW, []
    for _ in range(9):
        pauses.append(circuit.retry_at_ms - now)
        now = circuit.retry_at_ms
        circuit = circuit.probed(now).failed(now)

    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]


def test_calls_at_once_that_fail_together_open_it_once() -> None:
    burst = failing(64)

    assert (burst.openings, burst.retry_at_ms) == (1, NOW + FIRST_PAUSE_MS)
    assert burst.failed(NOW + 10).failed_at_ms == NOW + 10


def test_the_servers_word_makes_the_pause_longer_within_its_maximum() -> None:
    assert failing(retry_after_ms=7_000).retry_at_ms == NOW + 7_000
    assert failing(retry_after_ms=10.0).retry_at_ms == NOW + FIRST_PAUSE_MS
    assert failing(retry_after_ms=3_600_000).retry_at_ms == NOW + PAUSE_MAX_MS
    assert failing().failed(NOW, 9_000).retry_at_ms == NOW + 9_000, "of a late failure too"


steps = st.tuples(st.sampled_from("sfp"), st.integers(0, 40_000), st.floats(0, 100_000))


@given(taken=st.lists(steps, max_size=60))
def test_it_stays_small_and_a_pause_is_never_longer_than_a_minute(
    taken: list[tuple[str, int, float]],
) -> None:
    circuit, now = ModelCircuit(), NOW
    for step, passed_ms, retry_after_ms in taken:
        now += passed_ms
        if step == "s":
            circuit = circuit.succeeded(now)
            assert circuit.state(now) == "closed", "whoever answers is well"
        elif step == "f":
            circuit = circuit.failed(now, retry_after_ms)
        elif circuit.state(now) == "half_open":
            circuit = circuit.probed(now)
        assert len(circuit.outcomes) <= OUTCOMES_MAX
        assert circuit.retry_at_ms <= now + PAUSE_MAX_MS
        assert circuit.state(now + PAUSE_MAX_MS) != "open"
