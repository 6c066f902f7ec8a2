"""Gaps between two moments, when the clocks contradict each other."""

import pytest

from fakes.clocks import HandClock
from lambdallm_extension.domain.moments import Moment


@pytest.mark.parametrize("jumps", ["wall", "monotonic", "boottime"])
def test_each_clock_alone_shows_a_gap(jumps: str) -> None:
    clock = HandClock()
    before = Moment.of(clock)

    clock.jump(jumps, 40)

    assert Moment.of(clock).seconds_since(before) == pytest.approx(40)


@pytest.mark.parametrize("jumps", ["wall", "monotonic", "boottime"])
def test_a_clock_that_goes_back_hides_nothing(jumps: str) -> None:
    clock = HandClock()
    before = Moment.of(clock)

    clock.now_ms += 5_000
    clock.jump(jumps, -40)

    assert Moment.of(clock).seconds_since(before) == pytest.approx(5)
