"""What writers tell a session's head: an exchange more, what it changes, until when it lives.

Metadata is merged key by key, on the condition that nobody has changed it since it was read:
`metadata_writes` counts every write of it, and who is refused merges with what the refusal shows.

The head's expiry counts from the last message. A write behind an exchange's first one moves it
only where that makes a difference, because the head is what writers contend for. A head that has
expired meanwhile begins anew with the exchange that is being written, like one that was found
expired; that nobody has moved it is told by `at`, which grows with its expiry.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.ports import ABSENT, Add, Condition
from lambdallm_extension.services import hidden_sessions, session_items
from lambdallm_wire import names, plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_extension.domain.metadata_changes import MetadataChange
    from lambdallm_extension.ports import Key, Value
    from lambdallm_extension.services.session_items import Head

MOVED_EACH = 100
"""A head is moved when its expiry is so many parts of a ttl behind: of a day, a quarter hour."""


_NOT_SEALED = {hidden_sessions.SEALED: 0}


class HeadChange(NamedTuple):
    """What a write behind the first one changes in the head.

    Attributes:
        metadata: None leaves it.
        clear: Hide what came before the exchange.
        rewrites: Turns were written anew that somebody may have seen.
        fixed: Names turns that stay in every window; see `domain.fixed_turns`.
    """

    metadata: MetadataChange | None = None
    clear: bool = False
    rewrites: bool = False
    fixed: Mapping[str, Value] = {}


def is_due(head: Head, *, now: int, ttl: int) -> bool:
    """Say whether a message that is written now moves the head's expiry."""
    return head.expires_at is not None and now + ttl - head.expires_at > ttl // MOVED_EACH


def count_exchange(  # noqa: PLR0913 - what an exchange tells the head
    key: Key,
    head: Head,
    *,
    born: int,
    metadata: MetadataChange | None,
    clear: bool,
    fixed: Mapping[str, Value],
    at: int,
    expires_at: int,
) -> Add:
    """Add the next exchange to the head that was read, and to no other.

    Args:
        key: The head's.
        head: As it was read.
        born: What a new life of the session counts its rewrites from.
        metadata: What is changed of it, None leaves it.
        clear: Hide what came before this exchange.
        fixed: Names its turns that stay in every window; see `domain.fixed_turns`.
        at: Epoch milliseconds, for whoever looks for sessions that nobody uses any more.
        expires_at: Epoch seconds.
    """
    add = {"exchanges": head.next_exchange - (head.stored_exchanges or 0)}
    assign: dict[str, Value] = {"schema": names.ITEM_SCHEMA_VERSION, "at": at, **fixed}
    condition = ABSENT
    if head.stored_exchanges is not None:
        condition = Condition(equals={"exchanges": head.stored_exchanges}, at_most=_NOT_SEALED)
    if head.version == 0:
        assign |= {"first_exchange": head.first_exchange, "metadata": "{}", "rewrites": born}
        if head.stored_exchanges is not None:
            add["metadata_writes"] = 1
    if metadata is not None:
        assign["metadata"] = session_items.to_json(metadata.applied_to(head.metadata))
        add["metadata_writes"] = 1
        if head.version:
            condition = _unchanged(condition, head, metadata)
    if clear:
        assign["first_exchange"] = head.next_exchange
    return Add(key, add, assign, expires_at, condition)


def change(key: Key, head: Head, exchange: int, change: HeadChange, *, at: int, ttl: int) -> Add:
    """Change a head that exists, for an exchange that it has counted.

    What was hidden stays hidden: `first_exchange` is never lowered.

    Args:
        key: The head's.
        head: As it was read, or as this writer has left it.
        exchange: The number of the exchange that is being written.
        change: What to change.
        at: Epoch milliseconds.
        ttl: Seconds from now until the session is unreadable.
    """
    now = at // 1_000
    add = {"rewrites": 1} if change.rewrites else {}
    assign: dict[str, Value] = {**change.fixed}
    at_most = {**_NOT_SEALED}
    expires_at = None
    has_expired = head.expires_at is not None and head.expires_at <= now
    if is_due(head, now=now, ttl=ttl):
        assign["at"], expires_at = at, now + ttl
    if change.clear or has_expired:
        assign["first_exchange"] = at_most["first_exchange"] = exchange
    if has_expired:
        at_most["at"] = head.at
        assign["metadata"] = "{}"
        add["metadata_writes"] = 1
    condition = Condition(absent=False, at_most=at_most)
    if change.metadata is not None:
        stored = {} if has_expired else head.metadata
        assign["metadata"] = session_items.to_json(change.metadata.applied_to(stored))
        add["metadata_writes"] = 1
        condition = _unchanged(condition, head, change.metadata)
    return Add(key, add, assign, expires_at, condition)


def count_rewrite(key: Key) -> Add:
    """Count that turns are written anew which somebody may have seen."""
    return Add(key, {"rewrites": 1}, condition=Condition(absent=False, at_most=_NOT_SEALED))


def after(head: Head, add: Add) -> Head:
    """Return a head as it is behind a change of it that was done, for its next change."""
    metadata, at, first = (add.assign.get(name) for name in ("metadata", "at", "first_exchange"))
    return head._replace(
        metadata=plain_json.loads(metadata) if isinstance(metadata, str) else head.metadata,
        metadata_writes=head.metadata_writes + add.add.get("metadata_writes", 0),
        first_exchange=first if isinstance(first, int) else head.first_exchange,
        at=at if isinstance(at, int) else head.at,
        expires_at=head.expires_at if add.expires_at is None else add.expires_at,
    )


def _unchanged(condition: Condition, head: Head, metadata: MetadataChange) -> Condition:
    """Add that the metadata is still what it is merged with; who replaces all need not ask."""
    if metadata.keys is None:
        return condition
    if head.metadata_writes:
        counted = {**condition.equals, "metadata_writes": head.metadata_writes}
        return condition._replace(equals=counted)
    return condition._replace(at_most={**condition.at_most, "metadata_writes": 0})
