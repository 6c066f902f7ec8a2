"""A session that comes in, from a file or from another owner, while others may speak there.

    nothing that lives ──► a head that hides all ──► nothing beside it ──► brought ──► it lives
                           and has a claim ◄── the condition of every write from there on

So who is late, or was overtaken by another one who brings a session here, changes nothing any more:
each beginning is a claim of its own. Items of before are overwritten first, under the claim, by one
that says so, and only such a one is deleted.
"""

from __future__ import annotations

import os
from functools import partial

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import ABSENT, Check, Condition, Item, Put
from lambdallm_extension.services import hidden_sessions, session_items
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambdallm_extension.ports import Clock, Key, Store, Value
    from lambdallm_extension.services.tasks import Workers

TOGETHER_MAX = 99
"""Items of one transaction: a hundred actions, and one is on the head."""

AT_ONCE_MAX = 16
"""Requests under way at once: half of the threads that there are."""

_SWEPT = "swept"

_NOTHING: Mapping[str, Value] = {
    "schema": names.ITEM_SCHEMA_VERSION,
    "void": True,
    "role": "assistant",
    "content": '""',
    "at": 0,
    "exchange": "",
    "number": 0,
    "turns": 0,
    "answered": False,
    "writer": "",
}
"""A turn that readers skip, and an exchange that no session holds: whoever comes by reads this."""


class Arrival:
    """Brings one session in."""

    def __init__(
        self, store: Store, workers: Workers, clock: Clock, head: Key, *, deadline_ms: int
    ) -> None:
        """Name its head; nothing is read yet."""
        self._store = store
        self._workers = workers
        self._clock = clock
        self._head = head
        self._deadline_ms = deadline_ms
        self._stands = ABSENT

    def begin(
        self, stood: Item | None, *, number: int = 0, seal: Mapping[str, Value] = {}
    ) -> str | None:
        """Let a head wait in the place of what stands there, and remove what is left of before.

        Args:
            stood: As it was read: none that lives.
            number: The last exchange of what is to come.
            seal: What the head says while it waits; without it, who speaks there begins a session
                of his own, and this one comes too late.

        Returns:
            The claim, None where somebody was first.

        Raises:
            StoreError: Nobody sees anything of it; begin again.
        """
        before = session_items.count_of(stood)
        condition = ABSENT
        if stood is not None:
            known = {
                name: stood.attributes[name]
                for name in ("claim", hidden_sessions.SEALED)
                if name in stood.attributes
            }
            condition = Condition(False, {"exchanges": before, **known})
        claim = os.urandom(16).hex()
        waiting = hidden_sessions.hiding(max(number, before + 1))
        item = Item(self._head, {**waiting, "claim": claim, **seal}, self._now())
        if not self._put(Put(item, condition)):
            return None
        self._stands = _stands(item)
        return claim if self._sweep(claim) else None

    def goes_on(self, claim: str) -> bool:
        """Say whether a claim still stands."""
        stood = self._store.get(self._head, deadline_ms=self._deadline_ms)
        if stood is None or stood.attributes.get("claim") != claim:
            return False
        self._stands = _stands(stood)
        return hidden_sessions.is_deleted(stood)

    def bring(self, items: Sequence[Item]) -> bool:
        """Put items in; False where the claim does not stand any more.

        Raises:
            StoreError: Some of them may be there; the same call goes on.
        """
        puts = [Put(item) for item in items]
        batches = [
            puts[start : start + TOGETHER_MAX] for start in range(0, len(puts), TOGETHER_MAX)
        ]
        return all(self._at_once([partial(self._together, batch) for batch in batches]))

    def publish(self, head: Item) -> bool:
        """Let the session live with this head; False where the claim does not stand any more."""
        return self._put(Put(head, self._stands))

    def _sweep(self, claim: str) -> bool:
        while True:
            found = self._store.outline(self._head.pk, deadline_ms=self._deadline_ms)
            left = [item.key for item in found if item.key.sk != keys.HEAD]
            if not left:
                return True
            nothing = {**_NOTHING, _SWEPT: claim}
            if not self.bring([Item(key, nothing, self._now()) for key in left]):
                return False
            self._at_once([partial(self._delete, key, claim) for key in left])

    def _delete(self, key: Key, claim: str) -> None:
        condition = Condition(False, {_SWEPT: claim})
        try:
            self._store.delete(key, condition=condition, deadline_ms=self._deadline_ms)
        except errors.ConditionFailedError:
            return  # somebody else has removed it, or brought something in its place

    def _together(self, puts: Sequence[Put]) -> bool:
        check = Check(self._head, self._stands)
        token = os.urandom(16).hex()
        try:
            self._store.transact([check, *puts], token=token, deadline_ms=self._deadline_ms)
        except errors.ConditionFailedError:
            return False
        return True

    def _put(self, put: Put) -> bool:
        try:
            self._store.put_if(put, deadline_ms=self._deadline_ms)
        except errors.ConditionFailedError:
            return False
        return True

    def _at_once(self, calls: Sequence[Callable[[], bool | None]]) -> list[bool | None]:
        done: list[bool | None] = []
        for start in range(0, len(calls), AT_ONCE_MAX):
            tasks = [self._workers.start(call) for call in calls[start : start + AT_ONCE_MAX]]
            done += [
                task.wait((self._deadline_ms - self._clock.epoch_ms()) / 1_000) for task in tasks
            ]
        return done

    def _now(self) -> int:
        return self._clock.epoch_ms() // 1_000


def _stands(head: Item) -> Condition:
    """Nobody has begun a session there, nor come with another one."""
    return Condition(
        False, {name: head.attributes[name] for name in ("claim", "exchanges", "first_exchange")}
    )
