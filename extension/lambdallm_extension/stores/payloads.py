"""A store over a store, that takes large texts: they lie elsewhere, a ticket stands in the item.

    put, transact    pieces ─► (all written) ─► the items with their tickets, as one write
    get, query       items ─► pieces of all their tickets at once ─► length and SHA-256 ─► items
    add_if           of an expiry alone: pieces first, the item then
    delete           pieces first, the item then

Whoever sees an item can have its texts: they were there before. A text that is gone, or another
one than was written, is an error that names the item, never an empty one. An item that has expired
counts as deleted, since its texts may be. `Add` keeps what it assigns in the item, and conditions
are on what stands there: texts that could lie elsewhere are refused in them.
"""

from __future__ import annotations

import os
from functools import partial

from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.errors import ConditionFailedError, SettingError, StoreRefusedError
from lambdallm_extension.ports import ALWAYS, Put
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.stores import offloading, rules, tickets
from lambdallm_extension.stores.payload_jobs import Jobs
from lambdallm_extension.stores.payload_reading import PayloadReader
from lambdallm_extension.stores.payload_writing import PayloadWriter
from lambdallm_extension.stores.table_place import TablePlace
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Action, Add, Clock, Condition, Item, Key, Page, Store
    from lambdallm_extension.settings import Settings
    from lambdallm_extension.stores.places import Place
    from lambdallm_extension.stores.tickets import Ticket

THREADS_MAX = 16
"""For all callers of one store together; with one that has no large texts there is none."""


def open_payloads(
    store: Store,
    settings: Settings,
    clock: Clock,
    credentials: CredentialSource,
    overhead: Overhead | None = None,
) -> PayloadStore:
    """Stand before a store as `LAMBDALLM_PAYLOADS` and `LAMBDALLM_COMPRESSION` say.

    Raises:
        SettingError: One of them is wrong.
    """
    coding = settings.environ.get("LAMBDALLM_COMPRESSION", "").strip().lower()
    if coding not in ("", "off", tickets.ZLIB):
        message = f"LAMBDALLM_COMPRESSION={coding!r} is not 'zlib' or 'off'."
        raise SettingError(message)
    table = TablePlace(store)
    places: list[Place] = [table]
    threshold = offloading.TABLE_THRESHOLD_BYTES
    url = settings.environ.get(names.ENVIRONMENT_PAYLOADS, "").strip()
    if url:
        from lambdallm_extension.aws import s3
        from lambdallm_extension.stores.bucket_place import BucketPlace

        location = s3.parse_location(url, names.ENVIRONMENT_PAYLOADS)
        bucket = s3.Bucket(location, settings, clock, credentials)
        places.insert(0, BucketPlace(bucket, Overhead() if overhead is None else overhead))
        threshold = offloading.S3_THRESHOLD_BYTES
    return PayloadStore(
        store,
        places,
        clock=clock,
        workers=Workers(THREADS_MAX),
        threshold_bytes=threshold,
        compressed=coding == tickets.ZLIB,
        room_bytes=offloading.room_bytes(settings.memory_mb if settings.in_lambda else None),
    )


class PayloadStore:
    """`ports.Store` over another one. Threads share it."""

    def __init__(  # noqa: PLR0913 - what large texts are kept by
        self,
        store: Store,
        places: Sequence[Place],
        *,
        clock: Clock,
        workers: Workers,
        threshold_bytes: int,
        compressed: bool = False,
        room_bytes: int = offloading.ROOM_MAX_BYTES,
    ) -> None:
        """Stand before a store.

        Args:
            store: Takes the items.
            places: Take what is too large for them. The first one is written to, all are read.
            clock: Wall clock, for deadlines and expiries.
            workers: Threads for several pieces at once.
            threshold_bytes: Texts above it never stay in their item.
            compressed: Whether texts are compressed when they are written.
            room_bytes: Of texts from elsewhere that one read may bring.
        """
        self._store = store
        self._places = places
        self._clock = clock
        self._jobs = Jobs(workers, clock)
        self._reader = PayloadReader(places, self._jobs, clock, room_bytes=room_bytes)
        self._writer = PayloadWriter(
            places[0], self._jobs, clock, threshold_bytes=threshold_bytes, compressed=compressed
        )

    # Reading

    def get(self, key: Key, *, deadline_ms: int) -> Item | None:
        """Return the item, or None when there is none."""
        item = self._store.get(key, deadline_ms=deadline_ms)
        if item is None or tickets.ATTRIBUTE not in item.attributes:
            return item
        return None if self._reader.is_over(item) else self._reader.whole([item], deadline_ms)[0]

    def query(
        self,
        pk: str,
        prefix: str,
        *,
        first: str = "",
        reverse: bool = False,
        limit: int | None = None,
        deadline_ms: int,
    ) -> list[Item]:
        """Return the partition's items whose sort key begins with `prefix`, in its byte order."""
        asked = limit
        while True:
            found = self._store.query(
                pk, prefix, first=first, reverse=reverse, limit=asked, deadline_ms=deadline_ms
            )
            items = [item for item in found if not self._reader.is_over(item)]
            if limit is None or asked is None or len(items) >= limit or len(found) < asked:
                return self._reader.whole(items[:limit], deadline_ms)
            asked = limit + len(found) - len(items)

    def scan(self, prefix: str, sk: str, *, cursor: str = "", deadline_ms: int) -> Page:
        """Return a page of the items under one sort key, in all partitions of a prefix."""
        page = self._store.scan(prefix, sk, cursor=cursor, deadline_ms=deadline_ms)
        items = [item for item in page.items if not self._reader.is_over(item)]
        return page._replace(items=self._reader.whole(items, deadline_ms))

    def outline(self, pk: str, *, deadline_ms: int) -> list[Item]:
        """Return all items of a partition, without their large texts."""
        items = self._store.outline(pk, deadline_ms=deadline_ms)
        return [tickets.without_texts(item) for item in items]

    # Writing

    def put_if(self, put: Put, *, deadline_ms: int) -> None:
        """Write one item if its condition holds."""
        _check_condition(put.condition)
        (action,) = self._writer.offload([put], os.urandom(16).hex(), deadline_ms)
        assert isinstance(action, Put)  # noqa: S101 - as it was
        try:
            self._store.put_if(action, deadline_ms=deadline_ms)
        except ConditionFailedError as error:
            raise self._readable(error, deadline_ms) from None

    def add_if(self, add: Add, *, deadline_ms: int) -> Item:
        """Change one item if its condition holds, and return it as it is then."""
        _check_condition(add.condition)
        if add.expires_at is not None and not (add.add or add.assign):
            add = self._extended(add, add.expires_at, deadline_ms)
        try:
            item = self._store.add_if(add, deadline_ms=deadline_ms)
        except ConditionFailedError as error:
            raise self._readable(error, deadline_ms) from None
        return self._reader.whole([item], deadline_ms)[0]

    def transact(self, actions: Sequence[Action], *, token: str, deadline_ms: int) -> None:
        """Do all of it or nothing."""
        rules.check_transaction(actions, token)
        for action in actions:
            _check_condition(action.condition)
        written = self._writer.offload(actions, token, deadline_ms)
        try:
            self._store.transact(written, token=token, deadline_ms=deadline_ms)
        except ConditionFailedError as error:
            raise self._readable(error, deadline_ms) from None

    def delete(self, key: Key, *, deadline_ms: int, condition: Condition = ALWAYS) -> None:
        """Remove an item with all that lies elsewhere; again does no harm.

        The item goes last, so that a deletion that was cut short is finished by the next one; with
        a condition it goes first, and what a cut leaves behind expires.
        """
        _check_condition(condition)
        item = self._store.get(key, deadline_ms=deadline_ms)
        elsewhere = [] if item is None else self._reader.elsewhere(item)
        jobs = [
            partial(place.delete, ticket.key, number, deadline_ms=deadline_ms)
            for _, ticket, place in elsewhere
            for number in range(ticket.pieces)
        ]
        if condition == ALWAYS:
            self._jobs.run(jobs, deadline_ms)
            jobs = []
        try:
            self._store.delete(key, condition=condition, deadline_ms=deadline_ms)
        except ConditionFailedError as error:
            raise self._readable(error, deadline_ms) from None
        self._jobs.run(jobs, deadline_ms)

    def reopen(self) -> None:
        """Drop connections that a freeze may have killed; places look at theirs when they ask."""
        self._store.reopen()

    def close(self) -> None:
        """Let go of files and sockets."""
        for place in self._places:
            place.close()
        self._store.close()

    def _extended(self, add: Add, expires_at: int, deadline_ms: int) -> Add:
        """Let what an item has elsewhere live as long as the item will."""
        item = self._store.get(add.key, deadline_ms=deadline_ms)
        if item is None:
            return add
        moved: dict[str, Ticket] = {}
        jobs: list[Callable[[], bool]] = []
        names: list[str] = []
        seconds = expires_at - self._clock.epoch_ms() // 1_000
        for name, ticket, place in self._reader.elsewhere(item):
            to = place.key(ticket.key, seconds=seconds)
            if to != ticket.key:
                moved[name] = ticket._replace(key=to)
            for number in range(ticket.pieces):
                jobs.append(
                    partial(
                        place.extend,
                        ticket.key,
                        number,
                        to,
                        expires_at=expires_at,
                        deadline_ms=deadline_ms,
                    )
                )
                names.append(name)
        for name, there in zip(names, self._jobs.run(jobs, deadline_ms), strict=True):
            if not there:
                raise tickets.damaged(item.key, name, "is gone from where it lay")
        if not moved:
            return add
        before = item.attributes[tickets.ATTRIBUTE]
        all_of_them = {**tickets.tickets_of(item), **moved}
        after = {name: ticket.to_value() for name, ticket in all_of_them.items()}
        condition = add.condition
        equals = {**condition.equals, tickets.ATTRIBUTE: before}
        return add._replace(
            assign={tickets.ATTRIBUTE: after}, condition=condition._replace(equals=equals)
        )

    def _readable(self, error: ConditionFailedError, deadline_ms: int) -> ConditionFailedError:
        """Return a refusal whose items are as they were put; what has expired is without texts."""
        if any(item is not None and tickets.ATTRIBUTE in item.attributes for item in error.current):
            current = [
                item
                if item is None or tickets.ATTRIBUTE not in item.attributes
                else tickets.without_texts(item)
                if self._reader.is_over(item)
                else self._reader.whole([item], deadline_ms)[0]
                for item in error.current
            ]
            return ConditionFailedError(error.detail, current)
        return error


def _check_condition(condition: Condition) -> None:
    """Refuse a condition on a text that may lie elsewhere: nobody could compare it.

    Raises:
        StoreRefusedError: It has one.
    """
    for name, value in condition.equals.items():
        if name == tickets.ATTRIBUTE or (
            isinstance(value, str) and len(value) >= offloading.COMPRESSED_FROM_BYTES // 4
        ):
            message = f"A condition on {name!r}, which may lie elsewhere, cannot be checked."
            raise StoreRefusedError(message)
