"""Deleting a session for good, while others may be writing in it.

    HEAD hides all there is ──► exchanges ──► records of their calls ──► turns, vectors, summary ─┐
                  ▲                                                                               │
                  └────────────────── until nothing of before is left ◄───────────────────────────┘

The head comes first and stays, hiding every number given out so far: whatever is not deleted yet
can no longer be read, and the next exchange begins a new session. Then the exchanges: each write
has the condition that its exchange stands as it was, so that a writer who is late is refused. What
he wrote before that is found by the next look. Killed in between and called again, it goes on.

Writers who come between reading the head and hiding it do not hold it up: what is hidden is more
than has been counted, by a margin that doubles each time, and they only have to stay within it.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import ABSENT, ALWAYS, PRESENT, Condition, Item, Key, Put
from lambdallm_extension.services import hidden_sessions
from lambdallm_extension.services.deletions import Deletions, calls_of, records_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_extension.ports import Clock, Store
    from lambdallm_extension.services.tasks import Workers

ATTEMPTS_MAX = 12
"""To hide the head; the last margin is larger than what any writers do between two requests."""


class Deletion(NamedTuple):
    """What was deleted: items of the session, and ids of calls whose records are gone."""

    items: int
    calls: int


class SessionDeletion:
    """Deletes one session."""

    def __init__(
        self, store: Store, workers: Workers, clock: Clock, pk: str, *, deadline_ms: int
    ) -> None:
        """Name it; nothing is read yet."""
        self._store = store
        self._clock = clock
        self._pk = pk
        self._deadline_ms = deadline_ms
        self._deletions = Deletions(store, workers, clock, deadline_ms=deadline_ms)

    def run(self, *, records: bool = True) -> Deletion | None:
        """Delete it; None when there is nothing of it.

        Args:
            records: Whether its calls' records go with it; else they are left.

        Raises:
            StoreError: Not all of it may be gone. It cannot be read any more, or nothing has been
                done; either way the same call goes on.
        """
        found = self._query()
        if not any(_is_content(item) for item in found):
            return None
        return self.sweep(self._hide(found), records=records)

    def sweep(self, hidden: int, *, records: bool) -> Deletion:
        """Delete what the head hides.

        Args:
            hidden: The last exchange's number.
            records: As in `run`.

        Raises:
            StoreError: Not all of it may be gone; the same call goes on.
        """
        deleted = calls = 0
        while True:
            doomed = [item for item in self._query() if hidden_sessions.number_of(item) <= hidden]
            doomed = [item for item in doomed if item.key.sk != keys.HEAD]
            if not doomed:
                return Deletion(deleted, calls)
            exchanges = [item for item in doomed if item.key.sk.startswith(keys.EXCHANGE_PREFIX)]
            others = [item for item in doomed if not item.key.sk.startswith(keys.EXCHANGE_PREFIX)]
            self._deletions.delete([(item.key, _still(item)) for item in exchanges])
            made = [call_id for item in others if records for call_id in calls_of(item)]
            self._deletions.delete(
                [(key, ALWAYS) for call_id in made for key in records_of(call_id)]
            )
            self._deletions.delete([(item.key, ALWAYS) for item in others])
            deleted, calls = deleted + len(doomed), calls + len(made)

    def _hide(self, found: Sequence[Item]) -> int:
        """Let the head hide all exchanges so far; return the last number that it hides."""
        head = next((item for item in found if item.key.sk == keys.HEAD), None)
        highest: int = max(map(hidden_sessions.number_of, found))
        for attempt in range(ATTEMPTS_MAX):
            counted = 0 if head is None else head.attributes.get("exchanges")
            numbered = isinstance(counted, int)
            last = max(counted if isinstance(counted, int) else 0, highest) + (1 << attempt)
            if head is None:
                standing = ABSENT
            elif numbered:
                standing = Condition(absent=False, at_most={"exchanges": last})
            else:
                standing = PRESENT
            hidden = {**hidden_sessions.hiding(last), **hidden_sessions.kept(head)}
            expired = self._clock.epoch_ms() // 1_000
            put = Put(Item(Key(self._pk, keys.HEAD), hidden, expired), standing)
            try:
                self._store.put_if(put, deadline_ms=self._deadline_ms)
            except (errors.ConditionFailedError, errors.WriteUncertainError):
                head = self._head()
            else:
                return last
        message = "Too many writers in this session at once. Nothing was deleted; try again."
        raise errors.StoreUnavailableError(message)

    def _head(self) -> Item | None:
        """Read the head alone, which may be damaged, and be among thousands of items."""
        return self._store.get(Key(self._pk, keys.HEAD), deadline_ms=self._deadline_ms)

    def _query(self) -> list[Item]:
        return self._store.outline(self._pk, deadline_ms=self._deadline_ms)


def _is_content(item: Item) -> bool:
    """Say whether anything is to be deleted: a head that hides everything is what remains."""
    return item.key.sk != keys.HEAD or not hidden_sessions.is_deleted(item)


def _still(item: Item) -> Condition:
    """The exchange is the one that was found: another delivery may begin one under its name."""
    number = item.attributes.get("number")
    return Condition(equals={"number": number}) if isinstance(number, int) else ALWAYS
