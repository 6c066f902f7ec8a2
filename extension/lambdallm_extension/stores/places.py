"""Where texts lie that are too large for their item: in pieces, each written before the item.

    table   VALUE#<key>  PIECE#000, PIECE#001 …     items of the same table, any store
    s3      s3://bucket/prefix/d64/<key>            one object; deleted by its class's lifecycle

A key is named after the write that made it and after what it holds: the same write sent again
makes the same key, and nobody guesses it. What no item refers to, because a race was lost or a
process was killed in between, expires as the rest does: items by their `expires_at`, objects by
their class.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import Protocol


class Place(Protocol):
    """Keeps pieces of texts. Writing a piece again, or deleting one that is gone, is no fault.

    Errors are those of `ports.Store`; a write that is uncertain counts as not done.
    """

    name: str

    def key(self, name: str, *, seconds: int | None) -> str:
        """Return the whole key of what has to live so long; None: for ever."""
        ...

    def split(self, content: bytes, *, is_text: bool) -> list[bytes]:
        """Cut what is to be written into pieces, of whole characters where it is text."""
        ...

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
        """Write a piece."""
        ...

    def read(self, key: str, number: int, *, is_text: bool, deadline_ms: int) -> bytes | None:
        """Return a piece, None when it is gone."""
        ...

    def extend(self, key: str, number: int, to: str, *, expires_at: int, deadline_ms: int) -> bool:
        """Let a piece live longer, under the key `to`; False when it is gone."""
        ...

    def delete(self, key: str, number: int, *, deadline_ms: int) -> None:
        """Remove a piece."""
        ...

    def where(self, key: str) -> str:
        """Name what lies under a key."""
        ...

    def close(self) -> None:
        """Let go of connections of its own."""
        ...
