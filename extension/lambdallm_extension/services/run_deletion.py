"""Deleting a run for good, while an attempt of it may be under way.

    HEAD stopped ──► records of its calls, steps, calls, texts ──► until nothing is left ──► HEAD
       └── whoever has it open is refused its next write; nobody begins it anew before the deadline

Killed in between and called again, it goes on.
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import ABSENT, ALWAYS, Add, Condition, Key
from lambdallm_extension.services import run_items
from lambdallm_extension.services.deletions import Deletions, calls_of, records_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock, Item, Store, Value
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.runs import DeletedRun

DELETED = "It was deleted."


class RunDeletion:
    """Deletes one run."""

    def __init__(
        self, store: Store, workers: Workers, clock: Clock, pk: str, *, deadline_ms: int
    ) -> None:
        """Name it by its partition; nothing is read yet."""
        self._store = store
        self._clock = clock
        self._pk = pk
        self._deadline_ms = deadline_ms
        self._deletions = Deletions(store, workers, clock, deadline_ms=deadline_ms)

    def run(self) -> DeletedRun:
        """Delete it, whatever is left of it, with the records of its model calls.

        Raises:
            StoreError: Not all of it may be gone; the same call goes on.
        """
        if not self._outline():
            return {"found": False, "items": 0, "calls": 0}
        stopped = self._stop()
        items = calls = 0
        while True:
            doomed = [item for item in self._outline() if item.key.sk != keys.HEAD]
            if not doomed:
                break
            made = {call_id for item in doomed for call_id in calls_of(item)}
            self._deletions.delete([(key, ALWAYS) for each in made for key in records_of(each)])
            self._deletions.delete([(item.key, ALWAYS) for item in doomed])
            items, calls = items + len(doomed), calls + len(made)
        self._deletions.delete([(Key(self._pk, keys.HEAD), stopped)])
        return {"found": True, "items": items + 1, "calls": calls}

    def _stop(self) -> Condition:
        """Refuse its owner, and whoever would begin it; return how its head stands then."""
        standing: dict[str, Value] = {
            "status": "stopped",
            "error": DELETED,
            "at": self._clock.epoch_ms(),
        }
        stop: dict[str, Value] = {**standing, "leased_until": 0}
        until = self._deadline_ms // 1_000 + 1  # a new run would be deleted with this one
        key = Key(self._pk, keys.HEAD)
        while True:
            head = next((item for item in self._outline() if item.key.sk == keys.HEAD), None)
            if head is None:
                stopping = Add(key, assign={**run_items.SCHEMA, **stop}, condition=ABSENT)
            else:
                stopping = Add(key, assign=stop, condition=_as_it_stands(head))
            try:
                self._store.add_if(
                    stopping._replace(expires_at=until), deadline_ms=self._deadline_ms
                )
            except errors.ConditionFailedError:
                continue  # it has gone on meanwhile
            return Condition(equals=standing)

    def _outline(self) -> list[Item]:
        return self._store.outline(self._pk, deadline_ms=self._deadline_ms)


def _as_it_stands(head: Item) -> Condition:
    """Return what holds of a head until somebody writes it: of a damaged one, what it has."""
    told = ("attempt", "status", "leased_until", "steps", "at")
    return Condition(
        absent=False,
        equals={name: head.attributes[name] for name in told if name in head.attributes},
    )
