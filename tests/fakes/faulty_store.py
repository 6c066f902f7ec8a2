"""A store behind faults that are planned one operation ahead, and a reader that is no snapshot.

Each operation takes the next fault of the plan, none when it is empty:

    throttled   StoreUnavailableError, nothing done
    unsent      WriteUncertainError, nothing done: a read is throttled
    lost        done, and WriteUncertainError: the answer was lost
    late        WriteUncertainError, and done at some later time (`arrive`)
    between     something else happens first: in a query between its turns and its head
"""

from __future__ import annotations

import contextlib
from functools import partial
from random import Random
from threading import Lock
from typing import TYPE_CHECKING, Any

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key

if TYPE_CHECKING:
    from collections.abc import Callable

FAULTS = ("", "throttled", "unsent", "lost", "late", "between")


class FaultyStore:
    """`ports.Store` around another one."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.plan: list[str] = []
        self.between: Callable[[], None] = lambda: None
        self._late: list[Callable[[], None]] = []

    def next_fault(self) -> str:
        """Return what happens to the next operation."""
        return self.plan.pop(0) if self.plan else ""

    @property
    def has_late(self) -> bool:
        """Whether a write is still to arrive."""
        return bool(self._late)

    def arrive(self) -> None:
        """Let the oldest late write arrive; it may be refused by now."""
        if self._late:
            write = self._late.pop(0)
            with contextlib.suppress(errors.StoreError):
                write()

    def get(self, key: Key, *, deadline_ms: int) -> Any:
        self._read_fault()
        return self._store.get(key, deadline_ms=deadline_ms)

    def query(self, pk: str, prefix: str, **how: Any) -> Any:
        fault = self._read_fault()
        if fault != "between" or how.get("first") != keys.HEAD:
            return self._store.query(pk, prefix, **how)
        turns = self._store.query(pk, prefix, **{**how, "first": ""})
        self._happen()
        head = self._store.get(Key(pk, keys.HEAD), deadline_ms=how["deadline_ms"])
        limit = how.get("limit")
        return [*turns, *([] if head is None else [head])][:limit]

    def transact(self, actions: Any, *, token: str, deadline_ms: int) -> None:
        self._write(partial(self._store.transact, actions, token=token, deadline_ms=deadline_ms))

    def add_if(self, add: Any, *, deadline_ms: int) -> Any:
        return self._write(partial(self._store.add_if, add, deadline_ms=deadline_ms))

    def put_if(self, put: Any, *, deadline_ms: int) -> None:
        self._write(partial(self._store.put_if, put, deadline_ms=deadline_ms))

    def _read_fault(self) -> str:
        fault = self.next_fault()
        if fault in ("throttled", "unsent"):
            raise errors.StoreUnavailableError("The table is throttled; try again.")
        return fault

    def _write(self, write: Callable[[], Any]) -> Any:
        fault = self.next_fault()
        if fault == "between":
            self._happen()
        if fault == "throttled":
            raise errors.StoreUnavailableError("The table is throttled; try again.")
        if fault == "unsent":
            raise errors.WriteUncertainError("No answer.")
        if fault == "late":
            self._late.append(write)
            raise errors.WriteUncertainError("No answer.")
        done = write()
        if fault == "lost":
            raise errors.WriteUncertainError("The answer was lost.")
        return done

    def _happen(self) -> None:
        """Let what is planned happen, in the middle of an operation and without faults itself."""
        plan, self.plan = self.plan, []
        happen, self.between = self.between, lambda: None
        happen()
        self.plan = plan


class ChanceStore(FaultyStore):
    """A store of which one operation in five is throttled, for many threads at once.

    Of the writes, one in twenty more is done and its answer lost, one in fifty not even done.
    """

    def __init__(self, store: Any, seed: int) -> None:
        super().__init__(store)
        self._lock, self._chance = Lock(), Random(seed)
        self.quiet = False

    def next_fault(self) -> str:
        with self._lock:
            lot = self._chance.random()
        if self.quiet:
            return ""
        bounds = ((0.2, "throttled"), (0.25, "lost"), (0.27, "unsent"))
        return next((fault for bound, fault in bounds if lot < bound), "")
