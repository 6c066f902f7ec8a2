"""Large texts as objects of a bucket, below a prefix that says when S3 deletes them."""

from __future__ import annotations

from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.aws.s3 import Bucket
    from lambdallm_extension.domain.overhead import Overhead

KEPT_CLASS = "keep"
"""For what lives longer, or for ever: no rule deletes it."""

DAY_SECONDS = 86_400


def expiry_class(seconds: int | None) -> str:
    """Return the class of objects that have to live so long."""
    if seconds is not None:
        for days in names.PAYLOAD_CLASSES_DAYS:
            if seconds <= days * DAY_SECONDS:
                return f"d{days}"
    return KEPT_CLASS


class BucketPlace:
    """Texts as objects of one bucket, each in one piece."""

    name = "s3"

    def __init__(self, bucket: Bucket, overhead: Overhead) -> None:
        self._bucket = bucket
        self._overhead = overhead

    def key(self, name: str, *, seconds: int | None) -> str:
        """Return the key, with the class that deletes it."""
        return f"{expiry_class(seconds)}/{name.rpartition('/')[2]}"

    def split(self, content: bytes, *, is_text: bool) -> list[bytes]:
        """An object takes all of it."""
        del is_text
        return [content]

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
        """Put the object."""
        del number, is_text, expires_at
        self._overhead.object_written()
        self._bucket.put(key, piece, deadline_ms=deadline_ms)

    def read(self, key: str, number: int, *, is_text: bool, deadline_ms: int) -> bytes | None:
        """Get the object."""
        del number, is_text
        self._overhead.object_read()
        return self._bucket.get(key, deadline_ms=deadline_ms)

    def extend(self, key: str, number: int, to: str, *, expires_at: int, deadline_ms: int) -> bool:
        """Copy the object: its class counts from then."""
        del number, expires_at
        self._overhead.object_written()
        return self._bucket.copy(key, to, deadline_ms=deadline_ms)

    def delete(self, key: str, number: int, *, deadline_ms: int) -> None:
        """Delete the object."""
        del number
        self._bucket.delete(key, deadline_ms=deadline_ms)

    def where(self, key: str) -> str:
        """Name the object."""
        return self._bucket.where(key)

    def close(self) -> None:
        """Close the bucket's connections."""
        self._bucket.close()
