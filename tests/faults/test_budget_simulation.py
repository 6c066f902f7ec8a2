"""A month of thousands of environments, of which some vanish; and beside it a cached check."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from faults.budget_simulation import Load, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_SECONDS = 86_400

BURST = Load(64, 1, 700, pause_seconds=0.05, call_seconds=0.1, limit_share=0.25)
"""They spend the limit in some 25 seconds, and would spend it four times."""


@pytest.mark.parametrize(
    "environments", [1_000, pytest.param(10_000, marks=pytest.mark.slow)], ids=str
)
def test_a_month_in_which_one_environment_in_twenty_vanishes_still_serves(
    record_property: Callable[[str, object], None], environments: int
) -> None:
    """Each that vanishes does so in a call, of which the most it can cost stays reserved."""
    load = Load(environments, 29 * DAY_SECONDS, 8, pause_seconds=60, call_seconds=2)
    ours, cached = simulate(load), simulate(load, cached=True)
    record_property("figures", json.dumps({"ours": ours._asdict(), "cached": cached._asdict()}))

    assert ours.vanished > environments * 0.03
    assert 0.95 <= ours.billed <= ours.leased <= 1
    assert cached.billed > 1


def test_a_burst_stays_within_its_limit_and_uses_it(
    record_property: Callable[[str, object], None],
) -> None:
    ours, cached = simulate(BURST), simulate(BURST, cached=True)
    record_property("figures", json.dumps({"ours": ours._asdict(), "cached": cached._asdict()}))

    assert 0.99 <= ours.billed <= ours.leased <= 1
    assert ours.operations_a_call <= 0.35
    assert cached.billed > 1.5, "a check of what was recorded a minute ago"
