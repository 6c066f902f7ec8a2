"""Chains in whole environments: killed, redelivered, out of time; the model says what was paid."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e import chain_function
from e2e.chain_function import (
    ASKING,
    FUNCTION,
    expected,
    message,
    poll,
    post,
    read,
    run_id,
    stored,
    stored_steps,
)
from fakes.chain_model import PIECES, WORDS, ChainModel
from fakes.waiting import until
from faults.processes import sidecar_pid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.conftest import Service, Start
    from fakes.chain_model import Billed


@pytest.fixture
def model() -> Iterator[ChainModel]:
    with ChainModel() as model:
        yield model


@pytest.fixture
def start(host: Start, layer: Path, dynamodb: Service, model: ChainModel) -> Callable[..., Any]:
    """Start the function in either emulator."""

    def start(**options: Any) -> Any:
        variables = chain_function.variables(dynamodb, model, **options.pop("variables", {}))
        return host(
            {"app.py": FUNCTION}, "app.serve", opt=layer, variables=variables,
            **{"timeout_seconds": 10, **options},
        )  # fmt: skip

    return start


def answer_of(invocation: Any) -> Any:
    logs = [line.text for line in invocation.logs]
    assert invocation.error_type is None, (invocation.payload, logs)
    assert b'"statusCode": 5' not in invocation.payload, logs
    return invocation.json()


def steps_asked(model: ChainModel, run: str) -> list[str]:
    return [each.step for each in model.of(run)]


@pytest.mark.parametrize("event", [post, message], ids=["http", "sqs"])
def test_a_redelivery_gets_the_stored_answer_and_nothing_is_paid(
    start: Callable[..., Any], model: ChainModel, dynamodb: Service, host: Start, event: Any
) -> None:
    run = f"again-{host.name}-{event.__name__}"
    with start() as environment:
        first, second = (answer_of(environment.invoke(event(run))) for _ in "ab")

    assert steps_asked(model, run) == [*ASKING]
    assert len(model.told) == 1
    assert (first["body"] if event is post else first) == expected(run)
    assert second == first
    assert stored_steps(dynamodb, run) == {*ASKING, "count"}


def answered(invocation: Any) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and body of an HTTP answer."""
    response = answer_of(invocation)
    body = response["body"]
    return (
        response["statusCode"],
        {name.lower(): value for name, value in response["headers"].items()},
        json.loads(body) if body.startswith("{") else body,
    )


def paid(model: ChainModel, run: str) -> int:
    return sum(each.pico_usd for each in model.of(run))


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, whether or not anybody has taken note of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Fatal:
    """Ends a process once, at a moment that the model sees."""

    def __init__(self, environment: Any, whom: str) -> None:
        self._environment = environment
        self._whom = whom
        self.done = threading.Event()

    def __call__(self, *_: object) -> None:
        if self.done.is_set():
            return
        pids = self._environment.pids
        pid = pids["runtime"] if self._whom == "runtime" else sidecar_pid(pids["lambdallm"])
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: is_gone(pid))
        self.done.set()


def at(step: str, action: Callable[..., object]) -> Callable[[Billed], None]:
    """Do something when a step's question arrives."""

    def before(billed: Billed) -> None:
        if billed.step == step:
            action()

    return before


def test_a_killed_function_goes_on_with_the_step_that_was_cut(
    start: Callable[..., Any], model: ChainModel, dynamodb: Service, host: Start
) -> None:
    """The model answers after the death: who has outlived it keeps the answer, and pays once."""
    run = f"killed-{host.name}"
    with start() as environment:
        model.before = at("draft", Fatal(environment, "runtime"))
        killed = environment.invoke(post(run))
        environment.wait_until_idle()
        kept = stored(dynamodb, run)
        assert killed.error_type == "Runtime.ExitError"
        assert kept["HEAD"]["leased_until"] == 0
        assert kept["HEAD"]["status"] == "interrupted"
        assert kept["CALL#draft#1.0"]["state"] == "answered"
        assert steps_asked(model, run) == ["plan", "draft"]
        status, _, body = answered(environment.invoke(post(run)))
        kept_run = read(environment, run)

    assert (status, body) == (200, expected(run))
    assert steps_asked(model, run) == [*ASKING]
    assert (kept_run["unknown_calls"], kept_run["regenerated"]) == (0, 0)
    assert kept_run["cost_pico_usd"] == paid(model, run)


def test_what_a_stream_has_said_is_kept_when_its_function_is_killed(
    start: Callable[..., Any], model: ChainModel, dynamodb: Service, host: Start
) -> None:
    """The whole answer is there in the end, because the stream is read on for its usage."""
    run = f"streamed-{host.name}"
    with start() as environment:
        fatal = Fatal(environment, "runtime")
        model.within = lambda _, number: fatal() if number == PIECES // 2 else None
        environment.invoke(post(run))
        environment.wait_until_idle()
        kept = stored(dynamodb, run)
        assert kept["CALL#long#1.0"]["state"] == "answered"
        assert answered(environment.invoke(post(run)))[2] == expected(run)
        kept_run = read(environment, run)

    assert steps_asked(model, run) == [*ASKING]
    assert kept_run["cost_pico_usd"] == paid(model, run)


def test_a_stream_that_is_slower_than_what_is_left_of_its_environment_goes_on_from_its_beginning(
    start: Callable[..., Any], model: ChainModel, dynamodb: Service, host: Start
) -> None:
    """The model stands still in the middle; another function asks it for the rest."""
    run = f"cut-{host.name}"
    over = threading.Event()
    with start(timeout_seconds=3) as environment:
        fatal = Fatal(environment, "runtime")

        def stand_still(_: Billed, number: int) -> None:
            if number == PIECES // 2 and not fatal.done.is_set():
                until(lambda: "answer" in stored(dynamodb, run)["CALL#long#1.0"])
                fatal()
                over.wait(30)

        model.within = stand_still
        model.pause = lambda: over.wait(0.05)  # type: ignore[method-assign]
        environment.invoke(post(run))
        environment.wait_until_idle()
        kept = stored(dynamodb, run)
        over.set()
        assert kept["CALL#long#1.0"]["state"] == "partial"
        begun = json.loads(kept["CALL#long#1.0"]["answer"])["text"]
        assert answered(environment.invoke(post(run)))[2] == expected(run)
        kept_run = read(environment, run)

    first, second = model.of(run, "long")
    assert (first.beginning, second.beginning) == ("", begun.rstrip())
    assert begun
    assert kept_run["regenerated"] == 1
    assert len([call for call in kept_run["calls"] if call["step"] == "long"]) == 2


@pytest.mark.parametrize("step", ["plan", "draft"])
def test_the_embedded_engine_goes_on_with_a_run_whose_sidecar_is_killed(
    start: Callable[..., Any], model: ChainModel, host: Start, step: str
) -> None:
    """The call that was under way may have been billed: it is listed, and asked again."""
    run = f"sidecar-{step}-{host.name}"
    with start() as environment:
        model.before = at(step, Fatal(environment, "sidecar"))
        status, _, body = answered(environment.invoke(post(run)))
        kept_run = read(environment, run)

    assert (status, body) == (200, expected(run))
    assert sorted(steps_asked(model, run)) == sorted([*ASKING, step])
    assert kept_run["unknown_calls"] == 1
    (lost,) = [call for call in kept_run["calls"] if call["state"] == "intent"]
    assert (lost["step"], lost["attempt"]) == (step, 1)
    assert kept_run["cost_pico_usd"] >= paid(model, run)


def test_a_chain_that_is_out_of_time_says_where_to_ask_and_goes_on(
    start: Callable[..., Any], model: ChainModel, host: Start
) -> None:
    run = f"late-{host.name}"
    with start(timeout_seconds=2, variables={"LINGERS": "yes"}) as environment:
        read(environment, run)  # Init takes nothing of the chain's time then
        status, headers, body = answered(environment.invoke(post(run)))
        assert (status, body["status"]) == (202, "in_progress")
        assert headers["x-lambdallm-run"] == body["run_id"] == run_id(run)
        assert int(headers["retry-after"]) >= 1
        status, _, polled = answered(environment.invoke(poll(headers["location"])))
        assert (status, polled["completed_steps"]) == (202, 4)
        resumed = {**post("another key"), "headers": {"x-lambdallm-run": run_id(run)}}
        status, _, body = answered(environment.invoke(resumed))
        assert (status, body) == (200, expected(run))
        status, _, polled = answered(environment.invoke(poll(headers["location"])))
        assert (status, polled["status"], polled["output"]) == (200, "completed", expected(run))

    assert steps_asked(model, run) == [*ASKING]
    assert len(model.told_of(run, "count")) == 1


@pytest.mark.parametrize(("strategy", "wanted"), [("fail-fast", 408), ("truncate", 200)])
def test_a_chain_that_is_out_of_time_fails_or_gives_what_there_is(
    start: Callable[..., Any], model: ChainModel, host: Start, strategy: str, wanted: int
) -> None:
    run = f"{strategy}-{host.name}"
    lingers = {"LINGERS": "yes", "STRATEGY": strategy}
    with start(timeout_seconds=2, variables=lingers) as environment:
        read(environment, run)  # Init takes nothing of the chain's time then
        status, headers, body = answered(environment.invoke(post(run)))

    assert status == wanted
    if strategy == "truncate":
        assert headers["x-lambdallm-run"] == run_id(run)
        assert body["status"] == "truncated"
        assert body["output"] == {"words": WORDS}
        assert [*body["outputs"]] == ["plan", "draft", "long", "count"]
    assert steps_asked(model, run) == ["plan", "draft", "long"]


def test_after_a_kill_a_chain_waits_for_its_sidecar(
    start: Callable[..., Any], model: ChainModel, host: Start
) -> None:
    """It loads only when it is woken then. A machine that is busy may start it too late, once."""
    runs = [f"witness-{number}-{host.name}" for number in range(3)]
    with start() as environment:
        for run in runs:
            model.before = at("draft", Fatal(environment, "runtime"))
            assert environment.invoke(post(run)).error_type == "Runtime.ExitError"
            environment.wait_until_idle()
            environment.invoke(post(run))
            environment.wait_until_idle()

    assert model.count_told("embedded") < len(runs)
