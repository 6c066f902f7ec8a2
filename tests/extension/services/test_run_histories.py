"""Whatever happens to two owners of a run, a step has one result, and what was billed is told.

Owners open, ask, are answered, store, close, vanish with or without their sidecar, and go on after
they were taken for dead; clocks jump; operations of the store are throttled, lost, or come late.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from fakes.clocks import HandClock
from fakes.faulty_store import FAULTS, FaultyStore
from fakes.open_runs import COST, PK, Asked, Model, OwnClock, Owner, done, reply
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.stores.memory import MemoryStore

STEPS = ("a", "b", "c")
faults = st.just([]) | st.lists(
    st.sampled_from([each for each in FAULTS if each != "between"]), max_size=4
)
numbers = st.integers(0, 1_000)


class Attempt:
    """One attempt, as its handler sees it."""

    def __init__(self, owner: Owner, work: Any, run: Any, opened: Any) -> None:
        self.owner, self.work, self.run = owner, work, run
        self.done = {step["key"] for step in opened["steps"]}
        self.pending: list[Any] = []
        self.asked: Asked | None = None
        self.tried: set[str] = set()

    @property
    def next(self) -> str:
        return next((step for step in STEPS if step not in self.done), "")

    def take(self, step: str, response: Any) -> None:
        self.done.add(step)
        self.pending.append(done(step, response, output=f'"{self.work.work_id}"'))


class Histories(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.time = HandClock()
        self.inner = MemoryStore(self.time)
        self.store = FaultyStore(self.inner)
        self.model = Model()
        self.owners = [
            Owner(self.store, OwnClock(self.time), self.model, name, reading=self.inner)
            for name in ("e1", "e2")
        ]
        self.attempts: list[Attempt] = []
        self.late: list[Asked] = []
        self.lasts_ms = 0
        self.results: dict[str, Any] = {}
        self.doubted = False

    @contextlib.contextmanager
    def faulty(self, plan: list[str]) -> Any:
        self.store.plan = list(plan)
        self.doubted |= any(plan)
        try:
            yield
        finally:
            self.store.plan = []

    @initialize(lasts_ms=st.sampled_from([5_000, 60_000]))
    def begin(self, lasts_ms: int) -> None:
        self.lasts_ms = lasts_ms
        self.open(0, 0, [])

    @rule(which=numbers, after=st.sampled_from([0, 10, 70]), plan=faults)
    def open(self, which: int, after: int, plan: list[str]) -> None:
        self.time.now_ms += after * 1_000
        owner = self.owners[which % 2]
        work = owner.work(self.lasts_ms)
        try:
            with self.faulty(plan):
                run, opened = owner.open(work)
        except errors.StoreError:
            with contextlib.suppress(errors.StoreError):
                for run in work.runs.values():
                    run.release()
            return
        if opened["status"] == "running":
            self.attempts.append(Attempt(owner, work, run, opened))

    @rule(which=numbers, back=st.booleans())
    def take_over(self, which: int, back: bool) -> None:
        """One clock runs ahead, so that its owner takes the other one's run, who still lives."""
        self.jump(which, 3_600)
        self.open(which, 0, [])
        if back:
            self.jump(which, 0)

    @precondition(lambda self: any(each.next and not each.asked for each in self.attempts))
    @rule(which=numbers, plan=faults)
    def ask(self, which: int, plan: list[str]) -> None:
        able = [each for each in self.attempts if each.next and not each.asked]
        attempt = able[which % len(able)]
        step = attempt.next
        if step in attempt.tried:
            return
        attempt.tried.add(step)
        try:
            with self.faulty(plan):
                answer = attempt.owner.ask(attempt.run, step, finished=attempt.pending)
        except errors.StoreError:
            return
        attempt.pending = []
        if isinstance(answer, Asked):
            attempt.asked = answer
        else:
            attempt.take(step, answer)

    @precondition(lambda self: any(each.next and not each.asked for each in self.attempts))
    @rule(which=numbers)
    def go_on(self, which: int) -> None:
        """Do a step without any fault."""
        self.ask(which, [])
        if any(each.asked for each in self.attempts):
            self.answer(which)

    @precondition(lambda self: any(each.asked for each in self.attempts))
    @rule(which=numbers)
    def answer(self, which: int) -> None:
        waiting = [each for each in self.attempts if each.asked]
        attempt = waiting[which % len(waiting)]
        asked, attempt.asked = attempt.asked, None
        assert asked is not None
        response = reply(asked.call)
        asked.call.settle(COST, response)  # type: ignore[arg-type]
        attempt.take(asked.step, response)

    @precondition(lambda self: self.late)
    @rule(plan=faults)
    def answer_late(self, plan: list[str]) -> None:
        """A model answers whose function and attempt are gone."""
        asked = self.late.pop(0)
        with self.faulty(plan):
            asked.call.settle(COST, reply(asked.call))

    @precondition(lambda self: self.attempts)
    @rule(which=numbers, plan=faults)
    def flush(self, which: int, plan: list[str]) -> None:
        attempt = self.attempts[which % len(self.attempts)]
        try:
            with self.faulty(plan):
                attempt.run.store_steps(attempt.pending)
        except errors.StoreError:
            return
        attempt.pending = []

    @precondition(lambda self: any(not each.asked for each in self.attempts))
    @rule(which=numbers, plan=faults)
    def close(self, which: int, plan: list[str]) -> None:
        able = [each for each in self.attempts if not each.asked]
        attempt = able[which % len(able)]
        self.attempts.remove(attempt)
        status = "interrupted" if attempt.next else "completed"
        try:
            with self.faulty(plan):
                attempt.run.close(status, attempt.pending, output='"end"')
        except errors.StoreError:
            self.release(attempt, [])

    @precondition(lambda self: self.attempts)
    @rule(which=numbers, sidecar_lives=st.booleans(), plan=faults)
    def die(self, which: int, sidecar_lives: bool, plan: list[str]) -> None:
        attempt = self.attempts.pop(which % len(self.attempts))
        if not sidecar_lives:
            self.doubted = True
            return
        if attempt.asked:
            self.late.append(attempt.asked)
        self.release(attempt, plan)

    def release(self, attempt: Attempt, plan: list[str]) -> None:
        with self.faulty(plan), contextlib.suppress(errors.StoreError):
            attempt.run.keep_partials()
        with contextlib.suppress(errors.StoreError):
            attempt.run.release()

    @precondition(lambda self: self.store.has_late)
    @rule()
    def arrive(self) -> None:
        self.store.arrive()

    @rule(which=numbers, seconds=st.sampled_from([-3_600, -5, 0, 5, 3_600]))
    def jump(self, which: int, seconds: int) -> None:
        clock: Any = self.owners[which % 2].clock
        clock.off_ms = seconds * 1_000

    @invariant()
    def a_result_stays(self) -> None:
        for item in self.inner.query(PK, keys.STEP_PREFIX, deadline_ms=0):
            first = self.results.setdefault(item.key.sk, item.attributes)
            assert item.attributes == first

    def teardown(self) -> None:
        """Everybody who lives is answered and goes; what was billed is told then, or more."""
        for attempt in self.attempts:
            if attempt.asked:
                attempt.asked.call.settle(COST, reply(attempt.asked.call))
            self.release(attempt, [])
        for asked in self.late:
            asked.call.settle(COST, reply(asked.call))
        run = self.owners[0].read()
        if not run["found"]:
            assert not self.model.asked
            return
        assert run["cost_pico_usd"] >= self.model.billed
        again = sum(self.model.asked.count(step) - 1 for step in {*self.model.asked})
        assert run["regenerated"] >= again
        if not self.doubted:
            assert run["cost_pico_usd"] == self.model.billed
            assert run["unknown_calls"] == 0
            assert run["regenerated"] == again


def profile(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=40, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


TestHistories = Histories.TestCase
TestHistories.settings = profile(200)


@pytest.mark.slow
class TestManyHistories(Histories.TestCase):  # type: ignore[name-defined,misc]
    """The same, for longer."""

    settings = profile(1_500)
