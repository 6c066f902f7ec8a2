"""Vectors as they are stored, and how near they are to each other.

A number is kept as one of 255 steps of its vector's largest: 1,024 of them are 1.4 KB of Base64 in
place of 20 KB of decimals, and the order of the nearest stays the same but for near ties.
"""

from __future__ import annotations

import math
from binascii import Error as Base64Error, a2b_base64, b2a_base64
from operator import mul

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEP_MAX = 127

NEAR_MIN = 0.0
"""Of the cosine: what points away from the question is not worth its tokens."""


class StoredVector(NamedTuple):
    """The vector of one exchange. `steps` is its numbers, a signed byte each."""

    steps: bytes
    model: str


def quantize(vector: Sequence[float]) -> bytes:
    """Return a vector's numbers as signed bytes; its length is lost, which cosines do not need.

    Raises:
        ValueError: It is empty, nothing but zeros, or holds what is no number.
    """
    largest = max(map(abs, vector), default=0.0)
    if not (0 < largest < math.inf):
        raise ValueError("A vector without a direction cannot be compared.")
    return bytes(round(STEP_MAX * number / largest) & 0xFF for number in vector)


def to_text(steps: bytes) -> str:
    """Return the stored form."""
    return b2a_base64(steps, newline=False).decode()


def from_text(text: str) -> bytes:
    """Read the stored form.

    Raises:
        ValueError: It is none.
    """
    try:
        return a2b_base64(text)
    except Base64Error as error:
        raise ValueError(str(error)) from None


def nearest(query: bytes, stored: Mapping[int, bytes], most: int) -> list[int]:
    """Return the keys of the vectors that are nearest to a query, at most so many, nearest first.

    Vectors of another length are of another model, and passed over.
    """
    asked = _numbers(query)
    asked_length = sum(map(mul, asked, asked))
    found = []
    for key, steps in stored.items():
        if len(steps) == len(query):
            numbers = _numbers(steps)
            length = math.sqrt(sum(map(mul, numbers, numbers)) * asked_length)
            cosine = sum(map(mul, asked, numbers)) / length if length else 0.0
            if cosine > NEAR_MIN:
                found.append((cosine, key))
    return [key for _, key in sorted(found, reverse=True)[:most]]


def _numbers(steps: bytes) -> memoryview:
    return memoryview(steps).cast("b")
