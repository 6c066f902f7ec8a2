"""Large texts in pieces that are items of the same store, each text in a partition of its own."""

from __future__ import annotations

from binascii import Error as Base64Error, a2b_base64, b2a_base64

from lambdallm_extension.errors import (
    ConditionFailedError,
    StoreUnavailableError,
    WriteUncertainError,
)
from lambdallm_extension.ports import ABSENT, PRESENT, Add, Item, Key, Put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Store

PIECE_MAX_BYTES = 350_000
"""Of an item's 409,600: the keys, and Base64 of what is compressed, come on top of it."""

CODED_PIECE_MAX_BYTES = PIECE_MAX_BYTES * 3 // 4

UNCERTAIN_RETRIES_MAX = 2

_LATER_BYTE = (0x80, 0xBF)
"""First and last of the bytes in UTF-8 that no character begins with."""


class TablePlace:
    """Pieces as items of a store, each in the partition of its text."""

    name = "table"

    def __init__(self, store: Store) -> None:
        self._store = store

    def key(self, name: str, *, seconds: int | None) -> str:
        """Return the key: an item's expiry stands in the item."""
        del seconds
        return name

    def split(self, content: bytes, *, is_text: bool) -> list[bytes]:
        """Cut it into pieces that fit into an item."""
        if not is_text:
            steps = range(0, len(content), CODED_PIECE_MAX_BYTES)
            return [content[start : start + CODED_PIECE_MAX_BYTES] for start in steps]
        pieces = []
        start = 0
        while start < len(content):
            end = min(len(content), start + PIECE_MAX_BYTES)
            while end < len(content) and _LATER_BYTE[0] <= content[end] <= _LATER_BYTE[1]:
                end -= 1  # within a character
            pieces.append(content[start:end])
            start = end
        return pieces

    def write(
        self,
        key: str,
        number: int,
        piece: bytes,
        *,
        is_text: bool,
        expires_at: int | None,
        deadline_ms: int,
    ) -> None:
        """Put it if it is absent: what stands there already has the same content."""
        text = piece.decode() if is_text else _to_base64(piece)
        put = Put(Item(_piece(key, number), {"schema": 1, "text": text}, expires_at), ABSENT)
        for attempt in range(1 + UNCERTAIN_RETRIES_MAX):
            try:
                self._store.put_if(put, deadline_ms=deadline_ms)
            except ConditionFailedError:
                return
            except WriteUncertainError as error:
                if attempt == UNCERTAIN_RETRIES_MAX:
                    raise StoreUnavailableError(error.detail) from None
            else:
                return

    def read(self, key: str, number: int, *, is_text: bool, deadline_ms: int) -> bytes | None:
        """Get it."""
        item = self._store.get(_piece(key, number), deadline_ms=deadline_ms)
        text = None if item is None else item.attributes.get("text")
        if not isinstance(text, str):
            return None
        return text.encode() if is_text else _from_base64(text)

    def extend(self, key: str, number: int, to: str, *, expires_at: int, deadline_ms: int) -> bool:
        """Set its expiry."""
        del to  # an item keeps its key
        add = Add(_piece(key, number), expires_at=expires_at, condition=PRESENT)
        try:
            self._store.add_if(add, deadline_ms=deadline_ms)
        except ConditionFailedError:
            return False
        return True

    def delete(self, key: str, number: int, *, deadline_ms: int) -> None:
        """Delete the item."""
        self._store.delete(_piece(key, number), deadline_ms=deadline_ms)

    def where(self, key: str) -> str:
        """Name its partition."""
        return f"the items of pk='VALUE#{key}'"

    def close(self) -> None:
        """The store is somebody else's."""


def _piece(key: str, number: int) -> Key:
    return Key(f"VALUE#{key}", f"PIECE#{number:03d}")


def _to_base64(piece: bytes) -> str:
    return b2a_base64(piece, newline=False).decode()


def _from_base64(text: str) -> bytes:
    try:
        return a2b_base64(text)
    except Base64Error:
        return b""  # somebody changed it, which its length and hash say
