"""What a message of a session may be, and its metadata, for both sides of the wire.

Said before it is stored, because whoever reads the session later meets it in every event. Apart
from the messages, whose types cost a cold start milliseconds.
"""

from __future__ import annotations

from lambdallm_wire import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

TURN_MAX_BYTES = 4_000_000
"""Of a turn's content and metadata as JSON. Stores take more; but it is read by every later event,
in a function whose response has 6 MB at most, for a model that takes about as much.

Source: Lambda developer guide, "Quotas", 2026-10.
"""

METADATA_MAX_BYTES = 350_000
"""Of a session's metadata as JSON, which stands in one item with the session's counts.

Source: DynamoDB developer guide, "Constraints" (400 KB an item), 2026-11.
"""

_BYTES_MAX_A_CHARACTER = 6
"""In JSON, for a control character."""

ROLES = ("user", "assistant", "system")
"""A tool's result is a block of a user's message."""

_KINDS = {
    "bool": "a boolean",
    "dict": "an object",
    "float": "a number",
    "int": "a number",
    "list": "an array",
    "NoneType": "null",
    "str": "a text",
    "tuple": "an array",
}


def fault_of(turn: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a turn in words for whoever wrote it, None when nothing is.

    Args:
        turn: `lambdallm_wire.sessions.Turn`; its time is not looked at.
    """
    role, content, metadata = turn["role"], turn["content"], turn.get("metadata")
    if role not in ROLES:
        return f"The role of a message is 'user', 'assistant' or 'system', not {role!r:.40}."
    fault = content_fault_of(content)
    if fault is not None:
        return fault
    characters_max = TURN_MAX_BYTES // _BYTES_MAX_A_CHARACTER
    if not metadata and isinstance(content, str) and len(content) < characters_max:
        return None
    try:
        size = len(codec.encode([content, metadata]))
    except (TypeError, ValueError, RecursionError) as error:
        return f"A message holds what JSON cannot: {error}. Bytes go as Base64 text."
    if size > TURN_MAX_BYTES:
        return (
            f"A message of {size:,} bytes cannot be kept in a session, which takes "
            f"{TURN_MAX_BYTES:,} at most: leave it where it is (S3, for example), and say in the "
            "message what it is about, or cut it."
        )
    return None


def metadata_fault_of(metadata: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a session's metadata, None when nothing is."""
    try:
        size = len(codec.encode(metadata))
    except (TypeError, ValueError, RecursionError) as error:
        return f"A session's metadata holds what JSON cannot: {error}."
    if size > METADATA_MAX_BYTES:
        return (
            f"Metadata of {size:,} bytes cannot be kept in a session, which takes "
            f"{METADATA_MAX_BYTES:,} at most: every event reads all of it. Leave what is large "
            "where it is, and keep its name."
        )
    return None


def content_fault_of(content: Any) -> str | None:
    """Return what is wrong with a message's content, None for text and for content blocks.

    A block has to be an object, and a text in it a string; the rest is the provider's to judge.
    """
    if isinstance(content, str):
        return None
    if not isinstance(content, (list, tuple)):
        return f"{_CONTENT} This one is {_kind(content)}."
    if not content:
        return f"{_CONTENT} This list is empty."
    return next((fault for fault in map(_block_fault_of, content) if fault), None)


def _block_fault_of(block: Any) -> str | None:
    if not isinstance(block, dict):
        return f"{_CONTENT} This list holds {_kind(block)}."
    if not block:
        return f"{_CONTENT} One of these blocks is empty."
    if not isinstance(block.get("text", ""), str):
        return f"{_CONTENT} The text of one of these blocks is {_kind(block['text'])}."
    return None


_CONTENT = 'The content of a message is a text, or a list of blocks such as {"text": "…"}.'


def _kind(value: Any) -> str:
    names = [kind.__name__ for kind in type(value).__mro__]
    return next((_KINDS[name] for name in names if name in _KINDS), f"of the type {names[0]}")
