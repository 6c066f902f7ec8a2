"""Who is in a group of WebSocket clients, as it stands in the store.

Shapes (attributes beside the keys of `domain.keys` and `expires_at`, epoch seconds):
    GROUP#…       CONNECTION#…  {"schema": 1, "address": "https://…/STAGE", "at": 1790000000000}
    CONNECTION#…  GROUP#…       the same

The connection's own item is written first and deleted last: whoever is in a group is found by his
connection too. They are two partitions, which not every store writes to at once.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Value

CONNECTION_SECONDS = 7_200
"""API Gateway ends every connection then.

Source: API Gateway developer guide, "Quotas for configuring and running a WebSocket", 2026-11.
"""


class Member(NamedTuple):
    """A connection in a group.

    Attributes:
        address: Where it is written to.
        at_ms: When it joined, epoch milliseconds.
        expires_at: When its connection ends at the latest, epoch seconds.
    """

    connection_id: str
    group: str
    address: str
    at_ms: int
    expires_at: int

    @property
    def key(self) -> Key:
        """In the group's partition."""
        return Key(keys.group_key(self.group), keys.connection_key(self.connection_id))

    def items(self) -> tuple[Item, Item]:
        """Return what is written, in this order."""
        attributes: dict[str, Value] = {
            "schema": names.ITEM_SCHEMA_VERSION,
            "address": self.address,
            "at": self.at_ms,
        }
        member = self.key
        return (
            Item(Key(member.sk, member.pk), attributes, self.expires_at),
            Item(member, attributes, self.expires_at),
        )


def read(item: Item) -> Member:
    """Read either of a member's two items.

    Raises:
        StoreRefusedError: It is newer than this reader, or damaged.
    """
    schema, address, at_ms = (item.attributes.get(name) for name in ("schema", "address", "at"))
    if type(schema) is not int or not (isinstance(address, str) and type(at_ms) is int):
        message = f"The item {item.key.pk}/{item.key.sk} is damaged: delete it."
        raise errors.StoreRefusedError(message)
    if schema > names.ITEM_SCHEMA_VERSION:
        message = (
            f"An item of a group has schema {schema}; this sidecar reads up to "
            f"{names.ITEM_SCHEMA_VERSION}. Update the layer of this function."
        )
        raise errors.StoreRefusedError(message)
    group, connection = item.key
    if group.startswith(keys.CONNECTION_PREFIX):
        group, connection = connection, group
    return Member(
        connection.removeprefix(keys.CONNECTION_PREFIX),
        keys.parse_group_key(group),
        address,
        at_ms,
        item.expires_at or 0,
    )
