"""Amounts lose no digit on their way to readers."""

from decimal import Decimal

from hypothesis import given, strategies as st

from lambdallm_wire.money import dollars, usd


@given(st.integers(0, 10**27))
def test_what_is_written_is_the_exact_amount(pico_usd: int) -> None:
    exact = Decimal(pico_usd).scaleb(-12)

    assert Decimal(usd(pico_usd)) == exact
    assert Decimal(dollars(pico_usd).removeprefix("$").replace(",", "")) == exact


def test_forms_for_programs_and_for_sentences() -> None:
    amounts = (0, 14_750_000, 10**15, 1_100_000_000_000)

    assert [usd(each) for each in amounts] == ["0", "0.00001475", "1000", "1.1"]
    assert [dollars(each) for each in amounts] == ["$0.00", "$0.00001475", "$1,000.00", "$1.10"]
