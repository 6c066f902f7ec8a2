"""A run's questions: asked once under its lease and its limit, and what was answered is kept."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fakes.clocks import HandClock
from fakes.faulty_store import FaultyStore
from fakes.open_runs import COST, MODEL, MOST, PK, Asked, Model, Owner, done, record, reply
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.ports import Key, Put
from lambdallm_extension.services.open_streams import Partial
from lambdallm_extension.stores.memory import MemoryStore


class Bench:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.inner = MemoryStore(self.clock)
        self.store = FaultyStore(self.inner)
        self.model = Model()
        self.owner = Owner(self.store, self.clock, self.model, reading=self.inner)

    def again(self, **message: Any) -> Any:
        """Open it anew, when the lease of the last one is over; return the run."""
        self.clock.now_ms += 60_000
        return self.owner.open(**message)[0]

    def calls(self) -> list[tuple[str, int, int, str]]:
        return [
            (call["step"], call["attempt"], call["number"], call["state"])
            for call in self.owner.read()["calls"]
        ]

    def settle(self, asked: Asked, text: str = "said") -> None:
        asked.call.settle(COST, reply(asked.call, text))  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_step_before_and_the_intent_are_one_request(bench: Bench) -> None:
    run, _ = bench.owner.open()
    asked = bench.owner.ask(run, "a")
    bench.settle(asked)
    sent: list[Any] = []
    transact = bench.inner.transact
    bench.inner.transact = lambda actions, **how: (  # type: ignore[method-assign]
        sent.append([action[0] for action in actions]),
        transact(actions, **how),
    )

    bench.owner.ask(run, "b", finished=[done("a", reply(asked.call))])

    (actions,) = sent
    names = [getattr(each, "key", each).sk for each in actions]
    assert names[:3] == ["HEAD", "STEP#a", "CALL#b#1.0"]


def test_what_was_answered_is_not_asked_again_by_the_next_attempt(bench: Bench) -> None:
    run, _ = bench.owner.open()
    bench.settle(bench.owner.ask(run, "a"), "the first")
    run.release()

    run = bench.again()
    answer = bench.owner.ask(run, "a")

    assert answer["text"] == "the first"
    assert bench.model.asked == ["a"]
    costs = run.close("completed", [done("a", answer)])
    assert (costs["cost_pico_usd"], costs["lost_pico_usd"], costs["regenerated"]) == (COST, 0, 0)


def test_another_question_is_asked_and_counted(bench: Bench) -> None:
    run, _ = bench.owner.open()
    bench.settle(bench.owner.ask(run, "a"))
    run.release()

    run = bench.again()
    asked = bench.owner.ask(run, "a", temperature=1)

    bench.settle(asked)
    costs = run.close("completed", [done("a", reply(asked.call))])
    assert (costs["cost_pico_usd"], costs["lost_pico_usd"]) == (2 * COST, COST)
    assert costs["regenerated"] == 1


def test_who_asks_twice_in_one_attempt_gets_two_answers_and_the_next_one_both(
    bench: Bench,
) -> None:
    run, _ = bench.owner.open()
    for number, text in enumerate(("one", "two")):
        bench.settle(bench.owner.ask(run, "a", number), text)
    bench.owner.ask(run, "a", 2)  # not answered
    run.release()

    run = bench.again()
    texts = [bench.owner.ask(run, "a", number)["text"] for number in (0, 1)]
    assert texts == ["one", "two"]
    bench.settle(bench.owner.ask(run, "a", 2), "three")
    run.release()

    run = bench.again()
    texts = [bench.owner.ask(run, "a", number)["text"] for number in (0, 1, 2)]
    assert texts == ["one", "two", "three"]
    assert len(bench.model.asked) == 4
    assert run.books.costs()["regenerated"] == 1


def test_an_answer_after_the_attempt_was_let_go_is_found_by_the_next(bench: Bench) -> None:
    run, _ = bench.owner.open()
    asked = bench.owner.ask(run, "a")
    run.keep_partials()
    run.release()
    assert bench.calls() == [("a", 1, 0, "intent")]

    bench.settle(asked, "late")

    assert bench.calls() == [("a", 1, 0, "answered")]
    assert bench.owner.ask(bench.again(), "a")["text"] == "late"


def test_an_answer_while_the_attempt_is_let_go_is_found_by_the_next(bench: Bench) -> None:
    run, _ = bench.owner.open()
    asked = bench.owner.ask(run, "a")
    bench.store.plan = ["between"]
    bench.store.between = lambda: bench.settle(asked, "meanwhile")

    run.release()

    assert bench.owner.ask(bench.again(), "a")["text"] == "meanwhile"


def test_a_partial_that_arrives_late_is_not_taken_for_the_answer(bench: Bench) -> None:
    run, _ = bench.owner.open()
    asked = bench.owner.ask(run, "a")
    bench.store.plan = ["late"]
    asked.call.cut(None, "the beg")
    with pytest.raises(errors.WriteUncertainError):
        run.keep_partials()
    bench.settle(asked, "the beginning and the end")
    run.release()

    bench.store.arrive()

    assert bench.owner.ask(bench.again(), "a")["text"] == "the beginning and the end"


def test_nothing_is_written_of_a_run_that_was_deleted(bench: Bench) -> None:
    run, _ = bench.owner.open()
    asked = bench.owner.ask(run, "a")
    Owner(bench.inner, bench.clock, bench.model).archive().delete("r", "")

    bench.settle(asked)
    with pytest.raises(errors.RunLostError):
        run.release()

    assert bench.inner.query(PK, keys.GENERATION_PREFIX, deadline_ms=0) == []


def test_an_intent_that_nobody_knows_of_asked_nobody(bench: Bench) -> None:
    run, _ = bench.owner.open()
    bench.store.plan = ["late", "late", "late"]
    with pytest.raises(errors.WriteUncertainError):
        bench.owner.ask(run, "a")
    bench.store.arrive()
    assert bench.calls() == [("a", 1, 0, "intent")]

    run.release()

    assert bench.calls() == [("a", 1, 0, "failed")]
    assert bench.model.asked == []


def test_an_intent_whose_answer_was_lost_is_written_once(bench: Bench) -> None:
    run, _ = bench.owner.open()
    bench.settle(bench.owner.ask(run, "a"))
    bench.store.plan = ["lost"]

    bench.owner.ask(run, "b", finished=[done("a")])

    head = bench.inner.get(Key(PK, keys.HEAD), deadline_ms=0)
    assert head is not None
    assert head.attributes["steps"] == 1


def test_a_step_that_is_sent_again_stays_as_it_was_stored_first(bench: Bench) -> None:
    run, _ = bench.owner.open()
    bench.store.plan = ["lost", "lost", "lost"]
    with pytest.raises(errors.WriteUncertainError):
        run.store_steps([done("a", output='"first"')])

    run.store_steps([done("a", output='"second"'), done("b")])

    told = bench.owner.read()
    assert {step["key"]: step["output"] for step in told["steps"]} == {
        "a": '"first"', "b": '"out"',
    }  # fmt: skip
    assert run.books.steps["a"]["output"] == '"first"'


@pytest.mark.parametrize("steps", [99, 100, 250])
def test_more_steps_than_one_transaction_takes(bench: Bench, steps: int) -> None:
    run, _ = bench.owner.open()
    finished = [done(f"m/{number:04d}") for number in range(steps)]

    asked = bench.owner.ask(run, "a", finished=finished)
    bench.settle(asked)
    run.close("completed", [*finished[:5], done("a", reply(asked.call))])

    told = bench.owner.read()
    assert len(told["steps"]) == steps + 1
    head = bench.inner.get(Key(PK, keys.HEAD), deadline_ms=0)
    assert head is not None
    assert head.attributes["steps"] == steps + 1


def test_many_answers_are_written_when_an_attempt_ends(bench: Bench) -> None:
    run, _ = bench.owner.open()
    for number in range(120):
        bench.settle(bench.owner.ask(run, f"m/{number:04d}"))

    run.release()

    assert {state for *_, state in bench.calls()} == {"answered"}
    assert bench.owner.read()["status"] == "interrupted"


class TestALimit:
    def test_counts_earlier_attempts_and_what_nobody_knows(self, bench: Bench) -> None:
        limit = MOST + COST + MOST - 1
        run, _ = bench.owner.open(max_cost_pico_usd=limit)
        bench.owner.ask(run, "a")  # its sidecar is killed
        run = bench.again(max_cost_pico_usd=limit)
        bench.settle(bench.owner.ask(run, "a"))

        with pytest.raises(errors.BudgetExceededError, match="can cost") as refused:
            bench.owner.ask(run, "b")

        assert refused.value.to_problem()["source"] == "run"
        assert len(bench.model.asked) == 2
        run.release()
        assert ("b", 2, 0) not in [call[:3] for call in bench.calls()]

    def test_has_room_for_one_of_two_at_once(self, bench: Bench) -> None:
        run, _ = bench.owner.open(max_cost_pico_usd=2 * MOST - 1)
        gate, outcomes = threading.Barrier(2), []

        def ask(step: str) -> None:
            gate.wait()
            try:
                bench.owner.ask(run, step)
                outcomes.append("asked")
            except errors.BudgetExceededError:
                outcomes.append("refused")

        threads = [threading.Thread(target=ask, args=(step,)) for step in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["asked", "refused"]

    def test_of_an_intent_that_was_not_written_nothing_is_held(self, bench: Bench) -> None:
        run, _ = bench.owner.open(max_cost_pico_usd=MOST)
        bench.store.plan = ["throttled"]
        with pytest.raises(errors.StoreUnavailableError):
            bench.owner.ask(run, "a")

        bench.owner.ask(run, "a", 1)

    def test_refuses_what_nobody_knows_the_price_of(self, bench: Bench) -> None:
        run, _ = bench.owner.open(max_cost_pico_usd=10**9)
        call = bench.owner.call(run, "a")

        with pytest.raises(errors.BudgetExceededError, match=r"cost\.prices"):
            call.intend(MODEL, None, record(call.call_id))


class TestACutAnswer:
    def cut(self, bench: Bench, run: Any, text: str, *, model: str = MODEL) -> Any:
        """Ask, let so much come of the answer, and kill the function."""
        call = bench.owner.call(run, "a")
        before = call.continue_partial()
        call.intend(model, MOST, record(call.call_id))
        answer = AnswerSoFar(model="m")
        answer.add_text(0, text)
        bench.owner.streams.add(Partial(call.call_id, _work_of(bench), answer), object())  # type: ignore[arg-type]
        run.keep_partials()
        run.release()
        return before

    def test_is_gone_on_with_from_everything_that_was_said(self, bench: Bench) -> None:
        run, _ = bench.owner.open()
        assert self.cut(bench, run, "Once upon ") == ""
        assert self.cut(bench, bench.again(), " a time") == "Once upon"

        call = bench.owner.call(bench.again(), "a")

        assert call.continue_partial() == "Once upon a time"

    def test_is_begun_anew_by_a_model_that_cannot_go_on(self, bench: Bench) -> None:
        run, _ = bench.owner.open()
        self.cut(bench, run, "Once upon")
        other = "bedrock/anthropic.claude-opus-4-6"
        self.cut(bench, bench.again(), "There was", model=other)

        call = bench.owner.call(bench.again(), "a")

        assert call.continue_partial() == "There was"

    def test_is_told_with_its_cost(self, bench: Bench) -> None:
        run, _ = bench.owner.open()
        asked = bench.owner.ask(run, "a")
        asked.call.cut(COST, "Once")
        run.release()

        told = bench.owner.read()

        assert (told["unknown_calls"], told["cost_pico_usd"], told["lost_pico_usd"]) == (
            0, COST, COST,
        )  # fmt: skip


def _work_of(bench: Bench) -> str:
    head = bench.inner.get(Key(PK, keys.HEAD), deadline_ms=0)
    assert head is not None
    return str(head.attributes["work"])


def test_a_damaged_generation_is_refused_with_words(bench: Bench) -> None:
    run, _ = bench.owner.open()
    bench.owner.ask(run, "a")
    run.release()
    (item,) = bench.inner.query(PK, keys.GENERATION_PREFIX, deadline_ms=0)
    damaged = item._replace(attributes={**item.attributes, "reserved_pico_usd": "much"})
    bench.inner.put_if(Put(damaged), deadline_ms=0)

    with pytest.raises(errors.StoreRefusedError, match=r"CALL#a#1\.0 of run 'r' is damaged"):
        bench.again()
