"""Lines and bills of invocations, in every order: totals add up, and each bill counts once."""

from __future__ import annotations

from threading import Thread

from hypothesis import given, strategies as st

from lambda_runtime_api.telemetry import RuntimeDone
from lambdallm_extension.services.invocation_costs import (
    CLOSED_MAX,
    EXPECTED_MAX,
    InvocationCosts,
    Spent,
)


def awaited() -> InvocationCosts:
    costs = InvocationCosts()
    costs.come = lambda: True
    return costs


def test_lines_are_summed_until_the_row_and_told_alone_behind_it() -> None:
    costs = awaited()
    costs.expect("r1")

    assert costs.add("r1", Spent(5, 1)) is None
    assert costs.add("r1", Spent(7, 2, 1)) is None
    assert costs.close("r1") == Spent(12, 3, 1)
    assert costs.add("r1", Spent(4, 1)) == 5


def test_a_bill_counts_once_and_only_where_it_is_expected() -> None:
    costs = awaited()
    costs.expect("r1")

    assert costs.close("somebody's") is None
    assert costs.close("r1") == Spent()
    assert costs.close("r1") is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12), st.integers(0, 12))
def test_all_is_told_whenever_the_bill_comes(lines: list[tuple[int, int]], before: int) -> None:
    costs = awaited()
    costs.expect("r")
    told = 0
    for number, line in enumerate([*lines, None]):
        if number == min(before, len(lines)):
            row = costs.close("r")
            assert row is not None
            told += row.cost_pico_usd + row.overhead_pico_usd
        if line is not None:
            told += costs.add("r", Spent(*line)) or 0

    assert told == sum(map(sum, lines))


def test_what_is_remembered_is_bounded() -> None:
    costs = awaited()
    for number in range(10_000):
        costs.done(RuntimeDone(f"unknown-{number}", "success", 1.0))
        assert costs.close(f"unknown-{number}") is None
        costs.expect(f"r{number}")
        costs.done(RuntimeDone(f"r{number}", "success", 1.0))

    assert len(costs.wait_closed(0)) == EXPECTED_MAX
    assert costs.close("r0") is None, "the oldest has made way"
    for number in range(10_000):
        costs.expect(f"s{number}")
        costs.close(f"s{number}")
    remembered = [costs.add(f"s{number}", Spent(1)) for number in range(10_000)]
    assert remembered.count(1) == CLOSED_MAX
    assert remembered[-1] == 1


def test_the_end_waits_for_what_is_expected_and_says_what_did_not_come() -> None:
    costs = awaited()
    costs.expect("r1")
    costs.expect("r2")
    costs.done(RuntimeDone("r2", "timeout", 3_000.0))
    thread = Thread(target=costs.close, args=("r1",))
    thread.start()

    (late,) = costs.wait_closed(0.05)
    thread.join()
    assert late.request_id == "r2"
    costs.close("r2")
    assert costs.wait_closed(60) == []


def test_another_environment_expects_nothing() -> None:
    costs = awaited()
    costs.expect("r1")
    costs.clear()

    assert costs.close("r1") is None
    assert costs.wait_closed(60) == []


def test_a_line_may_come_before_its_invocation_is_known() -> None:
    costs = awaited()
    costs.add("r1", Spent(5, 1))
    costs.expect("r1")
    assert costs.close("r1") == Spent(5, 1)

    costs.add("", Spent(5, 1))
    assert costs.close("") is None, "a session by hand has no invocation"


def test_where_no_bills_come_nothing_is_kept() -> None:
    costs = InvocationCosts()
    costs.expect("r1")
    costs.add("r1", Spent(5, 1))

    assert costs.close("r1") is None
