"""Deleting many items, several at once, and where the records of a model call are."""

from __future__ import annotations

from functools import partial

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Condition, Key
from lambdallm_extension.services.hedging import RECORD_SUFFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_extension.ports import Clock, Item, Store
    from lambdallm_extension.services.tasks import Workers

    Doomed = tuple[Key, Condition]

AT_ONCE_MAX = 16
"""Deletions under way at once: half of the threads that there are."""


class Deletions:
    """Deletes from one store until a deadline."""

    def __init__(self, store: Store, workers: Workers, clock: Clock, *, deadline_ms: int) -> None:
        """Stand on these; the deadline is in epoch milliseconds."""
        self._store = store
        self._workers = workers
        self._clock = clock
        self._deadline_ms = deadline_ms

    def delete(self, doomed: Sequence[Doomed]) -> None:
        """Delete items of which their condition still holds.

        Raises:
            StoreError: Not all of them may be gone.
        """
        for start in range(0, len(doomed), AT_ONCE_MAX):
            batch = doomed[start : start + AT_ONCE_MAX]
            tasks = [self._workers.start(partial(self._delete_one, *each)) for each in batch]
            for task in tasks:
                task.wait((self._deadline_ms - self._clock.epoch_ms()) / 1_000)

    def _delete_one(self, key: Key, condition: Condition) -> None:
        try:
            self._store.delete(key, condition=condition, deadline_ms=self._deadline_ms)
        except errors.ConditionFailedError:
            return  # it is gone, or another one by now: the next look says which


def calls_of(item: Item) -> list[str]:
    """Return the calls that an item names; of one that is damaged, what can be read."""
    calls = item.attributes.get("calls")
    listed = [*calls] if isinstance(calls, (list, tuple)) else []
    return [
        call for call in (*listed, item.attributes.get("call")) if call and isinstance(call, str)
    ]


def records_of(call_id: str) -> list[Key]:
    """Return where a call's record is, and that of the model that was asked beside it, if any."""
    return [Key(keys.call_pk(each), keys.CALL) for each in (call_id, call_id + RECORD_SUFFIX)]
