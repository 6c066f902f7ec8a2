r"""A price book with a signature in front, so that a bucket's contents can be trusted.

Shape:
    {"hmac_sha256":"…64 hex digits…"}\n     over every byte behind this line
    {"version":7,"sources":[…
"""

from __future__ import annotations

import hmac

KEY_BYTES_MIN = 16

_HEAD = b'{"hmac_sha256":"%s"}\n'


def sign(book: bytes, key: bytes) -> bytes:
    """Return a book with its signature in front.

    Raises:
        ValueError: The key is too short to be one.
    """
    if len(key) < KEY_BYTES_MIN:
        message = f"the key has {len(key)} bytes; it needs {KEY_BYTES_MIN} at least"
        raise ValueError(message)
    return _HEAD % hmac.new(key, book, "sha256").hexdigest().encode() + book


def verified(signed: bytes, key: bytes) -> bytes:
    """Return a signed book without its signature.

    Raises:
        ValueError: It was signed with another key, or not at all.
    """
    head, newline, book = signed.partition(b"\n")
    expected = sign(book, key)[: -len(book) or None]
    if not hmac.compare_digest(head + newline, expected):
        message = "its signature is not of this key"
        raise ValueError(message)
    return book
