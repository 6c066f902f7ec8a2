"""What runs of chains promise holds over every store."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from fakes import open_runs
from fakes.every_store import SLOW_OVER_MOTO
from fakes.open_runs import COST, Model, Owner, done, reply
from lambdallm_extension import errors
from lambdallm_extension.settings import SystemClock

if TYPE_CHECKING:
    pass

pytestmark = SLOW_OVER_MOTO
LARGE = '"' + "x" * 900_000 + '"'


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> str:
    """Give each test a run of its own: servers are shared."""
    run_id = uuid.uuid4().hex
    monkeypatch.setattr(open_runs, "RUN_ID", run_id)
    monkeypatch.setattr(open_runs, "PK", f"RUN#{run_id}")
    return run_id


def owner(store: Any, model: Model, name: str = "e1") -> Owner:
    return Owner(store, SystemClock(), model, name)


def step(of: Owner, run: Any, key: str, output: str = '"out"') -> Any:
    asked = of.ask(run, key)
    asked.call.settle(COST, reply(asked.call, output))
    return done(key, reply(asked.call), output=output)


def test_a_run_with_large_texts_is_interrupted_and_gone_on_with(store: Any) -> None:
    model = Model()
    one, two = owner(store, model), owner(store, model, "e2")
    run, _ = one.open(input=LARGE)
    first = step(one, run, "a", LARGE)
    run.store_steps([first])
    asked = one.ask(run, "b")
    asked.call.settle(COST, reply(asked.call, LARGE))
    run.release()

    run, opened = two.open()
    assert opened["input"] == LARGE
    assert [each["output"] for each in opened["steps"]] == [LARGE]
    answer = two.ask(run, "b")
    assert answer["text"] == LARGE
    run.close("completed", [done("b", answer, output=LARGE)], output=LARGE)

    told = one.open()[1]
    assert (told["status"], told["output"]) == ("completed", LARGE)
    assert (told["cost_pico_usd"], model.asked) == (2 * COST, ["a", "b"])


def test_of_resumers_at_once_one_has_the_run_and_each_step_one_result(store: Any) -> None:
    model, gate, taken = Model(), threading.Barrier(4), []
    one = owner(store, model)
    run, _ = one.open()
    run.close("interrupted", [step(one, run, "a")])

    def resume(number: int) -> None:
        other = owner(store, model, f"r{number}")
        gate.wait()
        try:
            run, opened = other.open()
        except errors.RunBusyError:
            return
        if opened["status"] == "running":  # not when it was completed already
            taken.append(opened["attempt"])
            run.close("completed", [step(other, run, "b")])

    threads = [threading.Thread(target=resume, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert taken == [2]
    assert sorted(model.asked) == ["a", "b"]
    assert one.read()["status"] == "completed"


def test_a_run_that_was_taken_over_writes_nothing_more(store: Any) -> None:
    model = Model()
    one, two = owner(store, model), owner(store, model, "e2")
    run, _ = one.open(claim="c")
    late = one.ask(run, "a")
    taken, _ = two.open(claim="c")
    taken.store_steps([step(two, taken, "a")])

    with pytest.raises(errors.RunLostError, match="at attempt 2"):
        one.ask(run, "b", finished=[done("a", output='"other"')])
    late.call.settle(COST, reply(late.call))

    costs = taken.close("completed", [])
    told = one.read()
    assert [each["output"] for each in told["steps"]] == ['"out"']
    assert (costs["regenerated"], told["cost_pico_usd"], told["unknown_calls"]) == (1, 2 * COST, 0)


def test_two_threads_of_one_attempt_ask_and_store_at_once(store: Any) -> None:
    model = Model()
    one = owner(store, model)
    run, _ = one.open()

    def work(number: int) -> None:
        for each in range(3):
            run.store_steps([step(one, run, f"m/{number}/{each}")])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    run.close("completed", [])
    told = one.read()
    assert (len(told["steps"]), told["cost_pico_usd"]) == (12, 12 * COST)
