"""Calls at once: their order, their bound, and what a failure leaves undone."""

from contextvars import ContextVar
from threading import Barrier, Event
from typing import Any

import pytest

from lambdallm import _at_once

_here: ContextVar[str] = ContextVar("_here", default="nowhere")


class WaitsError(Exception):
    """As a chain's that waits: not a failure."""

    tokens = {"a": "token"}  # noqa: RUF012 - as the chain's has them


def fail() -> None:
    raise ValueError("It does not work.")


@pytest.mark.parametrize("concurrency", [1, 2, 8, 99])
def test_results_are_in_order(concurrency: int) -> None:
    outcomes = _at_once.run([lambda n=n: n * 2 for n in range(20)], concurrency)  # type: ignore[misc]

    assert [outcome.value for outcome in outcomes] == [2 * number for number in range(20)]


def test_as_many_run_at_once_as_it_says() -> None:
    meet = Barrier(4, timeout=10)

    assert len(_at_once.run([meet.wait] * 4, 4)) == 4


def test_nothing_is_nothing() -> None:
    assert _at_once.run([], 4) == []


def test_after_a_failure_nothing_is_begun_and_what_runs_is_waited_for() -> None:
    done: list[int] = []
    begun, failed = Event(), Event()

    def long() -> str:
        begun.set()
        assert failed.wait(10)
        return "done"

    def fail_beside() -> None:
        assert begun.wait(10)
        failed.set()
        fail()

    calls: list[Any] = [long, fail_beside]
    outcomes = _at_once.run(calls, 2)
    later = _at_once.run([fail, *[lambda: done.append(1)] * 9], 1)

    assert outcomes[0].value == "done"
    assert isinstance(outcomes[1].error, ValueError)
    assert (done, later[5].value, later[5].error) == ([], None, None)


def test_one_that_waits_holds_up_nobody() -> None:
    def wait() -> None:
        raise WaitsError

    outcomes = _at_once.run([wait, lambda: 1], 1)

    assert isinstance(outcomes[0].error, WaitsError)
    assert outcomes[1].value == 1


def test_calls_see_the_callers_context() -> None:
    token = _here.set("there")
    try:
        outcomes = _at_once.run([_here.get] * 6, 3)
    finally:
        _here.reset(token)

    assert {outcome.value for outcome in outcomes} == {"there"}
