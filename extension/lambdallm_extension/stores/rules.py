"""DynamoDB's rules, for the stores that have to hold them themselves.

What fits into an item, when a condition holds, what an addition makes, and which transactions
are refused: the same everywhere, so that what works on a developer's machine works on AWS.
Source: DynamoDB Developer Guide, "Constraints" and "Expressions", 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from lambdallm_extension.errors import ConditionFailedError, StoreRefusedError
from lambdallm_extension.ports import Add, Check, Item, Key, Put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeGuard

    from lambdallm_extension.ports import Action, Condition, Value

RESERVED = ("pk", "sk", "expires_at", "put_id")
"""What stores keep beside the attributes of an item; an attribute cannot be called so."""

ITEM_MAX_BYTES = 409_600
DEPTH_MAX = 32
NUMBER_MAX = 10**38 - 1
PK_MAX_BYTES = 2_048
SK_MAX_BYTES = 1_024
ACTIONS_MAX = 100
TOKEN_MAX = 36

TOKEN_LIFETIME_MS = 600_000
"""How long a transaction that is sent again is known to be the same."""

GRACE_SECONDS = 172_800
"""Expired items are deleted after two days; DynamoDB deletes within a few."""

SWEEP_EVERY_MS = 3_600_000

_SURROGATES, _AFTER_SURROGATES, _LAST_CODE_POINT = 0xD800, 0xE000, 0x10FFFF


def check_key(key: Key) -> None:
    """Refuse an address that no table takes.

    Raises:
        StoreRefusedError: Too long, empty, or not text.
    """
    for name, value, limit in (("pk", key.pk, PK_MAX_BYTES), ("sk", key.sk, SK_MAX_BYTES)):
        if not 1 <= _text_bytes(value) <= limit:
            message = f"A {name} has 1 to {limit} bytes; {value[:40]!r} has {len(value)} letters."
            raise StoreRefusedError(message)


def check_prefix(pk: str, prefix: str) -> None:
    """Refuse a query that no table takes; an empty prefix is none.

    Raises:
        StoreRefusedError: As `check_key`.
    """
    check_key(Key(pk, prefix or "-"))


def check_scan(prefix: str, sk: str) -> None:
    """Refuse a scan for a sort key that nothing can have, or for everything there is.

    Raises:
        StoreRefusedError: As `check_key`.
    """
    check_key(Key(prefix, sk))


def check_deletion(key: Key, condition: Condition, item: Item | None) -> None:
    """Refuse a deletion whose condition does not hold of what stands there.

    Raises:
        ConditionFailedError: It does not.
        StoreRefusedError: As `check_key` and `check_condition`.
    """
    check_key(key)
    check_condition(condition)
    if not holds(condition, item):
        raise condition_failed([Check(key, condition)], [item], 0)


def check_names(names: Mapping[str, object]) -> None:
    """Refuse attribute names that the table keeps for itself.

    Raises:
        StoreRefusedError: One is reserved or empty.
    """
    for name in names:
        if not name or name in RESERVED:
            message = f"An attribute cannot be called {name!r}."
            raise StoreRefusedError(message)


def check_add(add: Add) -> None:
    """Refuse an addition that assigns what it adds to.

    Raises:
        StoreRefusedError: It does, or uses a reserved name.
    """
    check_key(add.key)
    check_names(add.add)
    check_names(add.assign)
    if add.add.keys() & add.assign.keys():
        message = f"Both added to and assigned: {sorted(add.add.keys() & add.assign.keys())}"
        raise StoreRefusedError(message)


def check_condition(condition: Condition) -> None:
    """Refuse a condition on a reserved name; expiry is for readers' clocks to judge.

    Raises:
        StoreRefusedError: It has one, or a value that cannot be stored.
    """
    check_names(condition.equals)
    check_names(condition.at_most)
    for value in (*condition.equals.values(), *condition.at_most.values()):
        copied(value)


def check_transaction(actions: Sequence[Action], token: str) -> None:
    """Refuse a transaction that no table takes.

    Raises:
        StoreRefusedError: Too many actions, two on one key, or not a token.
    """
    if not 1 <= len(actions) <= ACTIONS_MAX:
        message = f"A transaction has 1 to {ACTIONS_MAX} actions, not {len(actions)}."
        raise StoreRefusedError(message)
    if not 1 <= len(token) <= TOKEN_MAX:
        message = f"A transaction's token has 1 to {TOKEN_MAX} letters, not {len(token)}."
        raise StoreRefusedError(message)
    if len({key_of(action) for action in actions}) < len(actions):
        message = "Two actions of one transaction have the same key."
        raise StoreRefusedError(message)


def key_of(action: Action) -> Key:
    """Return the address that an action is about."""
    return action.item.key if isinstance(action, Put) else action.key


def checked_key(action: Action) -> Key:
    """Return the address that an action is about.

    Raises:
        StoreRefusedError: As `check_key`.
    """
    key = key_of(action)
    check_key(key)
    return key


def plain(item: Item) -> Item:
    """Return a copy of an item made of plain dicts and lists, or refuse it.

    Raises:
        StoreRefusedError: Something in it cannot be stored, or all of it is too large.
    """
    check_key(item.key)
    check_names(item.attributes)
    attributes = {name: copied(value) for name, value in item.attributes.items()}
    if size_of(item.key, attributes) > ITEM_MAX_BYTES:
        raise too_large(item.key)
    return Item(item.key, attributes, item.expires_at)


def size_of(key: Key, attributes: Mapping[str, Value]) -> int:
    """Count an item's bytes as DynamoDB does.

    Raises:
        StoreRefusedError: There is text in it that cannot be stored.
    """
    return _text_bytes(key.pk) + _text_bytes(key.sk) + len("pksk") + _size(attributes)


def too_large(key: Key) -> StoreRefusedError:
    """Make the error of an item that is over the limit."""
    where = f"{key.pk}/{key.sk}"
    return StoreRefusedError(f"The item {where[:200]} is larger than 400 KB, DynamoDB's limit.")


def copied(value: Value, depth: int = 1) -> Value:
    """Copy a value, tuples as lists.

    Raises:
        StoreRefusedError: Not a value that every store keeps exactly.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return checked_number(value)
    if depth > DEPTH_MAX:
        message = f"A stored value is nested at most {DEPTH_MAX} levels deep."
        raise StoreRefusedError(message)
    if isinstance(value, (list, tuple)):
        return [copied(part, depth + 1) for part in value]
    if isinstance(value, (dict, Mapping)):
        return {_name(name): copied(part, depth + 1) for name, part in value.items()}
    message = f"A {type(value).__name__} cannot be stored: {value!r:.80}"
    raise StoreRefusedError(message)


def checked_number(value: int) -> int:
    """Return a number that has at most 38 digits.

    Raises:
        StoreRefusedError: It has more.
    """
    if not -NUMBER_MAX <= value <= NUMBER_MAX:
        message = "A stored number has at most 38 digits."
        raise StoreRefusedError(message)
    return value


def holds(condition: Condition, item: Item | None) -> bool:
    """Whether a condition holds of what stands in the store."""
    if condition.absent is not None and condition.absent != (item is None):
        return False
    attributes = {} if item is None else item.attributes
    return all(
        name in attributes and same(attributes[name], value)
        for name, value in condition.equals.items()
    ) and all(
        is_number(value := attributes.get(name, 0)) and value <= limit
        for name, limit in condition.at_most.items()
    )


def changed(add: Add, item: Item | None) -> Item:
    """Return what an addition makes of an item, or of nothing.

    Raises:
        StoreRefusedError: An attribute to add to is no number, or the result is too large.
    """
    check_add(add)
    attributes = {} if item is None else dict(item.attributes)
    for name, amount in add.add.items():
        before = attributes.get(name, 0)
        if not is_number(before):
            message = f"{name!r} of {add.key.pk}/{add.key.sk} is no number to add to."
            raise StoreRefusedError(message)
        attributes[name] = checked_number(before + amount)
    attributes.update(add.assign)
    expires_at = add.expires_at
    if expires_at is None and item is not None:
        expires_at = item.expires_at
    return plain(Item(add.key, attributes, expires_at))


def decide(actions: Sequence[Action], current: Sequence[Item | None]) -> list[Item]:
    """Return the items to write so that all actions are done.

    Args:
        actions: On different keys.
        current: What stands under the key of each.

    Raises:
        ConditionFailedError: The conditions of some do not hold.
        StoreRefusedError: Some cannot be stored.
    """
    for action in actions:
        check_condition(action.condition)
    puts = {action.item.key: plain(action.item) for action in actions if isinstance(action, Put)}
    held = [holds(action.condition, item) for action, item in zip(actions, current, strict=True)]
    if not all(held):
        raise condition_failed(
            actions,
            [None if fine else item for fine, item in zip(held, current, strict=True)],
            held.index(False),
        )
    written = []
    for action, item in zip(actions, current, strict=True):
        if isinstance(action, Put):
            written.append(puts[action.item.key])
        elif isinstance(action, Add):
            written.append(changed(action, item))
    return written


def condition_failed(
    actions: Sequence[Action], current: Sequence[Item | None], first: int
) -> ConditionFailedError:
    """Make the error of actions whose conditions do not hold.

    Args:
        actions: All of them.
        current: What stands there where a condition failed.
        first: Index of the first that failed.
    """
    key = key_of(actions[first])
    where = f"{key.pk}/{key.sk}"
    message = f"{where[:200]} is not as the write expects it: nothing was written."
    return ConditionFailedError(message, current)


def fingerprint(actions: Sequence[Action]) -> str:
    """Return what tells one transaction from another under the same token."""
    return sha256(repr(list(actions)).encode("utf-8", "surrogatepass")).hexdigest()


def check_same_transaction(before: str, now: str) -> None:
    """Refuse a token that was used for another transaction.

    Raises:
        StoreRefusedError: The fingerprints differ.
    """
    if before != now:
        message = "The transaction's token was used for another transaction."
        raise StoreRefusedError(message)


def same(one: Value, other: Value) -> bool:
    """Whether two values are equal as a store sees it: True is not 1, a tuple is a list."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, (int, str)) or isinstance(other, (int, str)):
        return type(one) is type(other) and one == other
    if isinstance(one, (list, tuple)):
        return (
            isinstance(other, (list, tuple))
            and len(one) == len(other)
            and all(map(same, one, other))
        )
    return (
        isinstance(one, Mapping)
        and isinstance(other, Mapping)
        and one.keys() == other.keys()
        and all(same(one[name], other[name]) for name in one)
    )


def is_number(value: Value) -> TypeGuard[int]:
    """Whether it is a number to a store: a bool is not."""
    return isinstance(value, int) and not isinstance(value, bool)


def prefix_end(prefix: str) -> str | None:
    """Return the first key behind all that begin with `prefix`; None: there is no end."""
    while prefix:
        last = ord(prefix[-1])
        if last < _LAST_CODE_POINT:
            following = last + 1
            return prefix[:-1] + chr(_AFTER_SURROGATES if following == _SURROGATES else following)
        prefix = prefix[:-1]
    return None


def _name(name: object) -> str:
    if isinstance(name, str) and name:
        return name
    message = f"A stored map cannot have the key {name!r}."
    raise StoreRefusedError(message)


def _text_bytes(text: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        message = "Text with half a character (a lone surrogate) cannot be stored."
        raise StoreRefusedError(message) from None


def _size(value: Value) -> int:
    """Count bytes as DynamoDB does. Source: its Developer Guide, "Item sizes", 2026-11."""
    if isinstance(value, str):
        return _text_bytes(value)
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, int):
        return len(str(value)) // 2 + 2
    if isinstance(value, Mapping):
        return 3 + sum([1 + _text_bytes(name) + _size(part) for name, part in value.items()])
    return 3 + sum([1 + _size(part) for part in value])
