"""A partition read in pages, so that neither a reply nor the memory grows with a session."""

from __future__ import annotations

from lambdallm_extension import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Item, Store

PAGE_BYTES = 1_048_576
"""After which a page ends: its last item may be larger. A reply takes 32 of them."""

FIRST_ITEMS = 4
"""Asked for first: they may be 2 MB each."""

ITEMS_MAX = 64
"""Asked for at once: small ones may have large ones behind them, of 256 KB and more."""

BEHIND = "\0"
"""Makes the next sort key that there can be."""

_ITEM_BYTES = 100
"""Of an item beside its texts."""


def page_of(
    store: Store, pk: str, *, prefix: str = "", start: str, deadline_ms: int
) -> tuple[list[Item], str]:
    """Return some items of a partition in the order of their keys, and where to go on.

    Args:
        store: Its own.
        pk: The partition.
        prefix: How the sort keys begin; "" takes all.
        start: Sort key to begin at, "" for the first one.
        deadline_ms: Epoch milliseconds.

    Returns:
        The items, at least one if there is one; and the next `start`, "" behind the last.
    """
    page: list[Item] = []
    size, asked = 0, FIRST_ITEMS
    while True:
        try:
            found = store.query(pk, prefix, first=start, limit=asked, deadline_ms=deadline_ms)
        except errors.TooMuchAtOnceError as error:
            if page:
                return page, start
            asked = error.fits
            continue
        for item in found:
            page.append(item)
            size += size_of(item)
            start = item.key.sk + BEHIND
            if size >= PAGE_BYTES:
                return page, start
        if len(found) < asked:
            return page, ""
        asked = min(ITEMS_MAX, 2 * asked)


def size_of(item: Item) -> int:
    """Estimate an item's bytes."""
    texts = [value for value in item.attributes.values() if isinstance(value, str)]
    return _ITEM_BYTES + sum(map(len, texts))
