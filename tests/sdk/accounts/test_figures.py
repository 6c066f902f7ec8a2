"""Money and numbers as people read them."""

from __future__ import annotations

import click
import pytest

from lambdallm_cli import cost_forecast, figures

USD = 10**12


@pytest.mark.parametrize(
    ("pico_usd", "decimals", "written"),
    [
        (0, None, "$0.00"),
        (14_750_000, None, "$0.000015"),
        (499_999, None, "<$0.000001"),
        (500_000, None, "$0.000001"),
        (1_234_500_000_000_000, None, "$1,234.50"),
        (999_999_999_999, None, "$1.00"),
        (999_999_999_999, 6, "$1.000000"),
        (995 * USD // 100, 2, "$9.95"),
        (USD // 1_000, 2, "<$0.01"),
        (0, 4, "$0.0000"),
    ],
)
def test_money_is_rounded_and_never_to_nothing(
    pico_usd: int, decimals: int | None, written: str
) -> None:
    assert figures.money(pico_usd, decimals) == written


@pytest.mark.parametrize(
    ("said", "pico_usd"),
    [("50", 50 * USD), ("$0.25", USD // 4), ("1,000", 1_000 * USD), ("1e2", 100 * USD),
     ("0.000000000001", 1), ("0", 0)],
)  # fmt: skip
def test_amounts_are_read_to_the_last_digit(said: str, pico_usd: int) -> None:
    assert figures.pico_usd(None, None, said) == pico_usd


@pytest.mark.parametrize("said", ["", "x", "-1", "inf", "nan", "0.0000000000001", "1/2"])
def test_what_is_no_amount_is_refused(said: str) -> None:
    with pytest.raises(click.BadParameter):
        figures.pico_usd(None, None, said)


def test_alike_days_leave_no_doubt() -> None:
    assert cost_forecast.forecast([5, 5, 5], 15, 5, 10) == (70, 70, 70, 3)


def test_two_days_are_too_few() -> None:
    assert cost_forecast.forecast([5, 5], 10, 5, 10) is None


def test_the_last_two_weeks_count() -> None:
    found = cost_forecast.forecast([1_000] * 9 + [5] * 14, 100, 5, 2)

    assert found == (115, 115, 115, 14)


def test_a_month_never_comes_to_less_than_it_has_cost() -> None:
    found = cost_forecast.forecast([0, 300, 0], 300, 90, 0)

    assert found is not None
    assert (found.expected, found.low) == (400, 390)
    assert found.high == 400 + round(1.96 * 173.205080757)


def test_a_dear_day_counts_as_it_is() -> None:
    found = cost_forecast.forecast([10, 10, 10], 30, 50, 1)

    assert found is not None
    assert found.expected == 30 + 50 + 10
