"""Money, names and moments as people read them in a terminal, and as they write them."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from lambdallm._messages import PICO_USD

DECIMALS_MAX = 6
"""Of dollars that people read."""


def money(pico_usd: int, decimals: int | None = None) -> str:
    """Write money, rounded half up: $1,234.50, $0.000015.

    What is more than nothing and would be written as nothing is `<$0.000001`.

    Args:
        pico_usd: How much.
        decimals: So many, 6 at most; without, as many as it takes, and two at least.
    """
    places = DECIMALS_MAX if decimals is None else decimals
    step = PICO_USD // 10**places
    rounded = (pico_usd + step // 2) // step
    if pico_usd and not rounded:
        return f"<$0.{'1'.rjust(places, '0')}"
    whole, part = divmod(rounded, 10**places)
    digits = f"{part:0{places}d}"
    return f"${whole:,}.{digits.rstrip('0').ljust(2, '0') if decimals is None else digits}"


def decimals_for(most_pico_usd: int) -> int:
    """Return how many decimals tell sums apart whose largest is this: cents of hundreds."""
    if most_pico_usd >= 100 * PICO_USD:
        return 2
    return 4 if most_pico_usd >= PICO_USD else DECIMALS_MAX


def counted(count: int, what: str) -> str:
    """Write a number of things."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def pico_usd(_context: Any, _parameter: Any, said: str | None) -> int | None:
    """Return the pico-USD of an amount that somebody has typed: 50, $0.25, 1,000.

    Raises:
        BadParameter: It is none, or not a whole number of pico-USD.
    """
    if said is None:
        return None
    try:
        amount = Decimal(said.removeprefix("$").replace(",", "")) * PICO_USD
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0 or amount != amount.to_integral_value():
        message = f"{said!r} is no amount of USD, such as 50 or 0.25."
        raise click.BadParameter(message)
    return int(amount)


def printable(text: str) -> str:
    """Write out what would command a terminal, or cannot be encoded: users have said it."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def moment(epoch_ms: int) -> str:
    """Write an instant to the minute, in UTC."""
    at = datetime.fromtimestamp(epoch_ms / 1_000, tz=timezone.utc)
    return at.strftime("%Y-%m-%d %H:%M")
