"""Which texts of a write are too large for their item, or for their transaction. No I/O.

In dollars a text in S3 is the cheaper one from a few KB on: a PUT costs as much as a transaction
over 4 KB in DynamoDB (8 write units); with twenty reads, 7 KB. In time S3 is the dearer one by tens
of milliseconds for each write and each read, so texts go there only from 32 KiB on, where DynamoDB
costs eight times as much ($40 a million); a window of 32 turns then is about one page of a query.
Where there is no S3, texts are cut into items, which is worth it only for what no item can hold.

Source: prices of us-east-1 on demand, 2026-11: PUT $5 and GET $0.40 a million; $0.625 a million
write units, a transaction two for each KB; $0.125 a million read units of 4 KB.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_extension.ports import Item

S3_THRESHOLD_BYTES = 32_768
TABLE_THRESHOLD_BYTES = 262_144

SMALL_BYTES = 4_096
"""Texts below it stay where they are, in any case: a ticket is half a KB itself."""

COMPRESSED_FROM_BYTES = 1_024

ITEM_ROOM_BYTES = 380_000
"""Of 409,600, which are counted with names, numbers and keys. Source: as `stores.rules`."""

TRANSACTION_ROOM_BYTES = 3_500_000
"""Of 4 MB. Source: DynamoDB API reference, `TransactWriteItems`, 2026-11."""

ROOM_MAX_BYTES = 28 * 1024 * 1024
"""Of texts in one read: a window goes to its handler in one reply of 32 MiB."""

ROOM_PART = 16
"""So much of a function's memory may one read bring: it is there several times over on its way
to the handler, as it came, as text, as JSON and as the handler's own."""

_CHARACTER_MAX_BYTES = 4


class Candidate(NamedTuple):
    """A text that may lie elsewhere.

    Attributes:
        place: Of its item in the write.
        name: Of its attribute.
        content: In UTF-8.
        compressed: The same, compressed; None where that is off, or saves nothing.
    """

    place: int
    name: str
    content: bytes
    compressed: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes within its item."""
        if self.compressed is None:
            return len(self.content)
        return len(self.compressed) * 4 // 3 + SMALL_BYTES // 8


def room_bytes(memory_mb: int | None) -> int:
    """Return how many bytes of texts one read may bring, given a function's memory."""
    if memory_mb is None:
        return ROOM_MAX_BYTES
    return min(ROOM_MAX_BYTES, memory_mb * 1024 * 1024 // ROOM_PART)


def candidates_of(items: Sequence[Item | None], smallest: int) -> list[Candidate]:
    """Return the larger texts of a write.

    The head of a session is left alone: each exchange extends it, in a transaction.
    """
    found = []
    for index, item in enumerate(items):
        if item is None or item.key.sk == keys.HEAD:
            continue
        for name, value in item.attributes.items():
            if isinstance(value, str) and len(value) * _CHARACTER_MAX_BYTES >= smallest:
                try:
                    content = value.encode()
                except UnicodeEncodeError:  # half a character: the store refuses it, with words
                    continue
                if len(content) >= smallest:
                    found.append(Candidate(index, name, content))
    return found


def choose(
    candidates: Sequence[Candidate], sizes: Sequence[int], threshold: int
) -> list[Candidate]:
    """Return those that have to lie elsewhere, the same ones each time.

    Args:
        candidates: All larger texts of the write.
        sizes: Of each item, with all of its texts; in bytes, roughly.
        threshold: Texts above it never stay.
    """
    left = [*sizes]
    total = sum(sizes)
    chosen = []
    for candidate in sorted(candidates, key=lambda each: (-each.size, each.place, each.name)):
        if (
            candidate.size > threshold
            or left[candidate.place] > ITEM_ROOM_BYTES
            or total > TRANSACTION_ROOM_BYTES
        ):
            if candidate.size < SMALL_BYTES:
                continue
            chosen.append(candidate)
            left[candidate.place] -= candidate.size
            total -= candidate.size
    return chosen
