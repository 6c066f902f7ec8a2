"""Actions as the arguments of a script, and items as its reply holds them; no I/O.

Source of the shapes: `redis_scripts`.
"""

from __future__ import annotations

import json

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.ports import Add, Check, Item, Key, Put
from lambdallm_extension.stores import rules
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambdallm_extension.ports import Action, Condition, Value

EXPIRES = b""
"""Field of an item's expiry; no attribute is called so."""

_LAST_EPOCH_SECONDS = 253_402_300_799
"""End of the year 9999. Redis refuses an expiry whose milliseconds exceed 64 bits; what would
expire later than this never does."""

_BYTES_MAX = 2 * rules.ITEM_MAX_BYTES
"""Of an item that additions make larger, in JSON, whose escapes DynamoDB does not count."""

_SAME_TAG: dict[str, str] = {"%": "%25", "{": "%7B", "}": "%7D"}


class Keys(NamedTuple):
    """Names of a partition's keys; all have one hash tag, so that a cluster keeps them together."""

    root: str

    @classmethod
    def of(cls, prefix: str, pk: str) -> Keys:
        """Name those of a partition."""
        tag = "".join(_SAME_TAG.get(letter, letter) for letter in pk)
        return cls(f"{prefix}:{{{tag}}}:")

    @property
    def items(self) -> str:
        """What the keys of its items begin with."""
        return f"{self.root}i:"

    @property
    def order(self) -> str:
        """Where its sort keys stand in order."""
        return f"{self.root}x"

    @staticmethod
    def scanned(prefix: str, pk_prefix: str, sk: str) -> str:
        """Return a pattern of the keys of items under one sort key, in many partitions."""
        root = Keys.of(prefix, pk_prefix).root.removesuffix("}:")
        return f"{_literal(root)}*}}:i:{_literal(sk)}"

    @staticmethod
    def partition(prefix: str, name: str, sk: str) -> str:
        """Return the partition of an item that such a pattern has found."""
        tag = name[len(prefix) + len(":{") : -len(f"}}:i:{sk}")]
        for character, code in reversed(_SAME_TAG.items()):
            tag = tag.replace(code, character)
        return tag

    def token(self, token: str) -> str:
        """Where it is remembered what a write did."""
        return f"{self.root}t:{token}"


def _literal(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\*?[]^-" else letter for letter in text)


def to_bytes(text: str) -> bytes:
    """Encode text.

    Raises:
        StoreRefusedError: It holds half a character.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        message = "Text with half a character (a lone surrogate) cannot be stored."
        raise StoreRefusedError(message) from None


def canonical(value: Value) -> bytes:
    """Write a value so that the same value is always the same text.

    Raises:
        StoreRefusedError: It cannot be stored.
    """
    copied = rules.copied(value)
    return to_bytes(json.dumps(copied, ensure_ascii=False, sort_keys=True, separators=(",", ":")))


def encode_action(action: Action, *, deletes: bool = False) -> list[bytes]:
    """Write an action as arguments of `WRITE`; a check that deletes is a deletion.

    Raises:
        StoreRefusedError: It cannot be done on any store.
    """
    key = rules.checked_key(action)
    rules.check_condition(action.condition)
    if isinstance(action, Check):
        kind = b"delete" if deletes else b"check"
        return [kind, to_bytes(key.sk), *_condition(action.condition)]
    if isinstance(action, Put):
        item = rules.plain(action.item)
        adds: Mapping[str, int] = {}
        sets, expires_at = item.attributes, item.expires_at
    else:
        adds, sets, expires_at = _checked(action)
    return [
        b"put" if isinstance(action, Put) else b"add",
        to_bytes(key.sk),
        *_condition(action.condition),
        *_expiry(expires_at),
        *_pairs({name: str(amount).encode() for name, amount in adds.items()}),
        *_pairs({name: canonical(value) for name, value in sets.items()}),
    ]


def head(fingerprint: str, remembered_ms: int, way: bytes) -> list[bytes]:
    """Write what stands before the actions."""
    numbers = [str(number).encode() for number in (remembered_ms, _BYTES_MAX)]
    return [fingerprint.encode(), *numbers, way]


def decode_item(key: Key, fields: Sequence[bytes]) -> Item | None:
    """Read an item from its fields and values in turn; no fields: None.

    Raises:
        StoreRefusedError: It is not one that this package writes; it is named.
    """
    if not fields:
        return None
    try:
        found = {bytes(name): bytes(text) for name, text in zip(*[iter(fields)] * 2, strict=True)}
        expiry = found.pop(EXPIRES)
        attributes = {name.decode(): plain_json.loads(text) for name, text in found.items()}
        return Item(key, attributes, int(expiry) if expiry else None)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = (
            f"The item pk={key.pk!r} sk={key.sk!r} is not one that lambdallm has written, or was "
            f"changed ({type(error).__name__}: {error}). Mend or delete it; until then what it "
            "belongs to cannot be read."
        )
        raise StoreRefusedError(message) from None


def _checked(add: Add) -> tuple[Mapping[str, int], Mapping[str, Value], int | None]:
    rules.check_add(add)
    for name, amount in add.add.items():
        if not rules.is_number(amount):
            message = f"{name!r} cannot grow by {amount!r:.80}."
            raise StoreRefusedError(message)
        rules.checked_number(amount)
    return add.add, rules.plain(Item(add.key, add.assign)).attributes, add.expires_at


def _condition(condition: Condition) -> list[bytes]:
    absent = {None: b"", True: b"yes", False: b"no"}[condition.absent]
    limits = {name: str(limit).encode() for name, limit in condition.at_most.items()}
    equals = {name: canonical(value) for name, value in condition.equals.items()}
    return [absent, *_pairs(equals), *_pairs(limits)]


def _expiry(expires_at: int | None) -> tuple[bytes, bytes]:
    """Write when an item expires, and when Redis is to delete it; the reader's clock decides."""
    if expires_at is None:
        return b"", b""
    gone = max(expires_at + rules.GRACE_SECONDS, 1)
    return str(expires_at).encode(), b"" if gone > _LAST_EPOCH_SECONDS else str(gone).encode()


def _pairs(values: Mapping[str, bytes]) -> list[bytes]:
    flat = [str(len(values)).encode()]
    for name, value in values.items():
        flat += (to_bytes(name), value)
    return flat
