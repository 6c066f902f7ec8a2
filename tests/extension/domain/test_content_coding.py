"""What is packed comes out as it went in, however it is cut, and never more than was asked for."""

import gzip
import zlib

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain.content_coding import (
    PIECE_BYTES,
    CodingError,
    Inflater,
    inflate,
    without_coding,
)

ROOM = 10_000_000


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


PACKERS = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "members": ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    "padded": ("gzip", lambda body: gzip.compress(body) + b"\0" * 20),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
}


@pytest.mark.parametrize("packer", PACKERS)
@given(body=st.binary(max_size=400), size=st.integers(1, 60), room=st.integers(1, 50))
def test_it_comes_out_as_it_went_in(packer: str, body: bytes, size: int, room: int) -> None:
    coding, pack = PACKERS[packer]
    packed = pack(body)
    inflater = Inflater(coding)
    pieces = []
    for at in range(0, len(packed), size):
        inflater.feed(packed[at : at + size])
        while piece := inflater.take(room):
            pieces.append(piece)
    inflater.end()

    assert b"".join(pieces) == body == inflate(coding, packed, ROOM)
    assert max(map(len, pieces), default=0) <= room


def test_what_was_flushed_comes_out_at_once() -> None:
    packer = zlib.compressobj(wbits=31)
    inflater = Inflater("gzip")
    for text in (b"data: 1\n\n", b"data: 2\n\n"):
        inflater.feed(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH))
        assert (inflater.take(), inflater.take()) == (text, b"")


def test_64_kilobytes_that_hold_64_megabytes_come_out_in_pieces() -> None:
    inflater = Inflater("gzip")
    inflater.feed(gzip.compress(b"\0" * 64_000_000))
    sizes = []
    while piece := inflater.take():
        sizes.append(len(piece))
    inflater.end()

    assert (sum(sizes), max(sizes)) == (64_000_000, PIECE_BYTES)
    with pytest.raises(CodingError, match="longer than 1,000 bytes"):
        inflate("gzip", gzip.compress(b"\0" * 1_001), 1_000)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@given(body=st.binary(min_size=1, max_size=200), cut=st.integers(1, 300))
def test_what_is_cut_is_an_error(coding: str, body: bytes, cut: int) -> None:
    packed = PACKERS[coding][1](body)
    with pytest.raises(CodingError):
        inflate(coding, packed[: -1 - cut % (len(packed) - 1)], ROOM)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip", "zstd"])
def test_what_is_damaged_or_in_another_coding_is_an_error(coding: str) -> None:
    with pytest.raises(CodingError):
        inflate(coding, b"\xff" * 40, ROOM)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_no_bytes_are_no_bytes(coding: str) -> None:
    inflater = Inflater(coding)
    assert inflater.take() == b""
    inflater.end()


def test_headers_say_nothing_of_a_coding_that_is_undone() -> None:
    headers = [("content-type", "a"), ("content-encoding", "gzip"), ("content-length", "9")]
    assert without_coding(headers) == [("content-type", "a")]
