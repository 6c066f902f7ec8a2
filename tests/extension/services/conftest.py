"""One unit of work's session at a time, over the memory store and a clock set by hand."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from fakes.clocks import START_MS, HandClock
from lambdallm_extension import errors
from lambdallm_extension.ports import Action, Item, Key
from lambdallm_extension.services.sessions import SessionWork
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.stores.memory import MemoryStore
from lambdallm_wire.sessions import SessionRule, Turn


class FaultyStore(MemoryStore):
    """The memory store behind faults that a test plants, in front of one operation each."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.lost_answers = 0
        self.unsent = False
        self.reads_fail = False
        self.requests: list[str] = []
        self.before_transact: list[Callable[[], None]] = []
        self.transactions: list[list[Action]] = []

    def get(self, key: Key, *, deadline_ms: int) -> Item | None:
        if self.reads_fail:
            raise errors.StoreUnavailableError("The table is throttled; try again.")
        self.requests.append("get")
        return super().get(key, deadline_ms=deadline_ms)

    def query(
        self, pk: str, prefix: str, *, first: str = "", reverse: bool = False,
        limit: int | None = None, deadline_ms: int,
    ) -> list[Item]:  # fmt: skip
        if self.reads_fail:
            raise errors.StoreUnavailableError("The table is throttled; try again.")
        self.requests.append("query")
        return super().query(
            pk, prefix, first=first, reverse=reverse, limit=limit, deadline_ms=deadline_ms
        )

    def transact(self, actions: Sequence[Action], *, token: str, deadline_ms: int) -> None:
        if self.before_transact:
            self.before_transact.pop(0)()
        if self.unsent and not self.lost_answers:
            raise errors.StoreUnavailableError("No time left; nothing was sent.")
        super().transact(actions, token=token, deadline_ms=deadline_ms)
        self.transactions.append(list(actions))
        if self.lost_answers:
            self.lost_answers -= 1
            raise errors.WriteUncertainError("The answer was lost.")

    def partition(self, session_id: str = "s") -> dict[str, Item]:
        items = self.query(f"SESSION#{session_id}", "", deadline_ms=0)
        return {item.key.sk: item for item in items}


class Sessions:
    """Begins units of work in one session."""

    def __init__(self, durability: str = "before_response") -> None:
        self.durability = durability
        self.clock = HandClock()
        self.store = FaultyStore(self.clock)
        self.workers = Workers()
        self._numbers = count(1)

    def begin(
        self, identity: str = "", *, session_id: str = "s", ttl_seconds: int = 3_600,
        max_messages: int | None = None, after: Any = None, **more: Any,
    ) -> SessionWork:  # fmt: skip
        number = next(self._numbers)
        rule: SessionRule = {
            "session_id": session_id,
            "identity": identity or f"event-{number}",
            "ttl_seconds": ttl_seconds,
            "memory": {"strategy": "full_history"}
            if max_messages is None
            else {"strategy": "sliding_window", "max_messages": max_messages},
            "durability": self.durability,  # type: ignore[typeddict-item]
        }
        if after is not None:
            rule["after"] = after
        return SessionWork(
            rule, nonce=str(number), store=self.store, workers=self.workers,
            clock=self.clock, deadline_ms=lambda: self.clock.now_ms + 5_000, **more,
        )  # fmt: skip

    def say(self, *turns: tuple[str, str], identity: str = "", **rule: object) -> SessionWork:
        """Run one event that says these turns, and save it."""
        work = self.begin(identity, **rule)  # type: ignore[arg-type]
        work.append([turn(role, content) for role, content in turns], metadata=None, clear=False)
        work.save(5)
        return work

    def seen(self, **rule: object) -> list[object]:
        """Return what a new event sees."""
        return [turn["content"] for turn in self.begin(**rule).window()["turns"]]  # type: ignore[arg-type]


def turn(role: str, content: object) -> Turn:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": START_MS}


@pytest.fixture(params=["before_response", "after_response"])
def sessions(request: pytest.FixtureRequest) -> Sessions:
    return Sessions(request.param)
