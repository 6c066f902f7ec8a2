"""A run is opened by one attempt at a time, and goes on only as what it began as."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.faulty_store import FaultyStore
from fakes.open_runs import COST, MOST, PK, RUN_ID, Model, OwnClock, Owner, declared, done, reply
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key, Put
from lambdallm_extension.stores.memory import MemoryStore


class Bench:
    """Two environments with clocks of their own."""

    def __init__(self) -> None:
        self.time = HandClock()
        self.inner = MemoryStore(self.time)
        self.store = FaultyStore(self.inner)
        self.model = Model()
        self.one, self.two = (
            Owner(self.store, OwnClock(self.time), self.model, name, reading=self.inner)
            for name in ("e1", "e2")
        )

    def head(self) -> Any:
        item = self.inner.get(Key(PK, keys.HEAD), deadline_ms=0)
        assert item is not None
        return item

    def do(self, owner: Owner, run: Any, step: str, **more: Any) -> Any:
        """Do a step as a handler does; return it, as it is to be stored."""
        asked = owner.ask(run, step, **more)
        response = reply(asked.call)
        asked.call.settle(COST, response)
        return done(step, response)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_run_goes_on_where_it_was_interrupted(bench: Bench) -> None:
    run, opened = bench.one.open()
    assert (opened["status"], opened["attempt"], opened["steps"]) == ("running", 1, [])
    first = bench.do(bench.one, run, "a")
    asked = bench.one.ask(run, "b", finished=[first])
    asked.call.fail(lost=False)
    run.close("interrupted", [])

    _, opened = bench.two.open(input='"ignored"')

    assert (opened["attempt"], opened["input"]) == (2, '"in"')
    assert [(step["key"], step["attempt"]) for step in opened["steps"]] == [("a", 1)]
    assert opened["cost_pico_usd"] == COST
    assert (opened["unknown_calls"], opened["regenerated"]) == (0, 0)


def test_what_is_completed_is_told_and_nothing_is_opened(bench: Bench) -> None:
    run, _ = bench.one.open()
    run.close("completed", [bench.do(bench.one, run, "a")], output='"end"')
    work = bench.two.work()

    _, opened = bench.two.open(work)

    assert (opened["status"], opened["output"], opened["attempt"]) == ("completed", '"end"', 1)
    assert not work.runs


def test_a_lease_holds_until_its_owner_must_be_gone(bench: Bench) -> None:
    bench.one.open(bench.one.work(lasts_ms=10_000))

    with pytest.raises(errors.RunBusyError) as busy:
        bench.two.open()
    assert busy.value.retry_after_seconds == 10 + 2 + 1 + 1

    bench.time.now_ms += 13_999
    with pytest.raises(errors.RunBusyError):
        bench.two.open()
    bench.time.now_ms += 1
    assert bench.two.open()[1]["attempt"] == 2


def test_an_owner_that_lives_but_is_slow_asks_nobody_when_its_lease_is_over(bench: Bench) -> None:
    run, _ = bench.one.open(bench.one.work(lasts_ms=10_000))
    bench.time.now_ms += 12_000

    with pytest.raises(errors.RunLostError, match="lease"):
        bench.one.ask(run, "a")
    assert bench.model.asked == []
    run.release()  # it was not taken meanwhile
    assert bench.two.open()[1]["unknown_calls"] == 0


@pytest.mark.parametrize("which", ["monotonic", "boottime"])
def test_a_wall_clock_that_went_back_in_a_freeze_gives_no_more_time(
    bench: Bench, which: str
) -> None:
    run, _ = bench.one.open(bench.one.work(lasts_ms=10_000))
    setattr(bench.one.clock, which, lambda: bench.time.now_ms / 1_000 + 60)
    bench.one.clock.off_ms = -3_600_000

    with pytest.raises(errors.RunLostError):
        bench.one.ask(run, "a")


def test_a_store_that_took_too_long_leaves_no_question(bench: Bench) -> None:
    run, _ = bench.one.open(bench.one.work(lasts_ms=10_000))
    bench.store.plan = ["between"]
    bench.store.between = lambda: setattr(bench.time, "now_ms", bench.time.now_ms + 12_000)

    with pytest.raises(errors.RunLostError):
        bench.one.ask(run, "a")
    run.release()

    costs = bench.two.read()
    assert (costs["unknown_calls"], costs["cost_pico_usd"]) == (0, 0)
    assert [call["state"] for call in costs["calls"]] == ["failed"]


def test_the_fence_refuses_an_owner_that_trusts_its_clock(bench: Bench) -> None:
    run, _ = bench.one.open()
    step = bench.do(bench.one, run, "a")
    bench.two.clock.off_ms = 3_600_000  # it takes the first one for dead
    taken, _ = bench.two.open()

    with pytest.raises(errors.RunLostError, match="at attempt 2"):
        bench.one.ask(run, "b", finished=[step])
    assert bench.model.asked == ["a"]

    taken.close("completed", [bench.do(bench.two, taken, "a")])
    with pytest.raises(errors.RunLostError):
        run.close("completed", [step])
    told = bench.two.read()
    assert [each["attempt"] for each in told["steps"]] == [2]
    assert told["regenerated"] == 1


def test_a_call_that_was_on_its_way_is_counted_and_its_cost_known(bench: Bench) -> None:
    run, _ = bench.one.open()
    asked = bench.one.ask(run, "a")
    bench.two.clock.off_ms = 3_600_000
    taken, opened = bench.two.open()
    assert (opened["unknown_calls"], opened["cost_pico_usd"]) == (1, MOST)
    step = bench.do(bench.two, taken, "a")

    asked.call.settle(COST, reply(asked.call))  # thawed
    with pytest.raises(errors.RunLostError):
        run.store_steps([done("a", reply(asked.call), output='"other"')])
    run.release()  # which knows already that it is another attempt's
    costs = taken.close("completed", [step])

    assert (costs["regenerated"], bench.model.billed) == (1, 2 * COST)
    told = bench.two.read()
    assert [each["output"] for each in told["steps"]] == ['"out"']
    assert (told["unknown_calls"], told["cost_pico_usd"]) == (0, 2 * COST)


@pytest.mark.parametrize("resumers", [2, 8])
def test_of_resumers_at_once_one_has_the_run(bench: Bench, resumers: int) -> None:
    run, _ = bench.one.open()
    run.close("interrupted", [])
    gate, outcomes = threading.Barrier(resumers), []

    def resume(number: int) -> None:
        owner = Owner(bench.inner, bench.time, bench.model, f"r{number}")
        gate.wait()
        try:
            outcomes.append(owner.open()[1]["attempt"])
        except errors.RunBusyError:
            outcomes.append("busy")

    threads = [threading.Thread(target=resume, args=(number,)) for number in range(resumers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes, key=str) == [2, *["busy"] * (resumers - 1)]


def test_an_opening_whose_answer_was_lost_is_sent_again(bench: Bench) -> None:
    work = bench.one.work()
    bench.store.plan = ["lost"] * 3
    with pytest.raises(errors.WriteUncertainError):
        bench.one.open(work, claim="mine")

    run, opened = bench.one.open(work, claim="mine", attempts_max=1)

    assert opened["status"] == "running"
    bench.do(bench.one, run, "a")
    with pytest.raises(errors.RunBusyError):
        bench.two.open(claim="other")


def test_an_opening_that_is_answered_late_does_not_displace_a_later_one(bench: Bench) -> None:
    work = bench.one.work()
    transact, later = bench.inner.transact, []

    def slowly(actions: Any, **how: Any) -> None:
        transact(actions, **how)
        if not later:
            later.append(None)  # the same request comes again before this one is answered
            later[0] = bench.one.open(work, claim="c")[1]["attempt"]

    bench.inner.transact = slowly  # type: ignore[method-assign]
    run, opened = bench.one.open(work, claim="c")

    assert (opened["attempt"], later) == (1, [2])
    assert run.terms.attempt == 2
    bench.do(bench.one, run, "a")


def test_a_run_that_cannot_be_read_is_free_when_its_unit_ends(bench: Bench) -> None:
    bench.one.open()[0].close("interrupted", [])
    bench.inner.put_if(
        Put(Item(Key(PK, "STEP#a"), {"schema": 9, "life": bench.head().attributes["life"]})),
        deadline_ms=0,
    )
    work = bench.two.work()

    with pytest.raises(errors.StoreRefusedError, match="Update the layer"):
        bench.two.open(work)
    work.runs[RUN_ID].release()

    assert bench.head().attributes["status"] == "interrupted"


@pytest.mark.parametrize("head_is_gone", [False, True])
def test_nothing_of_an_expired_run_is_taken_for_the_next_ones(
    bench: Bench, head_is_gone: bool
) -> None:
    run, _ = bench.one.open(ttl_seconds=60)
    first = bench.do(bench.one, run, "a")
    run.close("completed", [first], output='"old"')
    before = bench.one.call(run, "a").call_id
    bench.time.now_ms += 120_000
    if head_is_gone:
        bench.inner.delete(Key(PK, keys.HEAD), deadline_ms=0)

    run, opened = bench.two.open(input='"new"')
    assert (opened["attempt"], opened["steps"], opened["input"]) == (1, [], '"new"')
    assert bench.two.call(run, "a").call_id != before
    step = {**bench.do(bench.two, run, "a"), "output": '"again"'}
    bench.do(bench.two, run, "b", finished=[step])
    run.close("interrupted", [])

    _, opened = bench.one.open()
    assert [step["output"] for step in opened["steps"]] == ['"again"']
    assert opened["output"] == "null"


def test_two_that_begin_over_an_expired_run_do_not_harm_each_other(bench: Bench) -> None:
    bench.one.open(ttl_seconds=60)[0].close("completed", [])
    bench.time.now_ms += 120_000
    bench.store.plan = ["", "between"]
    bench.store.between = lambda: bench.two.open(input='"two"')

    with pytest.raises(errors.RunBusyError):
        bench.one.open(input='"one"')
    assert bench.one.read()["input"] == '"two"'


def test_attempts_that_finish_nothing_are_given_up(bench: Bench) -> None:
    work = bench.one.work()
    for _ in range(5):
        bench.one.open()[0].close("interrupted", [])

    _, opened = bench.one.open(work)

    assert (opened["status"], work.stalled_runs) == ("failed", 1)
    assert "no progress" in opened["error"]
    assert not work.runs
    assert "Run stopped without progress: r" in bench.one.logged[0]


def test_looking_whether_a_wait_is_over_costs_no_attempt(bench: Bench) -> None:
    for _ in range(12):
        run, opened = bench.one.open(attempts_max=2)
        assert opened["status"] == "running"
        run.close("waiting", [], waits=[{"step": "ok", "kind": "approval", "secret": "s"}])


class TestAChangedChain:
    @pytest.fixture(autouse=True)
    def begun(self, bench: Bench) -> None:
        run, _ = bench.one.open(version="1")
        steps = [bench.do(bench.one, run, step) for step in ("a", "b")]
        run.close("interrupted", steps)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"name": "other"}, "chain 'report', not of 'other'"),
            ({"version": "2"}, "version '1', and this is version '2'"),
            (
                {"version": "2", "declared": declared("a", "x", "c")},
                "version '2' \\(step 2 was 'b', and is 'x' now\\)",
            ),
            ({"declared": declared("b", "a", "c")}, "step 1 was 'a', and is 'b' now"),
            ({"declared": declared("a", "x", "c")}, "step 2 was 'b', and is 'x' now"),
            ({"declared": declared("a", "b")}, "step 'c' is there no more"),
            ({"declared": declared("a", "b", "c", "d")}, "step 'd' is new"),
            (
                {"declared": [*declared("a", "b"), {"key": "c", "fingerprint": "f"}]},
                "step 'c' is declared otherwise",
            ),
            ({"version": "3", "migrations": {"2": {}}}, "version '1', and this is version '3'"),
        ],
    )
    def test_is_refused_and_the_difference_named(
        self, bench: Bench, change: Any, said: str
    ) -> None:
        before = bench.head()

        with pytest.raises(errors.StoreRefusedError, match=said):
            bench.two.open(**{"version": "1", **change})
        assert bench.head() == before

    @pytest.mark.parametrize(
        ("renamed", "outputs"),
        [
            ({}, {"a": 1, "b": 2}),
            ({"a": "x"}, {"x": 1, "b": 2}),
            ({"a": ""}, {"b": 2}),
            ({"a": "b", "b": "a"}, {"b": 1, "a": 2}),
            ({"a": "b", "b": "c"}, {"b": 1, "c": 2}),
            ({"a": "b", "b": ""}, {"b": 1}),
        ],
    )
    @pytest.mark.parametrize("cut_after", [0, 1, 2, None])
    def test_is_migrated_by_rule_however_often_it_is_interrupted(
        self, bench: Bench, renamed: Any, outputs: Any, cut_after: int | None
    ) -> None:
        # The attempt is the step's own: both were the first one's. Their calls tell them apart.
        calls = {step["key"]: step["calls"] for step in bench.one.read()["steps"]}
        expected = {name: calls["ab"[which - 1]] for name, which in outputs.items()}
        change = {"version": "2", "declared": declared("z"), "migrations": {"1": renamed}}
        if cut_after is not None:
            bench.store.plan = ["", "", *[""] * cut_after, *["throttled"] * 9]
            work = bench.two.work()
            try:
                bench.two.open(work, **change)
            except errors.StoreError:
                bench.store.plan = []
            bench.store.plan = []
            work.runs[RUN_ID].release()

        run, opened = bench.two.open(**change)

        assert {step["key"]: step["calls"] for step in opened["steps"]} == expected
        assert (opened["cost_pico_usd"], opened["unknown_calls"]) == (2 * COST, 0)
        if "a" not in expected:
            run.store_steps([done("a", output='"anew"')])
        run.close("interrupted", [])
        with pytest.raises(errors.StoreRefusedError, match="version '2'"):
            bench.one.open(version="1")
        after = bench.one.open(version="2", declared=declared("z"))[1]
        assert {step["key"] for step in after["steps"]} == {*expected, "a"}
        assert after["cost_pico_usd"] == 2 * COST

    def test_cannot_give_a_finished_steps_name_away(self, bench: Bench) -> None:
        with pytest.raises(errors.StoreRefusedError, match="'a' cannot become 'b'"):
            bench.two.open(version="2", migrations={"1": {"a": "b"}})
