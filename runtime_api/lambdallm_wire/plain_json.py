"""JSON by the C module that `json` is written over, without what `json` loads beside it.

`json` compiles five regular expressions: with `re` and `enum` that is a tenth of the sidecar's
start. Whatever is not plain goes to `json` itself: text that is wrong, for its error, and bytes
that are not UTF-8.
"""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WHITESPACE = " \t\n\r"


class _Reading:
    """What `make_scanner` asks of a `json.JSONDecoder`: its defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(float)
    """NaN, Infinity and -Infinity, which `float` knows by these names."""


_scan = make_scanner(_Reading)  # type: ignore[arg-type]  # typeshed has its own class there


def loads(text: str | bytes) -> Any:
    """Return the value that a JSON text holds.

    Raises:
        ValueError: It is not JSON; a `json.JSONDecodeError` or a UnicodeDecodeError.
        RecursionError: It is nested too deeply.
    """
    try:
        plain = (text if isinstance(text, str) else text.decode()).strip(_WHITESPACE)
        value, end = _scan(plain, 0)
        if end == len(plain):
            return value
    except (StopIteration, UnicodeDecodeError, SystemError):
        # `json` says what is wrong with it. Until it is loaded, the C module of CPython 3.10 and
        # 3.11 lacks the error that it would raise, and the interpreter raises a SystemError.
        pass
    import json

    return json.loads(text)


def dumps(value: object, *, ensure_ascii: bool = False, allow_nan: bool = True) -> str:
    """Return a value as JSON without spaces.

    Args:
        value: None, bool, numbers, strings, lists, tuples and dicts of these.
        ensure_ascii: Escape what is not ASCII, lone surrogates included.
        allow_nan: Write floats that JSON does not have, as `json` does.

    Raises:
        TypeError: Something else is in it.
        ValueError: It holds itself, or a float that is not allowed.
    """
    key = ensure_ascii, allow_nan
    encode = _encoders.get(key)
    if encode is None:
        encode = _encoders[key] = _encoder(None, *key)
    try:
        return "".join(encode(value, 0))
    except RecursionError:  # too deep, or in a circle: the encoder that remembers where it is knows
        return "".join(_encoder({}, *key)(value, 0))


def dumps_whole(value: object, *, allow_nan: bool = True) -> str:
    """Do as `dumps`, and escape all that is not ASCII where UTF-8 cannot hold it otherwise.

    So half a character (a lone surrogate), as of a text that was cut, can be stored.
    """
    text = dumps(value, allow_nan=allow_nan)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return dumps(value, ensure_ascii=True, allow_nan=allow_nan)
    return text


def _encoder(within: dict[int, Any] | None, ensure_ascii: bool, allow_nan: bool) -> Any:
    write = encode_basestring_ascii if ensure_ascii else encode_basestring
    return make_encoder(within, _refuse, write, None, ":", ",", False, False, allow_nan)


def _refuse(value: object) -> None:
    message = f"Object of type {type(value).__name__} is not JSON serializable"
    raise TypeError(message)


_encoders: dict[tuple[bool, bool], Any] = {}
"""By `ensure_ascii` and `allow_nan`. They keep nothing of what they encode: threads share them."""
