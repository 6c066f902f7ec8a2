"""Deleting a run: killed at any step, while somebody has it open, or wants it anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.open_runs import PK, Model, Owner, done, reply
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.services.run_deletion import RunDeletion
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.stores.memory import MemoryStore

ALLOWED_MS = 5_000
OPERATIONS = ("get", "query", "outline", "put_if", "delete", "transact", "add_if")


class KilledError(BaseException):
    """The process that deletes is gone."""


class Watched:
    """A store that calls `before(number)` in front of each operation of whoever deletes."""

    def __init__(self, store: Any, before: Callable[[int], None]) -> None:
        self._store = store
        self._before = before
        self.number = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in OPERATIONS:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self.number += 1
            self._before(self.number)
            return found(*arguments, **named)

        return call


class Place:
    """A store, a clock, and an owner of runs in it."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = MemoryStore(self.clock)
        self.owner = Owner(self.store, self.clock, Model())

    def begin(self) -> Any:
        """Leave a run with a finished step, and a question whose answer is out."""
        run, _ = self.owner.open()
        asked = self.owner.ask(run, "a")
        answer = reply(asked.call)
        asked.call.settle(70, answer)
        run.store_steps([done("a", answer)])
        self.owner.ask(run, "b")
        return run

    def delete(self, before: Callable[[int], None] = lambda _: None) -> Any:
        watched: Any = Watched(self.store, before)
        deadline_ms = self.clock.now_ms + ALLOWED_MS
        return RunDeletion(watched, Workers(), self.clock, PK, deadline_ms=deadline_ms).run()

    def left(self) -> list[Key]:
        records = self.store.scan(keys.call_pk(""), keys.CALL, deadline_ms=self.clock.now_ms + 99)
        return [
            item.key for item in [*self.store.outline(PK, deadline_ms=0), *records.items]
        ]  # fmt: skip


@pytest.fixture
def place() -> Place:
    return Place()


def test_all_of_it_goes_and_is_counted(place: Place) -> None:
    place.begin()

    assert place.delete() == {"found": True, "items": 5, "calls": 2}
    assert place.left() == []
    assert place.delete() == {"found": False, "items": 0, "calls": 0}


def test_killed_at_any_step_it_goes_on(place: Place) -> None:
    steps = 0
    killed = True
    while killed:
        steps, killed = steps + 1, False
        run = place.begin()

        def kill(number: int, last: int = steps) -> None:
            if number >= last:
                raise KilledError

        try:
            place.delete(kill)
        except KilledError:
            killed = True
            place.delete()
        assert place.left() == []
        with pytest.raises(errors.RunLostError):
            run.store_steps([done("b")])
        assert place.left() == []
    assert steps > 5


def test_whoever_has_it_open_writes_nothing_from_its_first_step_on(place: Place) -> None:
    refused: list[bool] = []
    run = place.begin()

    def write(number: int) -> None:
        if number > 3:  # the head is read twice, then it is stopped
            with pytest.raises(errors.RunLostError):
                run.close("completed", [done("b")], output='"out"')
            refused.append(True)

    place.delete(write)

    assert refused
    assert place.left() == []


def test_what_comes_of_a_stream_too_late_is_not_kept(place: Place) -> None:
    run, _ = place.owner.open()
    asked = place.owner.ask(run, "a")
    place.delete()

    asked.call.cut(None, "half of what it sa")
    run.keep_partials()

    assert place.left() == []


def test_nobody_begins_it_anew_while_it_is_being_deleted(place: Place) -> None:
    found: list[str] = []
    place.begin()

    def open_again(number: int) -> None:
        if number > 3 and place.store.get(Key(PK, keys.HEAD), deadline_ms=0) is not None:
            found.append(place.owner.open()[1]["status"])

    place.delete(open_again)

    assert {*found} == {"stopped"}
    assert place.left() == []
    assert place.owner.open()[1]["attempt"] == 1


def test_a_deletion_that_died_lets_a_new_one_begin_when_its_time_is_over(place: Place) -> None:
    place.begin()

    def kill(number: int) -> None:
        if number == 5:
            raise KilledError

    with pytest.raises(KilledError):
        place.delete(kill)
    assert place.owner.open()[1]["status"] == "stopped"

    place.clock.now_ms += ALLOWED_MS + 1_000
    run, opened = place.owner.open()

    assert (opened["status"], opened["attempt"], opened["steps"]) == ("running", 1, [])
    asked = place.owner.ask(run, "a")
    answer = reply(asked.call)
    run.close("completed", [done("a", answer)], output='"out"')
    assert [step["key"] for step in place.owner.read()["steps"]] == ["a"]


def test_a_damaged_run_is_deleted_too(place: Place) -> None:
    place.begin()
    damaged = Item(Key(PK, keys.HEAD), {"schema": 999, "attempt": "x"}, 4_000_000_000)
    place.store.put_if(Put(damaged), deadline_ms=0)

    assert place.delete()["found"]
    assert place.left() == []


def test_an_attempt_that_begins_meanwhile_is_ended(place: Place) -> None:
    run = place.begin()
    run.close("interrupted", [])
    opened: list[Any] = []

    def open_once(number: int) -> None:
        if number == 3:
            opened.append(place.owner.open()[0])

    place.delete(open_once)

    with pytest.raises(errors.RunLostError):
        opened[0].store_steps([done("b")])
    assert place.left() == []
