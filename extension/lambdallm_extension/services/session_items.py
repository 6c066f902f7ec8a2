"""The stored form of a session: what its items hold, and the actions that write its turns.

Shapes (attributes beside the keys of `domain.keys` and `expires_at`, epoch seconds):
    HEAD      {"schema": 1, "exchanges": 17, "first_exchange": 1, "rewrites": 483920117,
               "metadata": "{…}", "metadata_writes": 3 (absent: 0),
               "at": epoch ms of the newest message that has moved its expiry}
    EXCHANGE  {"schema": 1, "number": 17, "turns": 2, "answered": true, "writer": "nonce"}
    TURN      {"schema": 1, "role": "user", "content": "JSON", "metadata": "JSON", "at": epoch ms,
               "exchange": "identity of the event", "void": true where nothing stands any more,
               "tokens": 9, "prompt_tokens": 14, "prompt_messages": 1, "pinned": true if known,
               "calls": ["id of a model call", …] that led to it}

Content and metadata are JSON texts, because stores round numbers and users' floats must not be.
The head's expiry rules. Turns live up to twice as long, so that a head renewed by one write need
not rewrite them; when it has expired, `first_exchange` moves behind them.

`rewrites` lets a reader trust turns that it has read before. It starts at a number that no other
life of the session has, and each write that changes turns which somebody may have seen as answered
adds one, in its own transaction. A session without it was begun by a writer that does not count.
"""

from __future__ import annotations

import hashlib

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import fixed_turns, keys
from lambdallm_extension.domain.memory import StoredTurn
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.services import hidden_sessions
from lambdallm_wire import names, plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Literal

    from lambdallm_extension.ports import Action, Value
    from lambdallm_wire.sessions import Turn


_COUNTS: tuple[Literal["tokens", "prompt_tokens", "prompt_messages"], ...] = (
    "tokens",
    "prompt_tokens",
    "prompt_messages",
)
"""What is known of a turn's length, where it is."""


class Exchange(NamedTuple):
    """An exchange as it stands in the store. `writer` is the nonce of who wrote it last."""

    number: int
    turns: int
    writer: str
    answered: bool


class Head(NamedTuple):
    """A session's head as a reader takes it.

    Attributes:
        stored_exchanges: The counter that the next writer must find; None: there is no item.
        next_exchange: Number of the exchange that is opened next.
        first_exchange: Exchanges below it are expired or cleared.
        version: Exchanges ever opened in the living session; 0 when there is none.
        stale: An exchange of our own identity that has expired or was cleared; it is replaced.
        rewrites: How often answered exchanges were written anew, from a number that only this life
            of the session has; None where nobody counts.
        fixed: Exchange and place of the turns that stay in every window.
        metadata_writes: How often the metadata was written.
        at: Epoch milliseconds of the message that its expiry counts from.
        expires_at: Epoch seconds.
    """

    stored_exchanges: int | None
    next_exchange: int
    first_exchange: int
    version: int
    metadata: dict[str, object]
    stale: Exchange | None = None
    rewrites: int | None = None
    fixed: tuple[tuple[int, int], ...] = ()
    metadata_writes: int = 0
    at: int = 0
    expires_at: int | None = None

    def holds(self, exchange: Exchange, expires_at: int | None, *, now: int) -> bool:
        """Say whether an exchange belongs to the living session."""
        expired = expires_at is not None and expires_at <= now
        return self.version > 0 and exchange.number >= self.first_exchange and not expired


def read_head(item: Item | None, *, now: int, last_exchange: int) -> Head:
    """Read a head; an expired one hides everything before it.

    Args:
        item: As it came from the store.
        now: Epoch seconds.
        last_exchange: The highest number seen in turns: it may outlive a deleted head.
    """
    if item is None:
        following = last_exchange + 1
        return Head(None, following, following, 0, {})
    check_schema(item)
    exchanges = _integer(item, "exchanges")
    if exchanges > keys.EXCHANGE_MAX:
        raise _damaged(item, "exchanges")
    following = max(exchanges, last_exchange) + 1
    writes = _integer(item, "metadata_writes", 0)
    if item.expires_at is not None and item.expires_at <= now:
        return Head(exchanges, following, following, 0, {}, metadata_writes=writes)
    first = _integer(item, "first_exchange", 1)
    metadata = _from_json(item, "metadata", "{}")
    if not 1 <= first <= following or not isinstance(metadata, dict):
        raise _damaged(item, "first_exchange" if isinstance(metadata, dict) else "metadata")
    rewrites = None if "rewrites" not in item.attributes else _integer(item, "rewrites")
    fixed = fixed_turns.named(item.attributes, first)
    return Head(
        exchanges,
        following,
        first,
        exchanges,
        metadata,
        rewrites=rewrites,
        fixed=fixed,
        metadata_writes=writes,
        at=_integer(item, "at", 0),
        expires_at=item.expires_at,
    )


def count_of(item: Item | None) -> int:
    """Return how many exchanges a head has counted, 0 where there is none."""
    return 0 if item is None else _integer(item, "exchanges")


def read_turn(item: Item) -> StoredTurn:
    """Read a turn.

    Raises:
        StoreRefusedError: It is not one that `turn_puts` wrote.
    """
    check_schema(item)
    try:
        exchange, place = keys.parse_turn_sk(item.key.sk)
    except ValueError:
        raise _damaged(item, "sk") from None
    metadata = _from_json(item, "metadata", "{}")
    if not isinstance(metadata, dict):
        raise _damaged(item, "metadata")
    turn: Turn = {
        "role": _text(item, "role"),
        "content": _from_json(item, "content"),
        "metadata": metadata,
        "at_epoch_ms": _integer(item, "at"),
    }
    for name in _COUNTS:
        if name in item.attributes:
            turn[name] = _integer(item, name)
    if item.attributes.get("pinned") is True:
        turn["pinned"] = True
    return StoredTurn(exchange, place, _text(item, "exchange"), turn)


def is_void(item: Item) -> bool:
    """Say whether the turn was replaced by an answer with fewer turns."""
    return item.attributes.get("void") is True


def read_exchange(item: Item) -> Exchange:
    """Read an exchange."""
    check_schema(item)
    return Exchange(
        _integer(item, "number"),
        _integer(item, "turns"),
        _text(item, "writer"),
        item.attributes.get("answered") is True,
    )


def exchange_item(key: Key, exchange: Exchange, *, expires_at: int) -> Item:
    """Make an exchange's item."""
    attributes: dict[str, Value] = {
        "schema": names.ITEM_SCHEMA_VERSION,
        "number": exchange.number,
        "turns": exchange.turns,
        "answered": exchange.answered,
        "writer": exchange.writer,
    }
    return Item(key, attributes, expires_at)


def birth(nonce: str, identity: str) -> int:
    """Return what one life of a session counts its rewrites from: no other one begins there."""
    return int(token("birth", nonce, identity)[:12], 16)


def turn_puts(
    pk: str,
    exchange: int,
    identity: str,
    turns: Sequence[Turn],
    *,
    first: int,
    expires_at: int,
) -> list[Put]:
    """Write turns from index `first` on."""
    puts: list[Put] = []
    for index, turn in enumerate(turns, start=first):
        attributes: dict[str, Value] = {
            "schema": names.ITEM_SCHEMA_VERSION,
            "role": turn["role"],
            "content": to_json(turn["content"]),
            "at": turn["at_epoch_ms"],
            "exchange": identity,
        }
        if turn.get("metadata"):
            attributes["metadata"] = to_json(turn["metadata"])
        calls = calls_of(turn)
        if calls:
            attributes["calls"] = calls
        attributes |= {name: turn[name] for name in _COUNTS if turn.get(name)}
        if turn.get("pinned"):
            attributes["pinned"] = True
        puts.append(Put(Item(_turn_key(pk, exchange, index), attributes, expires_at)))
    return puts


def calls_of(turn: Turn) -> list[str]:
    """Return the ids of the model calls that led to a turn, its own last."""
    own = turn.get("call_id")
    return [*turn.get("other_call_ids", ()), *([own] if own else ())]


def void_puts(
    pk: str, exchange: int, identity: str, places: Iterable[int], *, expires_at: int
) -> list[Action]:
    """Blank turns out: readers skip them."""
    attributes: dict[str, Value] = {
        "schema": names.ITEM_SCHEMA_VERSION,
        "role": "assistant",
        "content": '""',
        "at": 0,
        "exchange": identity,
        "void": True,
    }
    return [Put(Item(_turn_key(pk, exchange, place), attributes, expires_at)) for place in places]


def token(*parts: object) -> str:
    """Name a transaction: the same parts, the same 32 hex digits."""
    text = "\0".join(map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def check_schema(item: Item) -> None:
    """Refuse an item that a newer version wrote, or somebody else, rather than misread it.

    Raises:
        StoreUnavailableError: Its session is being moved.
        StoreRefusedError: It is newer than this reader, or damaged.
    """
    if hidden_sessions.is_sealed(item):
        message = (
            "The session is being given to another owner. Nothing was read or written; try again. "
            "If it lasts, `lambdallm sessions move` was interrupted: the same command ends it."
        )
        raise errors.StoreUnavailableError(message)
    schema = item.attributes.get("schema")
    if type(schema) is not int or schema < 1:
        raise _damaged(item, "schema")
    if schema > names.ITEM_SCHEMA_VERSION:
        message = (
            f"Item {item.key.pk.split('#')[0]}/{item.key.sk} has schema {schema!r}; this sidecar "
            f"reads up to {names.ITEM_SCHEMA_VERSION}. Update the layer of this function."
        )
        raise errors.StoreRefusedError(message)


def _turn_key(pk: str, exchange: int, index: int) -> Key:
    try:
        return Key(pk, keys.turn_sk(exchange, index))
    except ValueError:
        message = (
            f"One event keeps at most {keys.TURNS_PER_EXCHANGE_MAX:,} messages in its session, and "
            f"a session {keys.EXCHANGE_MAX:,} events; this is message {index + 1:,} of event "
            f"{exchange:,}. Give parts of the work sessions of their own."
        )
        raise errors.StoreRefusedError(message) from None


def _integer(item: Item, name: str, otherwise: int | None = None) -> int:
    value = item.attributes.get(name, otherwise)
    if type(value) is int:  # a Boolean is none
        return value
    raise _damaged(item, name)


def _text(item: Item, name: str, otherwise: str | None = None) -> str:
    value = item.attributes.get(name, otherwise)
    if type(value) is str:
        return value
    raise _damaged(item, name)


def _from_json(item: Item, name: str, otherwise: str | None = None) -> Any:
    """Read what `to_json` wrote."""
    text = _text(item, name, otherwise)
    if text == "{}":
        return {}
    try:
        return plain_json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(item, name) from None


def _damaged(item: Item, name: str) -> errors.StoreRefusedError:
    """Say which item is in the way of its session, and what ends that; never what was said."""
    value = item.attributes.get(name)
    if name == "sk":
        found = "no turn's"
    elif name not in item.attributes:
        found = "missing"
    elif type(value) is int:
        found = f"{value!s:.40}"
    else:
        found = f"a wrong {type(value).__name__}"
    return errors.StoreRefusedError(
        f"The item pk={item.key.pk!r} sk={item.key.sk!r} is not one that lambdallm has written, or "
        f"was changed: its {name!r} is {found}. Mend or delete it; until then its session cannot "
        "be read."
    )


def to_json(value: object) -> str:
    """Write content or metadata as it is stored."""
    text = plain_json.dumps(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, cut from an emoji: only escapes can hold it
        return plain_json.dumps(value, ensure_ascii=True)
    return text
