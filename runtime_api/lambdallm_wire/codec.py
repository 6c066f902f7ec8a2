"""Messages as bytes: compact UTF-8 JSON objects."""

from __future__ import annotations

from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Message = dict[str, Any]


class CodecError(ValueError):
    """The bytes are not a JSON object."""


def encode(message: Any) -> bytes:
    """Encode a message (a TypedDict of this package) as UTF-8 JSON without spaces."""
    return plain_json.dumps(message, allow_nan=False).encode("utf-8", "surrogatepass")


def encode_lines(messages: Iterable[Any]) -> bytes:
    """Encode messages as `encode` does, each with a line break behind it."""
    lines = ""
    for message in messages:
        lines += plain_json.dumps(message, allow_nan=False) + "\n"
    return lines.encode("utf-8", "surrogatepass")


def decode(data: bytes) -> Message:
    """Decode one message.

    Raises:
        CodecError: The bytes are not UTF-8, not JSON, or not an object.
    """
    try:
        message = plain_json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        reason = f"The message is not JSON: {error}"
        raise CodecError(reason) from error
    if not isinstance(message, dict):
        reason = f"The message is a JSON {type(message).__name__}, not an object."
        raise CodecError(reason)
    return message
