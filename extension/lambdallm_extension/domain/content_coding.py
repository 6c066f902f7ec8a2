"""Content codings, undone as the bytes come: some servers and proxies use gzip unasked.

It is loaded when an answer is coded, because zlib is not for the cold path.
Source: RFC 9110, 8.4; RFC 1950 to 1952.
"""

from __future__ import annotations

import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

READABLE = ("gzip", "x-gzip", "deflate")

PIECE_BYTES = 262_144
"""Inflated at once: 64 KB that have come may be 64 MB."""

_FED_BYTES = 65_536
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_BEGINNING = b"\x1f\x8b"
_ZLIB_HEAD_BYTES = 2
_ZLIB_HEAD_DIVISOR = 31
_DEFLATE = 8
_OF_CODED_BYTES = ("content-encoding", "content-length")


class CodingError(ValueError):
    """A body is not in the coding that it says, or in one that is not read here."""


class Inflater:
    """Undoes one body's coding. After an error it is of no use.

    feed ──► take … take ──► b"", feed ──► … ──► end
    """

    def __init__(self, coding: str) -> None:
        """Take what `http1.content_coding` has returned."""
        self._coding = coding
        self._held = b""
        self._more = False  # where output filled a piece, more of it may be on its way
        self._begun = False
        self._whole = False
        self._zip = zlib.decompressobj(_GZIP) if coding in READABLE[:2] else None

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._held += data
        self._begun = True

    def take(self, bytes_max: int = PIECE_BYTES) -> bytes:
        """Return what comes next, nothing where more has to be fed for it.

        Raises:
            CodingError: It is damaged, or in a coding that is not read here.
        """
        while self._held or self._more:
            unzip = self._open()
            if unzip is None:
                return b""
            held, self._held = self._held, b""
            try:
                piece = unzip.decompress(held, bytes_max)
            except zlib.error as error:
                message = f"Its {self._coding} is damaged: {error}."
                raise CodingError(message) from None
            self._whole = unzip.eof
            self._held = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
            self._more = len(piece) == bytes_max and not unzip.eof
            if piece:
                return piece
        return b""

    def end(self) -> None:
        """Know that no more bytes come.

        Raises:
            CodingError: It is cut. A body of no bytes is whole.
        """
        if self._begun and not self._whole:
            message = f"Its {self._coding} is cut."
            raise CodingError(message)

    def _open(self) -> zlib._Decompress | None:
        """Return what reads on; None where nobody knows yet, or nothing is to be read."""
        if self._whole:  # gzip may go on with another member; whatever else follows is padding
            if self._coding != "deflate" and _GZIP_BEGINNING.startswith(self._held):
                return None
            if self._coding == "deflate" or not self._held.startswith(_GZIP_BEGINNING):
                self._held = b""
                return None
            self._zip, self._whole = zlib.decompressobj(_GZIP), False
        if self._zip is None:
            if self._coding != "deflate":
                message = f"It is coded as {self._coding[:40]!r}, which was not asked for."
                raise CodingError(message)
            if len(self._held) < _ZLIB_HEAD_BYTES:
                return None
            # Some servers leave the head of zlib out of what they call deflate.
            self._zip = zlib.decompressobj(zlib.MAX_WBITS if _is_zlib(self._held) else -15)
        return self._zip


def _is_zlib(held: bytes) -> bool:
    head = int.from_bytes(held[:_ZLIB_HEAD_BYTES], "big")
    return held[0] & 15 == _DEFLATE and head % _ZLIB_HEAD_DIVISOR == 0


def inflate(coding: str, body: bytes, bytes_max: int) -> bytes:
    """Return a whole body without its coding.

    Raises:
        CodingError: It is damaged, cut, in a coding that is not read, or longer than `bytes_max`.
    """
    inflater = Inflater(coding)
    pieces: list[bytes] = []
    size = 0
    for start in range(0, len(body), _FED_BYTES):  # what is not taken yet is copied each time
        inflater.feed(body[start : start + _FED_BYTES])
        while piece := inflater.take():
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                message = f"It is longer than {bytes_max:,} bytes, unpacked."
                raise CodingError(message)
    inflater.end()
    return b"".join(pieces)


def without_coding(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of a body whose coding is undone."""
    return [header for header in headers if header[0].lower() not in _OF_CODED_BYTES]
