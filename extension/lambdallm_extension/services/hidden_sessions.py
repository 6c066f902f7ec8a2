"""Heads that hide all of their session: of one that was deleted, moved, or that is being put in.

Written as expired, so that nobody reads them as a session; they keep the count of exchanges, so
that no number is given out twice while something of before is still there.

While a session is moved (`services.session_moves`) its head, its exchanges and the head that waits
for it elsewhere are sealed: whoever reads one of them is told so, and nobody writes.
"""

from __future__ import annotations

from lambdallm_extension.domain import keys
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Item, Value

SEALED = "moving"
"""1 in a sealed item. No condition of a writer holds of one."""

KEPT = ("move", "moved_to")
"""Attributes of a sealed head that stay when it hides its session: where that has gone."""


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


def kept(head: Item | None) -> dict[str, Value]:
    """Return what a head that hides its session keeps of the one that stood there."""
    attributes = {} if head is None else head.attributes
    return {name: attributes[name] for name in KEPT if name in attributes}


def is_sealed(item: Item) -> bool:
    """Say whether it is part of a session that is being moved, or waits for one."""
    return item.attributes.get(SEALED) == 1


def is_deleted(head: Item | None) -> bool:
    """Say whether a head is a deleted session's: no other one hides all that it counts."""
    if head is None:
        return False
    exchanges, first = (head.attributes.get(name) for name in ("exchanges", "first_exchange"))
    return isinstance(exchanges, int) and first == exchanges + 1
