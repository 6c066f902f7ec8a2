"""Receipts: which exchange an answer told of, so that the next reader is shown nothing older.

Shape, as a header or in a body:
    x-lambdallm-exchange: 8f14e45f-ceea;version=17;until=1790000003000;session=1c291ca3

The exchange's identity, percent-quoted; the session's version that its event saw (0: it did not
look); when its event is over, in epoch milliseconds; a mark of its session, by which another
session's is refused at once. It is no secret and no proof: who makes one up waits in vain.
"""

from __future__ import annotations

from lambdallm import _errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_wire.sessions import Receipt

HEADER = "x-lambdallm-exchange"

LENGTH_MAX = 2_048
"""Of an identity of 512 bytes, all of them quoted, two numbers and a mark."""

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/")
_DIGITS_MAX = 15
_MARK_DIGITS, _HEX = 8, frozenset("0123456789abcdef")


def encode(
    identity: str, version: int, until_epoch_ms: int, *, session_id: str, principal: str = ""
) -> str:
    """Write a receipt as text."""
    from lambdallm_wire import receipts

    mark = receipts.session_mark(session_id, principal)
    quoted = "".join(
        [each if each in _PLAIN else "".join([f"%{byte:02X}" for byte in each.encode()])
         for each in identity]
    )  # fmt: skip
    return f"{quoted};version={version};until={until_epoch_ms};session={mark}"


def decode(text: object) -> Receipt:
    """Read one.

    Raises:
        InvalidRequestError: It is none.
    """
    if not isinstance(text, str) or not text or len(text) > LENGTH_MAX:
        raise _wrong()
    quoted, *fields = text.split(";")
    values = dict(field.strip().partition("=")[::2] for field in fields)
    numbers = [values.get(name, "") for name in ("version", "until")]
    if not all(
        number.isascii() and number.isdigit() and len(number) <= _DIGITS_MAX for number in numbers
    ):
        raise _wrong()
    version, until_epoch_ms = map(int, numbers)
    receipt: Receipt = {
        "identity": _unquote(quoted),
        "version": version,
        "until_epoch_ms": until_epoch_ms,
    }
    mark = values.get("session")
    if mark is not None:
        if len(mark) != _MARK_DIGITS or not set(mark) <= _HEX:
            raise _wrong()
        receipt["session"] = mark
    return receipt


def _unquote(quoted: str) -> str:
    plain, *parts = quoted.split("%")
    found = plain.encode()
    try:
        for part in parts:
            found += bytes.fromhex(part[:2]) + part[2:].encode()
        identity = found.decode()
    except ValueError:
        raise _wrong() from None
    if not identity or not identity.isprintable():
        raise _wrong()
    return identity


def _wrong() -> _errors.InvalidRequestError:
    return _errors.InvalidRequestError(
        f"What {HEADER} says is not what an answer said there: send it back as it came, or leave "
        "it out."
    )
