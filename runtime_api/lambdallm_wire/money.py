"""Pico-USD (1e-12 USD) as people and programs read USD: exactly, with all of their digits."""

from __future__ import annotations

PICO_DIGITS = 12


def usd(pico_usd: int) -> str:
    """Write a plain decimal number: 14750000 is `0.00001475`."""
    whole, decimals = _parts(pico_usd)
    return f"{whole}.{decimals}" if decimals else str(whole)


def dollars(pico_usd: int) -> str:
    """Write an amount for a sentence, with two decimals at least: `$1,000.00`, `$0.0027526`."""
    whole, decimals = _parts(pico_usd)
    return f"${whole:,}.{decimals.ljust(2, '0')}"


def _parts(pico_usd: int) -> tuple[int, str]:
    whole, fraction = divmod(pico_usd, 10**PICO_DIGITS)
    return whole, f"{fraction:0{PICO_DIGITS}d}".rstrip("0")
