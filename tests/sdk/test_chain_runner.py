"""One attempt of a chain: what interrupts it, who else is at it, and how it is told."""

from threading import Event, Thread
from typing import Any

import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import Chain, ChainResult, Parallel, Step


def test_somebody_else_is_at_it(prompted: PromptedModel) -> None:
    begun, go_on = Event(), Event()
    results: list[ChainResult] = []

    def wait(values: dict[str, Any]) -> str:
        begun.set()
        assert go_on.wait(10)
        return "done"

    chain = Chain("c", [Step("a", func=wait), Step("b", "B")])
    first = Thread(target=lambda: results.append(chain.run(run_id="r")))
    first.start()
    assert begun.wait(10)
    try:
        with pytest.raises(lambdallm.StateError, match="under way in another invocation") as busy:
            chain.run(run_id="r")
    finally:
        go_on.set()
        first.join(10)

    assert busy.value.retryable
    assert busy.value.retry_after_seconds
    assert results[0].final_output == "<B>"
    assert chain.run(run_id="r").final_output == "<B>"
    assert prompted.prompts == ["B"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_raised_and_the_run_goes_on(
    interruption: type[BaseException], prompted: PromptedModel
) -> None:
    raised: list[bool] = []

    def stop(values: dict[str, Any]) -> str:
        if not raised:
            raised.append(True)
            raise interruption
        return "done"

    chain = Chain("c", [Step("a", "A"), Parallel("p", [Step("x", func=stop), Step("y", "Y")])])
    with pytest.raises(interruption):
        chain.run(run_id="r")
    result = chain.run(run_id="r")

    assert (result.status, result.attempt) == ("completed", 2)
    assert result.final_output == {"x": "done", "y": "<Y>"}
    assert sorted(prompted.prompts) == ["A", "Y"]


def test_a_failure_says_which_step_it_was(prompted: PromptedModel) -> None:
    def fail(values: dict[str, Any]) -> None:
        raise ValueError("It does not work.")

    branches = [Step("x", "X"), Step("y", func=fail, retry_count=0)]
    result = Chain("c", [Step("a", "A"), Parallel("p", branches, concurrency=1)]).run()

    assert [(step.name, step.error) for step in result.steps] == [
        ("a", None),
        ("p", "It does not work."),
    ]
    assert result.total_cost_pico_usd == prompted.billed_pico_usd


def test_a_run_without_progress_ends(prompted: PromptedModel) -> None:
    calls: list[int] = []

    def fail(values: dict[str, Any]) -> None:
        calls.append(1)
        raise ValueError("It does not work.")

    chain = Chain("c", [Step("a", func=fail, retry_count=0)])
    results = [chain.run(run_id="r") for _ in range(9)]

    assert {result.status for result in results} == {"failed"}
    assert "no progress" in str(results[-1].error)
    assert len(calls) < 9


def test_a_run_is_opened_so_often_at_most(prompted: PromptedModel) -> None:
    numbers = iter(range(99))

    def fail(values: dict[str, Any]) -> None:
        raise ValueError("It does not work.")

    steps = [Step("m", func=lambda values: next(numbers)), Step("a", func=fail, retry_count=0)]
    chain = Chain("c", steps, attempts_max=2)
    results = [chain.run(run_id="r") for _ in range(4)]

    assert "2 attempts were made" in str(results[-1].error)
    assert next(numbers) == 1


def test_attempts_count_on(prompted: PromptedModel) -> None:
    left = [2]

    def fail_twice(values: dict[str, Any]) -> str:
        if left[0]:
            left[0] -= 1
            raise ValueError("It does not work.")
        return "done"

    chain = Chain("c", [Step("a", "A"), Step("b", func=fail_twice, retry_count=0)])
    results = [chain.run(run_id="r") for _ in range(3)]

    assert [(result.attempt, result.status) for result in results] == [
        (1, "failed"), (2, "failed"), (3, "completed"),
    ]  # fmt: skip
    assert {result.total_cost_pico_usd for result in results} == {prompted.billed_pico_usd}
    assert [result.regenerated for result in results] == [0, 0, 0]


def test_a_completed_run_stays_so_whatever_the_bound_is_now(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", "A")])
    chain.run(run_id="r")

    again = Chain("c", [Step("a", "A")], max_total_cost=0).run(run_id="r")

    assert (again.status, again.final_output) == ("completed", "<A>")
