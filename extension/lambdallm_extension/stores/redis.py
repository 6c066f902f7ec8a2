"""A store in Redis, Valkey or MemoryDB, alone or as a cluster; the client is redis-py.

Every write carries a token under which the server remembers for two minutes what it did (a
transaction's own for ten), in the same step and the same slot. So a write whose answer was lost is
sent again, and done once; `WriteUncertainError` is left for answers that never came.

What Redis has acknowledged is as durable as it was told to be (docs/stores.md): its default loses
a second at a crash, and a failover what the replica had not got.
"""

from __future__ import annotations

import time
from os import urandom

from lambdallm_extension.errors import (
    DeadlineError,
    OnePartitionError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
    WriteUncertainError,
)
from lambdallm_extension.http_client.connection import Patience
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.ports import ALWAYS, Check, Key, Page
from lambdallm_extension.settings import SystemRandom
from lambdallm_extension.stores import redis_items as items, redis_scripts as scripts, rules
from lambdallm_extension.stores.redis_items import Keys
from lambdallm_extension.stores.redis_nodes import Nodes, RefusedError
from lambdallm_extension.stores.redis_refusals import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from lambdallm_extension.ports import Action, Add, Clock, Condition, Item, Put, Random
    from lambdallm_extension.settings import Settings
    from lambdallm_extension.stores.redis_scripts import Script
    from lambdallm_extension.stores.redis_urls import Target

ATTEMPTS_MAX = 8

FIRST_DELAY_SECONDS = 0.025
"""Upper bound of the first wait, doubled each time."""

DELAY_MAX_SECONDS = 1.0

CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 5.0
"""Redis answers in well under a millisecond; one that is silent for longer is gone."""

TELLING_MS = 50
"""Kept free before the deadline, so that who waits until then hears why Redis did not answer."""

REPEATABLE_MS = 120_000
"""How long a write is remembered: longer than all attempts together can take."""

SCAN_COUNT = 1_000
"""Keys that one step of a scan looks at: about a millisecond, in which Redis serves nobody else."""

PAGE_ITEMS, PAGE_BYTES = 500, 1_048_576
"""Of one step of a query, during which Redis serves nobody else: about a millisecond."""


def connect(target: Target, settings: Settings, clock: Clock) -> RedisStore:
    """Make a store of what a URL names. Nothing is sent yet."""
    nodes = Nodes(target, clock, settings.environ)
    return RedisStore(nodes, target.prefix, clock, SystemRandom(), time.sleep)


class RedisStore:
    """`ports.Store` over Redis. Threads share it."""

    def __init__(
        self,
        nodes: Nodes,
        prefix: str,
        clock: Clock,
        random: Random,
        sleep: Callable[[float], None],
    ) -> None:
        self._nodes = nodes
        self._prefix = prefix
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._shown: dict[tuple[str, str], set[str]] = {}

    def get(self, key: Key, *, deadline_ms: int) -> Item | None:
        """Return the item, or None when there is none."""
        rules.check_key(key)
        keys = Keys.of(self._prefix, key.pk)
        fields = self._send(scripts.GET, (keys.items + key.sk,), (), deadline_ms)
        return items.decode_item(key, fields)

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
        """Return the partition's items whose sort key begins with `prefix`, page by page."""
        rules.check_prefix(pk, prefix)
        keys = Keys.of(self._prefix, pk)
        end = rules.prefix_end(prefix)
        low = b"[" + items.to_bytes(first or prefix) if first or prefix else b"-"
        high = b"+" if end is None else b"(" + items.to_bytes(end)
        order, root = b"down" if reverse else b"up", items.to_bytes(keys.items)
        found: list[Item] = []
        while limit is None or len(found) < limit:
            count = PAGE_ITEMS if limit is None else min(PAGE_ITEMS, limit - len(found))
            numbers = (str(count).encode(), str(PAGE_BYTES).encode())
            arguments = (low, high, order, root, *numbers)
            last, *page = self._send(scripts.QUERY, (keys.order,), arguments, deadline_ms)
            for sk, fields in zip(*[iter(page)] * 2, strict=True):
                item = items.decode_item(Key(pk, sk.decode()), fields)
                if item is not None:
                    found.append(item)
            if not last:
                break
            low, high = (low, b"(" + last) if reverse else (b"(" + last, high)
        return found

    def outline(self, pk: str, *, deadline_ms: int) -> list[Item]:
        """Return all items of a partition."""
        return self.query(pk, "", deadline_ms=deadline_ms)

    def put_if(self, put: Put, *, deadline_ms: int) -> None:
        """Write one item if its condition holds."""
        self._write([put], deadline_ms)

    def add_if(self, add: Add, *, deadline_ms: int) -> Item:
        """Change one item if its condition holds, and return it as it is then."""
        item = items.decode_item(add.key, self._write([add], deadline_ms, way=b"answer"))
        if item is None:
            message = f"{self._nodes.name} answered an addition with nothing; it was done."
            raise WriteUncertainError(message)
        return item

    def transact(self, actions: Sequence[Action], *, token: str, deadline_ms: int) -> None:
        """Do all of it or nothing."""
        rules.check_transaction(actions, token)
        self._write(actions, deadline_ms, token=token)

    def delete(self, key: Key, *, deadline_ms: int, condition: Condition = ALWAYS) -> None:
        """Remove an item, if there is one."""
        self._write([Check(key, condition)], deadline_ms, way=b"free")

    def scan(self, prefix: str, sk: str, *, cursor: str = "", deadline_ms: int) -> Page:
        """Return a page of the items under one sort key, in all partitions of a prefix.

        Redis may show a key twice while its table grows, so it is remembered what was shown.
        """
        rules.check_scan(prefix, sk)
        pattern = items.to_bytes(Keys.scanned(self._prefix, prefix, sk))
        shown = self._shown.pop((prefix, sk), set()) if cursor else set()
        names, following = self._attempt(
            lambda patience: self._nodes.scan(pattern, SCAN_COUNT, cursor, patience),
            f"scan on Redis at {self._nodes.name}",
            deadline_ms,
        )
        found = []
        for name in dict.fromkeys(names):
            pk = Keys.partition(self._prefix, name.decode(), sk)
            item = None if pk in shown else self.get(Key(pk, sk), deadline_ms=deadline_ms)
            if item is not None:
                shown.add(pk)
                found.append(item)
        if following:
            self._shown[prefix, sk] = shown
        return Page(found, following)

    def reopen(self) -> None:
        """Drop connections that a freeze may have killed, and open one beside the caller."""
        self._nodes.reopen()

    def close(self) -> None:
        """Close the connections."""
        self._nodes.close()

    def _write(
        self,
        actions: Sequence[Action],
        deadline_ms: int,
        *,
        token: str = "",
        way: bytes = b"",
    ) -> list[bytes]:
        """Run actions in one step; return the fields of the one that is to be answered."""
        deletes = way == b"free"
        encoded = [
            part for action in actions for part in items.encode_action(action, deletes=deletes)
        ]
        partitions = [Keys.of(self._prefix, rules.key_of(action).pk) for action in actions]
        names = [
            name
            for action, keys in zip(actions, partitions, strict=True)
            for name in (keys.items + rules.key_of(action).sk, keys.order)
        ]
        remembered = rules.TOKEN_LIFETIME_MS if token else REPEATABLE_MS
        fingerprint = rules.fingerprint(actions) if token else ""
        names.append(partitions[0].token(token or urandom(8).hex()))
        arguments = (*items.head(fingerprint, remembered, way), *encoded)
        outcome, *rest = self._send(
            scripts.WRITE,
            tuple(names),
            arguments,
            deadline_ms,
            writes=True,
            partitions=len(set(partitions)),
        )
        if outcome == scripts.DONE:
            return list(rest[0])
        raise _failure(actions, outcome, rest)

    def _send(
        self,
        script: Script,
        names: tuple[str, ...],
        arguments: tuple[bytes, ...],
        deadline_ms: int,
        *,
        writes: bool = False,
        partitions: int = 1,
    ) -> Any:
        """Run a script until it answers."""
        keys = tuple(items.to_bytes(name) for name in names)

        def run(patience: Patience) -> Any:
            if partitions > 1 and self._nodes.learn(patience):
                raise _two_slots(self._nodes.name)
            return self._nodes.run(script, keys, arguments, patience)

        what = f"{script.name} on Redis at {self._nodes.name}"
        return self._attempt(run, what, deadline_ms, writes=writes)

    def _attempt(
        self,
        ask: Callable[[Patience], Any],
        what: str,
        deadline_ms: int,
        *,
        writes: bool = False,
    ) -> Any:
        """Ask as often as it takes, and return the answer; all that we ask is repeatable."""
        patience = Patience(
            self._clock, deadline_ms - TELLING_MS, CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS
        )
        lost, attempt = False, 0
        while True:
            try:
                return ask(patience)
            except AnswerLostError as error:
                lost, said = writes, error.detail
            except (NotSentError, DeadlineError) as error:
                said = error.detail
            except RefusedError as error:
                refusal = error.refusal
                said = f"{what}: {refusal.message} {refusal.advice}".rstrip()
                if refusal.outcome != Outcome.AGAIN:
                    raise _told(StoreRefusedError, said, lost=lost) from error
            wait = self._delay(attempt, patience)
            if wait is None:
                raise _told(StoreUnavailableError, said, lost=lost)
            attempt += 1
            self._sleep(wait)

    def _delay(self, attempt: int, patience: Patience) -> float | None:
        """Return how long to wait before the next attempt (full jitter), None for no more."""
        if attempt + 1 >= ATTEMPTS_MAX:
            return None
        wait = self._random.uniform(0, min(DELAY_MAX_SECONDS, FIRST_DELAY_SECONDS * 2**attempt))
        return wait if wait < patience.left_seconds() else None


def _told(kind: type[StoreError], said: str, *, lost: bool) -> StoreError:
    return WriteUncertainError(f"It may have been written. {said}") if lost else kind(said)


def _failure(actions: Sequence[Action], outcome: bytes, rest: list[Any]) -> StoreError:
    """Make the error of what the script refused; nothing was written."""
    if outcome == scripts.FAILED:
        current: list[Item | None] = [None] * len(actions)
        for number, fields in zip(*[iter(rest)] * 2, strict=True):
            current[number - 1] = items.decode_item(rules.key_of(actions[number - 1]), fields)
        return rules.condition_failed(actions, current, rest[0] - 1)
    if outcome == scripts.OTHER_TOKEN:
        return StoreRefusedError("The transaction's token was used for another transaction.")
    key = rules.key_of(actions[rest[0] - 1])
    if outcome == scripts.TOO_LARGE:
        return rules.too_large(key)
    if outcome == scripts.NO_NUMBER:
        return StoreRefusedError(
            f"{rest[1].decode()!r} of {key.pk}/{key.sk} is no number to add to."
        )
    return StoreRefusedError("A stored number has at most 38 digits.")


def _two_slots(name: str) -> OnePartitionError:
    return OnePartitionError(
        f"{name} is a Redis cluster, which cannot write to two partitions in one transaction: "
        "keep them apart, or use one Redis, or DynamoDB. Nothing was written."
    )
