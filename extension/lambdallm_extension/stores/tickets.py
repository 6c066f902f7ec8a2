"""What stands in an item in the place of a large text: where it lies, and how to know it again.

    {"schema": 1001, "role": "user", "payloads": {"content": {"place": "s3", "key": "d2/5f…",
     "pieces": 1, "bytes": 2000000, "sha256": "9c…", "coding": "zlib"}}}

A compressed text that is small enough stays in the item, as Base64 under `text` of its ticket. The
attribute itself is missing, and `schema` is raised, so that whoever knows no tickets refuses the
item as newer than itself and does not read it wrongly.
"""

from __future__ import annotations

from binascii import Error as Base64Error, a2b_base64, b2a_base64
from hashlib import sha256

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.ports import Item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_extension.ports import Key, Value

ATTRIBUTE = "payloads"
"""Of an item that has tickets, by the names of the attributes that they stand for."""

SCHEMA_RAISE = 1_000
"""Added to an item's `schema` while it has tickets."""

LENGTH_MAX = 64_000_000
"""Bytes that a ticket may promise: whoever changes one in the table cannot fill the memory."""

ZLIB = "zlib"

_LEVEL = 3
"""Of zlib's nine: text shrinks by a tenth less than with the sixth, in half of the time."""


class Ticket(NamedTuple):
    """Where a text lies.

    Attributes:
        place: `s3`, `table`, or "" for a compressed text that `text` holds itself.
        key: Names it there.
        pieces: How many there are, in order.
        length: Bytes of the text in UTF-8, not compressed.
        sha256: Of these bytes, in hex.
        coding: `zlib`, or "" for the bytes themselves.
        text: Base64.
    """

    place: str
    key: str
    pieces: int
    length: int
    sha256: str
    coding: str
    text: str = ""

    def to_value(self) -> dict[str, Value]:
        """Return it as it is stored."""
        value: dict[str, Value] = {"bytes": self.length, "sha256": self.sha256}
        if self.coding:
            value["coding"] = self.coding
        if self.place:
            value |= {"place": self.place, "key": self.key, "pieces": self.pieces}
        else:
            value["text"] = self.text
        return value


def compress(content: bytes) -> bytes:
    """Compress a text's bytes."""
    import zlib

    return zlib.compress(content, _LEVEL)


def inline(content: bytes, compressed: bytes) -> Ticket:
    """Make the ticket of a compressed text that stays in its item."""
    text = b2a_base64(compressed, newline=False).decode()
    return Ticket("", "", 0, len(content), sha256(content).hexdigest(), ZLIB, text)


def with_tickets(item: Item, tickets: Mapping[str, Ticket]) -> Item:
    """Return an item with tickets in the place of these attributes."""
    attributes = {name: value for name, value in item.attributes.items() if name not in tickets}
    attributes[ATTRIBUTE] = {name: ticket.to_value() for name, ticket in tickets.items()}
    schema = attributes.get("schema")
    if type(schema) is int:
        attributes["schema"] = schema + SCHEMA_RAISE
    return Item(item.key, attributes, item.expires_at)


def without_tickets(item: Item, texts: Mapping[str, str]) -> Item:
    """Return an item as it was before `with_tickets`."""
    attributes = {name: value for name, value in item.attributes.items() if name != ATTRIBUTE}
    attributes.update(texts)
    schema = attributes.get("schema")
    if type(schema) is int:
        attributes["schema"] = schema - SCHEMA_RAISE
    return Item(item.key, attributes, item.expires_at)


def without_texts(item: Item) -> Item:
    """Return an item with nothing in the place of its tickets, if it has any."""
    return without_tickets(item, {}) if ATTRIBUTE in item.attributes else item


def tickets_of(item: Item) -> dict[str, Ticket]:
    """Read an item's tickets; most items have none.

    Raises:
        StoreRefusedError: They are damaged, or written by a newer version.
    """
    values = item.attributes.get(ATTRIBUTE)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise damaged(item.key, ATTRIBUTE, "is not what lambdallm writes")
    return {name: _ticket(item.key, name, value) for name, value in values.items()}


def text_of(ticket: Ticket, stored: bytes) -> str:
    """Return the text that a ticket stands for.

    Args:
        ticket: With its length and hash.
        stored: What lies where it says; ignored where the ticket holds the text itself.

    Raises:
        ValueError: It is another one; the message says what is wrong.
    """
    if not ticket.place:
        try:
            stored = a2b_base64(ticket.text)
        except Base64Error as error:
            raise ValueError(str(error)) from None
    content = _inflated(stored, ticket.length) if ticket.coding else stored
    if len(content) != ticket.length:
        message = f"has {len(content):,} bytes, not {ticket.length:,}"
        raise ValueError(message)
    if sha256(content).hexdigest() != ticket.sha256:
        message = "is not what was written (its SHA-256 differs)"
        raise ValueError(message)
    return content.decode()


def damaged(key: Key, name: str, what: str) -> StoreRefusedError:
    """Say which text of which item cannot be read; never what it says."""
    return StoreRefusedError(
        f"The {name!r} of the item pk={key.pk!r} sk={key.sk!r} {what}. Bring it back (a backup, an "
        "earlier version of the object), or delete the item; until then what it belongs to cannot "
        "be read."
    )


def _inflated(stored: bytes, length: int) -> bytes:
    """Inflate so many bytes, and see one more if there is: nobody's ticket fills the memory."""
    import zlib

    inflater = zlib.decompressobj()
    try:
        return inflater.decompress(stored, length + 1)
    except zlib.error as error:
        message = f"cannot be decompressed ({error})"
        raise ValueError(message) from None


def _ticket(key: Key, name: str, value: Value) -> Ticket:
    fields = value if isinstance(value, dict) else {}
    place, coding = fields.get("place", ""), fields.get("coding", "")
    length, pieces = fields.get("bytes"), fields.get("pieces", 0)
    if coding not in ("", ZLIB):
        what = f"is compressed as {coding!r}, which this version cannot read: update the layer"
        raise damaged(key, name, what)
    texts = [fields.get("key", ""), fields.get("sha256"), fields.get("text", ""), place]
    if (
        not all(isinstance(text, str) for text in texts)
        or type(length) is not int
        or type(pieces) is not int
        or not 0 <= length <= LENGTH_MAX
        or not 0 <= pieces <= LENGTH_MAX // 1_000
    ):
        raise damaged(key, name, "has a ticket that lambdallm has not written, or was changed")
    return Ticket(
        str(place), str(texts[0]), pieces, length, str(texts[1]), str(coding), str(texts[2])
    )
