"""A conversation that is known as a list of messages, as the items that its events would have left.

Shape of such a record: as in `session_archive`, with these in place of `items`:
    {"messages": [{"role": "user", "content": "…", "metadata": {}, "at_epoch_ms": …}, …],
     "metadata": {}}

An exchange begins with each question behind an answer.
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.domain import fixed_turns, keys, memory
from lambdallm_extension.ports import Item, Key
from lambdallm_extension.services import session_items
from lambdallm_wire import names, plain_json, turns as wire_turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lambdallm_extension.ports import Value
    from lambdallm_wire.sessions import Turn

MOMENT_MAX = 253_402_300_799
"""Epoch seconds of the last second of the year 9999: what is later is no time of anything."""

RESERVED = ("pk", "sk", "expires_at", "put_id")
"""Names that stores keep beside an item's attributes (`stores.rules`)."""

SK_MAX_BYTES = 1_024
NUMBER_MAX = 10**38 - 1
DEPTH_MAX = 32
"""Of what every store keeps. Source: DynamoDB developer guide, "Constraints", 2026-11."""

WRITER = "import"
"""Nobody's nonce: no event goes on with an exchange that was put in."""


def items_of(pk: str, record: Mapping[str, Any], *, now: int) -> list[Item]:
    """Return the items of a session, its head first.

    Args:
        pk: The session's partition.
        record: With `messages`, `metadata` and `expires_at`.
        now: Epoch seconds.

    Raises:
        InvalidRequestError: A message is none, or there is none.
    """
    messages = record["messages"]
    listed = messages if isinstance(messages, list) else []
    said = [_turn(number, each) for number, each in enumerate(listed)]
    metadata: Any = record.get("metadata", {})
    expires_at: Any = record.get("expires_at")
    if not said or not isinstance(metadata, dict) or not is_moment(expires_at):
        reason = "A session has messages, metadata that is an object, and an expiry in seconds."
        raise errors.InvalidRequestError(reason)
    exchanges = _cut(said)
    outlives = 2 * expires_at - now
    fixed: dict[str, Value] = {}
    items: list[Item] = []
    for number, turns in enumerate(exchanges, start=1):
        identity = f"{WRITER}-{number}"
        exchange = session_items.Exchange(number, len(turns), WRITER, memory.is_answered(turns))
        key = Key(pk, keys.exchange_sk(identity))
        items.append(session_items.exchange_item(key, exchange, expires_at=outlives))
        puts = session_items.turn_puts(pk, number, identity, turns, first=0, expires_at=outlives)
        items += [put.item for put in puts]
        fixed |= fixed_turns.assignment(number, turns, first=0)
    head: dict[str, Value] = {
        "schema": names.ITEM_SCHEMA_VERSION,
        "exchanges": len(exchanges),
        "first_exchange": 1,
        "metadata": plain_json.dumps(metadata, ensure_ascii=True),
        "at": said[-1]["at_epoch_ms"],
        **fixed,
    }
    return [Item(Key(pk, keys.HEAD), head, expires_at), *items]


def _cut(said: Sequence[Turn]) -> list[list[Turn]]:
    exchanges: list[list[Turn]] = [[]]
    for turn in said:
        full = len(exchanges[-1]) >= keys.TURNS_PER_EXCHANGE_MAX
        if full or (memory.is_answered(exchanges[-1]) and turn["role"] != "assistant"):
            exchanges.append([])
        exchanges[-1].append(turn)
    return exchanges


def is_moment(value: Any, last: int = MOMENT_MAX) -> bool:
    """Say whether it is a time that something can expire at, or be said: whole, up to `last`."""
    return type(value) is int and 0 <= value <= last


def is_kept_by_stores(sk: str, attributes: Mapping[str, Any]) -> bool:
    """Say whether a store takes an item: known before anything makes way for it."""
    if not all(attributes) or attributes.keys() & {*RESERVED} or not _is_kept(attributes, 0):
        return False
    return bool(sk) and _is_whole(sk) and len(sk.encode()) <= SK_MAX_BYTES


def _is_kept(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return value.isascii() or _is_whole(value)
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -NUMBER_MAX <= value <= NUMBER_MAX
    if depth > DEPTH_MAX or not isinstance(value, (list, dict)):
        return False
    parts = [*value, *value.values()] if isinstance(value, dict) else value
    return all(_is_kept(part, depth + 1) for part in parts)


def _is_whole(text: str) -> bool:
    """Say whether it has no half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _turn(number: int, message: Any) -> Turn:
    fields = message if isinstance(message, dict) else {}
    turn: Turn = {
        "role": fields.get("role", ""),
        "content": fields.get("content"),
        "metadata": fields.get("metadata") or {},
        "at_epoch_ms": fields.get("at_epoch_ms", 0),
    }
    fault = wire_turns.fault_of(turn)
    timed = is_moment(turn["at_epoch_ms"], 1_000 * MOMENT_MAX)
    if not timed or not isinstance(turn["metadata"], dict):
        fault = "Its time is epoch milliseconds, and its metadata an object."
    if fault is not None:
        reason = f"Message {number}: {fault}"
        raise errors.InvalidRequestError(reason)
    return turn
