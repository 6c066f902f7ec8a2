"""Heads that hide all of their session: of one that was deleted, or that is being put in.

Written as expired, so that nobody reads them as a session; they keep the count of exchanges, so
that no number is given out twice while something of before is still there.
"""

from __future__ import annotations

from lambdallm_extension.domain import keys
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Item, Value


def number_of(item: Item) -> int:
    """Return the exchange that an item belongs to; 0 where it is of no exchange, or damaged."""
    sk = item.key.sk
    number: Value
    if sk.startswith(keys.EXCHANGE_PREFIX):
        number = item.attributes.get("number")
    elif sk == keys.DIGEST:
        number = item.attributes.get("covers")
    else:
        digits = sk.partition("#")[2].partition("#")[0]
        number = int(digits) if digits.isascii() and digits.isdigit() else 0
    return number if isinstance(number, int) else 0


def hiding(number: int) -> dict[str, Value]:
    """Return a deleted session's head, to be written as expired: it hides all up to this number."""
    return {
        "schema": names.ITEM_SCHEMA_VERSION,
        "exchanges": number,
        "first_exchange": number + 1,
        "metadata": "{}",
    }


def is_deleted(head: Item | None) -> bool:
    """Say whether a head is a deleted session's: no other one hides all that it counts."""
    if head is None:
        return False
    exchanges, first = (head.attributes.get(name) for name in ("exchanges", "first_exchange"))
    return isinstance(exchanges, int) and first == exchanges + 1
