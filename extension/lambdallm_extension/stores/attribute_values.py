"""Items as DynamoDB's JSON writes them: every value says its type.

    {"n": 7, "s": "x", "l": [True]}  ◄──►  {"n": {"N": "7"}, "s": {"S": "x"}, "l": {"L": […]}}

Shape of an item: the attributes beside `pk`, `sk` (S), `expires_at` (N, epoch seconds; the
table's TTL attribute) and `put_id` (S; see `dynamodb`).
"""

from __future__ import annotations

from collections.abc import Mapping

from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.ports import Item, Key
from lambdallm_extension.stores.rules import checked_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.ports import Value

    AttributeValue = dict[str, Any]

PUT_ID = "put_id"


def encode(value: Value) -> AttributeValue:
    """Give a value its type.

    Raises:
        StoreRefusedError: Not a value that every store keeps exactly.
    """
    if isinstance(value, str):
        return {"S": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(checked_number(value))}
    if isinstance(value, (list, tuple)):
        return {"L": [encode(part) for part in value]}
    if isinstance(value, (dict, Mapping)):
        return {"M": encode_all(value)}
    message = f"A {type(value).__name__} cannot be stored: {value!r:.80}"
    raise StoreRefusedError(message)


def encode_all(values: Mapping[str, Value]) -> dict[str, AttributeValue]:
    """Give each of several values its type."""
    return {name: encode(value) for name, value in values.items()}


def encode_key(key: Key) -> dict[str, AttributeValue]:
    """Write an address."""
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def encode_item(item: Item) -> dict[str, AttributeValue]:
    """Write a whole item."""
    encoded = encode_key(item.key)
    encoded.update(encode_all(item.attributes))
    if item.expires_at is not None:
        encoded["expires_at"] = {"N": str(item.expires_at)}
    return encoded


def decode(attribute: AttributeValue) -> Value:
    """Read a value.

    Raises:
        StoreRefusedError: Not one that this package writes: somebody else wrote the item.
    """
    ((kind, value),) = attribute.items()
    if kind in ("S", "BOOL"):
        return value  # type: ignore[no-any-return]
    if kind == "N":
        return _integer(value)
    if kind == "L":
        return [decode(part) for part in value]
    if kind == "M":
        return {name: decode(part) for name, part in value.items()}
    if kind == "NULL":
        return None
    message = f"a value of type {kind}"
    raise StoreRefusedError(message)


def decode_item(encoded: dict[str, AttributeValue]) -> Item:
    """Read a whole item.

    Raises:
        StoreRefusedError: It holds what this package does not write; the item is named.
    """
    attributes: dict[str, Value] = {}
    name = ""
    try:
        for name, attribute in encoded.items():
            for kind, value in attribute.items():  # one of each; mostly a text, which is its value
                attributes[name] = value if kind == "S" else decode(attribute)
    except StoreRefusedError as error:
        message = (
            f"The item pk={encoded['pk']['S']!r} sk={encoded['sk']['S']!r} is not one that "
            f"lambdallm has written, or was changed: its {name!r} holds {error.detail}. Mend or "
            "delete it; until then what it belongs to cannot be read."
        )
        raise StoreRefusedError(message) from None
    key = Key(str(attributes.pop("pk")), str(attributes.pop("sk")))
    attributes.pop(PUT_ID, None)
    expires_at = attributes.pop("expires_at", None)
    return Item(key, attributes, expires_at if type(expires_at) is int else None)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        message = f"the number {text:.40}, which is not whole"
        raise StoreRefusedError(message) from None
