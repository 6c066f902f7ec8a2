"""A store in this process: gone when it ends. For tests, and for whoever asks for it."""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.ports import ALWAYS, Page
from lambdallm_extension.stores import rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_extension.ports import Action, Add, Clock, Condition, Item, Key, Put


class MemoryStore:
    """`ports.Store` over dictionaries. Threads share it; what it returns is the caller's own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._partitions: dict[str, dict[str, Item]] = {}
        self._tokens: dict[str, tuple[str, int]] = {}
        self._swept_at_ms = 0

    def get(self, key: Key, *, deadline_ms: int) -> Item | None:
        """Return the item, or None when there is none."""
        rules.check_key(key)
        with self._lock:
            item = self._find(key)
        return None if item is None else rules.plain(item)

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
        """Return the partition's items whose sort key begins with `prefix`, in its order.

        Code points order as their bytes in UTF-8 do.
        """
        rules.check_prefix(pk, prefix)
        with self._lock:
            partition = self._partitions.get(pk, {})
            keys = sorted(
                (
                    sk
                    for sk in partition
                    if (first or prefix) <= sk and (sk.startswith(prefix) or sk < prefix)
                ),
                reverse=reverse,
            )
            items = [partition[sk] for sk in keys[: None if limit is None else max(limit, 0)]]
        return [rules.plain(item) for item in items]

    def outline(self, pk: str, *, deadline_ms: int) -> list[Item]:
        """Return all items of a partition."""
        return self.query(pk, "", deadline_ms=deadline_ms)

    def put_if(self, put: Put, *, deadline_ms: int) -> None:
        """Write one item if its condition holds."""
        with self._lock:
            self._write([put])

    def add_if(self, add: Add, *, deadline_ms: int) -> Item:
        """Change one item if its condition holds, and return it as it is then."""
        with self._lock:
            return rules.plain(self._write([add])[0])

    def transact(
        self,
        actions: Sequence[Action],
        *,
        token: str,
        deadline_ms: int,
    ) -> None:
        """Do all of it or nothing."""
        rules.check_transaction(actions, token)
        fingerprint = rules.fingerprint(actions)
        now_ms = self._clock.epoch_ms()
        with self._lock:
            done, done_at_ms = self._tokens.get(token, ("", 0))
            if done and now_ms - done_at_ms < rules.TOKEN_LIFETIME_MS:
                rules.check_same_transaction(done, fingerprint)
                return
            self._write(actions)
            self._tokens[token] = (fingerprint, now_ms)

    def delete(self, key: Key, *, deadline_ms: int, condition: Condition = ALWAYS) -> None:
        """Remove an item, if there is one."""
        with self._lock:
            rules.check_deletion(key, condition, self._find(key))
            self._partitions.get(key.pk, {}).pop(key.sk, None)

    def scan(self, prefix: str, sk: str, *, cursor: str = "", deadline_ms: int) -> Page:
        """Return the items under one sort key, in all partitions of a prefix, in one page."""
        rules.check_scan(prefix, sk)
        with self._lock:
            found = [
                items[sk]
                for pk, items in sorted(self._partitions.items())
                if pk.startswith(prefix) and sk in items
            ]
        return Page([rules.plain(item) for item in found], "")

    def reopen(self) -> None:
        """Nothing is connected."""

    def close(self) -> None:
        """Nothing is open; the items stay as long as the store is referred to."""

    def _find(self, key: Key) -> Item | None:
        return self._partitions.get(key.pk, {}).get(key.sk)

    def _write(self, actions: Sequence[Action]) -> list[Item]:
        current = [self._find(rules.checked_key(action)) for action in actions]
        written = rules.decide(actions, current)
        for item in written:
            self._partitions.setdefault(item.key.pk, {})[item.key.sk] = item
        self._sweep()
        return written

    def _sweep(self) -> None:
        """Once an hour, drop what has long expired."""
        now_ms = self._clock.epoch_ms()
        if now_ms - self._swept_at_ms < rules.SWEEP_EVERY_MS:
            return
        self._swept_at_ms = now_ms
        before = now_ms // 1000 - rules.GRACE_SECONDS
        for partition in self._partitions.values():
            for sk in [sk for sk, item in partition.items() if _expired(item, before)]:
                del partition[sk]
        self._partitions = {pk: items for pk, items in self._partitions.items() if items}
        expired_ms = now_ms - rules.TOKEN_LIFETIME_MS
        self._tokens = {token: done for token, done in self._tokens.items() if done[1] > expired_ms}


def _expired(item: Item, before: int) -> bool:
    return item.expires_at is not None and item.expires_at < before
