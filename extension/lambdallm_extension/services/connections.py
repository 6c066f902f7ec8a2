"""Messages for the clients of WebSocket APIs, and the groups that these are in.

    push ──► API Gateway ──► taken          delivered
                         ├─► gone           known for this unit of work; it leaves its groups
                         ├─► not now        again, with full jitter, until the deadline
                         └─► no answer      raised: a message that may have come is not repeated

A connection is there for others only when its `$connect` has been answered. Who joins in that, and
is written to before, looks gone, and is not: what joined a moment ago stays where it is.
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import Protocol
from lambdallm_extension import errors
from lambdallm_extension.domain import keys, retry
from lambdallm_extension.ports import Put
from lambdallm_extension.services import connection_items
from lambdallm_extension.services.connection_items import CONNECTION_SECONDS, Member
from lambdallm_extension.services.group_pushes import GroupPush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.ports import Clock, Item, Random, Store
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.connections import Client, PushedToGroup

CONNECTING_MS = 30_000
"""A `$connect` that has not been answered after 29 s is refused.

Source: API Gateway developer guide, "Quotas for configuring and running a WebSocket", 2026-11.
"""

RETRIES_MAX = 7
"""Of one message: with full jitter they take ten seconds, in which somebody watches a chat."""

GONE_MAX = 1_024
"""Connections that are known to be gone: those of one unit of work are few."""


class Gateway(Protocol):
    """What writes to connections; `aws.connections.ConnectionsApi`."""

    def address_of(self, client: Client) -> str:
        """Return where a client is written to."""
        ...

    def post(self, address: str, connection_id: str, data: bytes, *, deadline_ms: int) -> bool:
        """Send a text once; False where the connection is gone."""
        ...

    def reopen(self) -> None:
        """Drop connections that may have died in a freeze."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


class Connections:
    """Writes to clients, one message after the other. Threads share it."""

    def __init__(  # noqa: PLR0913 - what it needs of the world
        self,
        gateway: Gateway,
        store: Callable[[], Store],
        *,
        has_store: Callable[[], bool],
        workers: Workers,
        clock: Clock,
        random: Random,
        sleep: Callable[[float], None],
    ) -> None:
        """Open nothing yet; the store is for groups alone."""
        self._gateway = gateway
        self._store = store
        self._has_store = has_store
        self._workers = workers
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._lock = Lock()
        self._gone: dict[tuple[str, str], None] = {}

    def reopen(self) -> None:
        """Open connections anew, after a freeze."""
        self._gateway.reopen()

    def close(self) -> None:
        """Let go of every connection."""
        self._gateway.close()

    def push(self, client: Client, data: bytes, *, unit: str, deadline_ms: int) -> bool:
        """Send a text to a client.

        Args:
            client: It.
            data: UTF-8.
            unit: The unit of work, which is not sent twice to find out the same.
            deadline_ms: Until when it is tried.

        Returns:
            Whether it was taken; False where the connection is gone.

        Raises:
            PushError: It was not taken in time, or nobody knows whether it was.
            InvalidRequestError, SettingError, DeadlineError: It was not sent.
        """
        connection_id = client["connection_id"]
        address = self._gateway.address_of(client)
        if (unit, connection_id) in self._gone:
            return False
        if self._post(address, connection_id, data, deadline_ms):
            return True
        with self._lock:
            self._gone[unit, connection_id] = None
            while len(self._gone) > GONE_MAX:
                del self._gone[next(iter(self._gone))]
        if self._has_store():
            self._forget(connection_id, deadline_ms)
        return False

    def join(self, client: Client, group: str, *, deadline_ms: int) -> list[str]:
        """Count a client among a group, until it leaves or its connection has ended.

        Raises:
            StoreError: It may not be in it; join again.
            SettingError: There is no store, or nobody knows the client's API.
        """
        now_ms = self._clock.epoch_ms()
        since_ms = min(now_ms, client.get("connected_epoch_ms", now_ms))
        expires_at = since_ms // 1_000 + CONNECTION_SECONDS
        address = self._gateway.address_of(client)
        member = Member(client["connection_id"], group, address, now_ms, expires_at)
        store = self._store()
        for item in member.items():
            store.put_if(Put(item), deadline_ms=deadline_ms)
        return [group]

    def leave(self, client: Client, group: str = "", *, deadline_ms: int) -> list[str]:
        """Count a client among a group no longer, or among none; return those that it was in.

        Raises:
            StoreError: Not all of it is known to be done; leave again.
            SettingError: There is no store.
        """
        members = self._groups_of(client["connection_id"], deadline_ms)
        if group:
            members = [member for member in members if member.group == group]
        self._delete(members, deadline_ms)
        return [member.group for member in members]

    def push_to_group(self, group: str, data: bytes, *, deadline_ms: int) -> PushedToGroup:
        """Send a text to all clients of a group, several at once; who is gone leaves it.

        Raises:
            PushError: Some did not get it; the others did.
            StoreError, SettingError, InvalidRequestError, DeadlineError: Not all got it.
        """
        now_ms = self._clock.epoch_ms()
        items = self._store().query(
            keys.group_key(group), keys.CONNECTION_PREFIX, deadline_ms=deadline_ms
        )
        members = [
            connection_items.read(item) for item in items if (item.expires_at or 0) * 1_000 > now_ms
        ]

        def post(member: Member) -> bool:
            if self._post(member.address, member.connection_id, data, deadline_ms):
                return True
            self._forget(member.connection_id, deadline_ms)
            return False

        return GroupPush(members, post, self._workers).run()

    def _post(self, address: str, connection_id: str, data: bytes, deadline_ms: int) -> bool:
        """Send it until it is taken, as far as that is safe."""
        attempt = 0
        while True:
            try:
                return self._gateway.post(address, connection_id, data, deadline_ms=deadline_ms)
            except errors.PushError as error:
                left_ms = deadline_ms - self._clock.epoch_ms()
                wait_ms = retry.delay_ms(
                    attempt, retry_after_seconds=None, remaining_ms=left_ms, random=self._random
                )
                if error.sent or wait_ms is None or attempt == RETRIES_MAX:
                    raise
            self._sleep(wait_ms / 1_000)
            attempt += 1

    def _forget(self, connection_id: str, deadline_ms: int) -> None:
        """Take a connection that is gone out of its groups, unless it may be about to open.

        What the store does not do now is left for the next message, which finds it gone again.
        """
        try:
            young_ms = self._clock.epoch_ms() - CONNECTING_MS
            members = self._groups_of(connection_id, deadline_ms)
            self._delete([each for each in members if each.at_ms < young_ms], deadline_ms)
        except (errors.StoreError, errors.DeadlineError):
            return

    def _groups_of(self, connection_id: str, deadline_ms: int) -> list[Member]:
        items: Sequence[Item] = self._store().query(
            keys.connection_key(connection_id), keys.GROUP_PREFIX, deadline_ms=deadline_ms
        )
        return [connection_items.read(item) for item in items]

    def _delete(self, members: Sequence[Member], deadline_ms: int) -> None:
        store = self._store()
        for member in members:
            for item in reversed(member.items()):
                store.delete(item.key, deadline_ms=deadline_ms)
