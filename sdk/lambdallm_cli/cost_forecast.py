"""What a month will come to, from its days so far.

The mean of the last complete days, for today and each day that is left; ± 1.96 standard deviations
of a day × √days, as if days were independent and alike. It knows no weekends and no growth.
"""

from __future__ import annotations

from math import sqrt
from statistics import mean, stdev
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

DAYS_MAX = 14
"""Two weeks hold each weekday twice, and forget a month that was different."""

DAYS_MIN = 3
"""Below that nobody can say how days differ."""

Z = 1.96
"""Of 95 % of a normal distribution."""


class Forecast(NamedTuple):
    """A month in pico-USD: expected, and between which bounds in 19 of 20 such months."""

    expected: int
    low: int
    high: int
    days_used: int


def forecast(
    complete: Sequence[int], spent_before_today: int, today: int, days_left: int
) -> Forecast | None:
    """Return what a month will come to; None where too few days are known.

    Args:
        complete: What each complete day has cost, in order, those without any included.
        spent_before_today: In this month.
        today: So far.
        days_left: Of the month, behind today.
    """
    used = complete[-DAYS_MAX:]
    if len(used) < DAYS_MIN:
        return None
    usual, spread = mean(used), Z * stdev(used)
    so_far = spent_before_today + today
    expected = spent_before_today + max(today, usual) + usual * days_left
    width = spread * sqrt(days_left + 1)
    return Forecast(
        round(expected), max(so_far, round(expected - width)), round(expected + width), len(used)
    )
