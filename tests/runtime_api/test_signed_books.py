"""Signed books: what was signed comes back, and nothing else does."""

import hashlib
import hmac

import pytest
from hypothesis import given, strategies as st

from lambdallm_wire.signed_books import sign, verified

KEY = b"sixteen bytes or more"


@given(st.binary())
def test_what_was_signed_comes_back(book: bytes) -> None:
    assert verified(sign(book, KEY), KEY) == book


@given(st.binary(), st.integers(0, 10**6), st.integers(1, 255))
def test_one_changed_byte_is_noticed(book: bytes, place: int, by: int) -> None:
    signed = bytearray(sign(book, KEY))
    signed[place % len(signed)] ^= by

    with pytest.raises(ValueError, match="signature"):
        verified(bytes(signed), KEY)


@pytest.mark.parametrize("signed", [b"", b"\n", b'{"hmac_sha256":""}\n', b"{}\n{}", b"\xff" * 90])
def test_what_nobody_signed_is_refused(signed: bytes) -> None:
    with pytest.raises(ValueError, match="signature"):
        verified(signed, KEY)


def test_another_key_and_a_short_one_are_refused() -> None:
    with pytest.raises(ValueError, match="signature"):
        verified(sign(b"book", KEY), KEY + b"!")
    with pytest.raises(ValueError, match="needs 16"):
        sign(b"book", b"short")


def test_others_can_sign_too() -> None:
    digest = hmac.new(KEY, b"book", hashlib.sha256).hexdigest()

    assert sign(b"book", KEY) == b'{"hmac_sha256":"' + digest.encode() + b'"}\nbook'
