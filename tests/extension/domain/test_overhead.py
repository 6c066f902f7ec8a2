"""What lambdallm itself causes, in money."""

from __future__ import annotations

from decimal import Decimal

from lambdallm_extension.domain.overhead import Overhead

USD = Decimal(10) ** 12


def test_a_million_of_each_costs_what_the_price_lists_say() -> None:
    for act, dollars in (
        (lambda overhead: overhead.write(1_000_000 * 1_000), "0.625"),
        (lambda overhead: overhead.read(1_000_000 * 1_000), "0.125"),
        (lambda overhead: [overhead.log("x" * (1_000_000 - 26)) for _ in range(1_000)], "0.5"),
        (lambda overhead: [overhead.object_written() for _ in range(1_000)], "0.005"),
        (lambda overhead: [overhead.object_read() for _ in range(1_000)], "0.0004"),
    ):
        overhead = Overhead()
        act(overhead)
        assert overhead.pico_usd / USD == Decimal(dollars)


def test_half_a_unit_counts_and_letters_are_bytes() -> None:
    overhead = Overhead()
    overhead.read(500)
    overhead.log("é\ud800")

    assert overhead.read_units_milli == 500
    assert overhead.log_bytes == 26 + 3
    assert overhead.pico_usd == 62_500 + 29 * 500


def test_it_is_taken_once() -> None:
    overhead = Overhead()
    overhead.write(1_000)

    assert overhead.take() == 625_000
    assert overhead.take() == 0
    overhead.write(2_000)
    assert (overhead.take(), overhead.pico_usd) == (1_250_000, 1_875_000)
