"""A move of a session `s`, step by step, and whatever comes in front of each of its operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes.clocks import START_MS
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.services.session_archive import SessionArchive
from lambdallm_extension.services.session_moves import SessionMove
from lambdallm_extension.services.sessions import SessionWork

if TYPE_CHECKING:
    from collections.abc import Callable

TO = "jwt:x|ada"
STEPS_MAX = 300
OPERATIONS = ("get", "query", "outline", "put_if", "add_if", "delete", "transact")


class KilledError(BaseException):
    """The process that moves is gone."""


class Watched:
    """A store that calls `before(number)` in front of each operation of whoever moves."""

    def __init__(self, store: Any, before: Callable[[int], None]) -> None:
        self._store = store
        self._before = before
        self._number = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in OPERATIONS:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._number += 1
            self._before(self._number)
            return found(*arguments, **named)

        return call


def nothing(_: int) -> None:
    """Happen, or rather not."""


def move(
    sessions: Any,
    before: Callable[[int], None] = nothing,
    *,
    owners: tuple[str, str] = ("", TO),
    between: Callable[[], None] = lambda: None,
) -> Any:
    """Move the session whole, as the command does; return the last step."""
    store, cursor = Watched(sessions.store, before), ""
    while True:
        one = SessionMove(
            store,
            sessions.workers,
            sessions.clock,
            "s",  # type: ignore[arg-type]
            owners=owners,
            deadline_ms=sessions.clock.now_ms + 5_000,
        )
        step = one.step(cursor)
        cursor = step.cursor
        if step.outcome != "moving":
            return step
        between()


def said(role: str, content: str) -> Any:
    return {"role": role, "content": content, "metadata": {}, "at_epoch_ms": START_MS}


def say(sessions: Any, *texts: str, owner: str = "", identity: str = "", **more: Any) -> None:
    """Run an event that says these, and is told that they are stored."""
    work = sessions.begin(identity, **more)
    if owner:
        work = begin_of(sessions, owner, identity)
    turns = [said(("user", "assistant")[number % 2], text) for number, text in enumerate(texts)]
    work.append(turns, metadata=None, clear=False)
    work.save(5)


def begin_of(sessions: Any, owner: str, identity: str = "") -> Any:
    work = sessions.begin(identity)
    rule = {**work._rule, "principal": owner}
    return SessionWork(
        rule,
        nonce=f"n{work._rule['identity']}{owner}",
        store=sessions.store,
        workers=sessions.workers,
        clock=sessions.clock,
        deadline_ms=lambda: sessions.clock.now_ms + 5_000,
    )


def seen(sessions: Any, owner: str = "") -> list[Any]:
    work = begin_of(sessions, owner) if owner else sessions.begin()
    return [turn["content"] for turn in work.window()["turns"]]


def archive(sessions: Any) -> SessionArchive:
    return SessionArchive(
        sessions.store, sessions.workers, sessions.clock, deadline_ms=sessions.clock.now_ms + 5_000
    )


def items_of(sessions: Any, owner: str = "") -> dict[str, Item]:
    pk = keys.session_pk("s", owner)
    return {item.key.sk: item for item in sessions.store.query(pk, "", deadline_ms=0)}


def fill(sessions: Any, count: int = 3) -> list[str]:
    texts = []
    for number in range(count):
        say(sessions, f"q{number}", f"a{number}", identity=f"old-{number}")
        texts += [f"q{number}", f"a{number}"]
    work = sessions.begin("old-metadata")
    work.append([said("user", "q"), said("assistant", "a")], metadata={"plan": 1}, clear=False)
    work.save(5)
    vector = {"schema": 1, "steps": "", "model": "m", "turns": 2}
    key = Key(keys.session_pk("s"), keys.vector_sk(1))
    sessions.store.put_if(Put(Item(key, vector)), deadline_ms=0)
    return [*texts, "q", "a"]
