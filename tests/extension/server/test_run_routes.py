"""Runs over the engine's routes: what is refused, and what a function's death leaves."""

from __future__ import annotations

import json
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from fakes.asked_engine import Api
from lambdallm_wire import names, routes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = count(1)


class ChainApi(Api):
    """Asks as a chain does."""

    def begin_work(self, lasts_ms: int = 30_000, **more: Any) -> str:
        work = f"run-work-{next(_numbers)}"
        deadline_ms = round(time.time() * 1_000) + lasts_ms
        status, reply = self.ask(
            routes.BEGIN, wire_version=names.WIRE_VERSION, work_id=work, request_id=work,
            deadline_epoch_ms=deadline_ms, **more,
        )  # fmt: skip
        assert status == 200, reply
        return work

    def open_run(self, work: str, **more: Any) -> Any:
        return self.said(routes.OPEN_RUN, work_id=work, **{**RUN, **more})

    def said(self, route: routes.Route, **message: Any) -> Any:
        status, reply = self.ask(route, **message)
        assert status == 200, reply
        return reply

    def chat(self, work: str, step: str, text: str = "Hi", **more: Any) -> Any:
        return self.ask(routes.CHAT, **question(work, step, text, **more))


def question(work: str, step: str, text: str = "Hi", **more: Any) -> dict[str, Any]:
    run = {"run_id": "r", "step": step, **more.pop("run", {})}
    return {
        "work_id": work, "call_id": f"c-{next(_numbers)}", "run": run,
        "messages": [{"role": "user", "content": text}], **more,
    }  # fmt: skip


RUN = {"run_id": "r", "name": "report", "input": '"in"'}
STEP = {"key": "a", "output": '"x"'}


@pytest.fixture
def api() -> Iterator[ChainApi]:
    opened = ChainApi()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"run_id": ""}, "'run_id'"),
        ({"run_id": "a#b"}, "without '#'"),
        ({"run_id": "é"}, "ASCII"),
        ({"run_id": "x" * 257}, "A run id has"),
        ({"name": 1}, "'name'"),
        ({"declared": {}}, "'declared' cannot be a dict"),
        ({"declared": ["a"]}, "A declared step is an object"),
        ({"declared": [{"key": "a#b", "fingerprint": "f"}]}, "A step's key"),
        ({"declared": [{"key": "a", "fingerprint": ""}] * 1_001}, "at most 1,000 steps"),
        ({"declared": [{"key": "a", "fingerprint": "x" * 300_000}]}, "at most 262,144 bytes"),
        ({"attempts_max": 0}, "'attempts_max' must be more than 0"),
        ({"ttl_seconds": -1}, "'ttl_seconds' must be more than 0"),
        ({"max_cost_pico_usd": "much"}, "'max_cost_pico_usd'"),
        ({"migrations": {"1": ["a"]}}, "is an object of names"),
        ({"migrations": {"1": {"a": "b#"}}}, "A step's key"),
        ({"migrations": {"1": {"a": "x", "b": "x"}}}, "cannot become one"),
    ],
)
def test_what_opens_no_run_is_refused(api: ChainApi, wrong: dict[str, Any], said: str) -> None:
    status, problem = api.ask(routes.OPEN_RUN, work_id=api.begin_work(), **{**RUN, **wrong})

    assert (status, problem["code"]) == (400, "invalid_request")
    assert said in problem["detail"]
    assert api.said(routes.LIST_RUNS)["runs"] == []


@pytest.mark.parametrize(
    "finished",
    [
        {}, ["a"], [{"key": "a"}], [{"key": "a#", "output": ""}], [{**STEP, "calls": "abc"}],
        [{**STEP, "calls": [1]}], [{**STEP, "cost_pico_usd": 1.5}], [{**STEP, "usage": {"o": "1"}}],
        [{**STEP, "latency_ms": None}], [{**STEP, "model": 3}],
    ],
)  # fmt: skip
def test_steps_that_could_not_be_read_again_are_refused(api: ChainApi, finished: Any) -> None:
    work = api.begin_work()
    api.open_run(work)

    for route, more in ((routes.STORE_STEPS, {}), (routes.CLOSE_RUN, {"status": "completed"})):
        message = {"work_id": work, "run_id": "r", "finished": finished, **more}
        assert api.ask(route, **message)[0] == 400
    assert api.chat(work, "b", run={"finished": finished})[0] == 400
    assert api.said(routes.READ_RUN, run_id="r")["status"] == "running"


@pytest.mark.parametrize(
    "run", [1, {}, {"run_id": "r"}, {"run_id": "r", "step": "a", "number": -1}]
)
def test_a_question_says_which_run_and_step_it_is_of(api: ChainApi, run: Any) -> None:
    work = api.begin_work()
    api.open_run(work)

    assert api.ask(routes.CHAT, **{**question(work, "a"), "run": run})[0] == 400


def test_what_was_not_opened_here_is_refused(api: ChainApi) -> None:
    api.open_run(api.begin_work())
    other = api.begin_work()

    status, problem = api.chat(other, "a")

    assert (status, problem["code"]) == (400, "invalid_request")
    assert "open it first" in problem["detail"]


def test_an_attempt_does_not_end_as_anything(api: ChainApi) -> None:
    work = api.begin_work()
    api.open_run(work)

    for status in ("running", "stopped", "", None, 1):
        assert api.ask(routes.CLOSE_RUN, work_id=work, run_id="r", status=status)[0] == 400


def test_who_comes_too_early_is_told_when_to_come_again(api: ChainApi) -> None:
    api.open_run(api.begin_work(10_000))

    status, problem = api.ask(routes.OPEN_RUN, work_id=api.begin_work(), **RUN)

    assert (status, problem["code"], problem["retryable"]) == (503, "state", True)
    assert 10 < problem["retry_after_seconds"] <= 14


def test_a_function_that_dies_leaves_its_answers_and_its_lease(api: ChainApi) -> None:
    work = api.begin_work()
    api.open_run(work)
    assert api.chat(work, "a", "one")[1]["text"] == "Heard one."
    api.disconnect()

    work = api.begin_work()
    opened = api.open_run(work)
    assert (opened["attempt"], opened["status"], opened["unknown_calls"]) == (2, "running", 0)
    again = api.chat(work, "a", "one")[1]

    assert (again["text"], again["replayed"]) == ("Heard one.", True)
    assert len(api.said(routes.READ_RUN, run_id="r")["calls"]) == 1


def test_a_unit_that_ends_with_an_open_run_lets_it_go(api: ChainApi) -> None:
    work = api.begin_work()
    api.open_run(work)
    api.said(routes.END, work_id=work, outcome="error")

    told = api.said(routes.READ_RUN, run_id="r")

    assert (told["status"], told["leased_until_epoch_ms"]) == ("interrupted", 0)


def test_a_stopped_run_asks_no_further_model(api: ChainApi) -> None:
    work = api.begin_work()
    api.open_run(work)
    api.chat(work, "a")
    assert api.said(routes.STOP_RUN, run_id="r", reason="too dear") == {
        "found": True, "status": "stopped",
    }  # fmt: skip

    status, problem = api.chat(work, "b")

    assert (status, problem["code"]) == (503, "state")
    assert "was stopped: too dear" in problem["detail"]
    assert api.open_run(api.begin_work())["status"] == "stopped"


def test_a_providers_own_class_is_asked_once_for_each_step(api: ChainApi) -> None:
    work = api.begin_work()
    api.open_run(work)
    own = {"model": "mine/large", "own_providers": ["mine"]}
    told = api.chat(work, "a", **own)[1]["perform"]
    assert [call["state"] for call in api.said(routes.READ_RUN, run_id="r")["calls"]] == ["intent"]
    said = {"text": "Mine.", "usage": {"output_tokens": 3}, "cost_pico_usd": 55}
    api.said(routes.PERFORMED, work_id=work, call_id=told["call_id"], **said)
    api.disconnect()

    work = api.begin_work()
    assert api.open_run(work)["cost_pico_usd"] == 55
    again = api.chat(work, "a", **own)[1]

    assert (again["text"], again["replayed"]) == ("Mine.", True)


def test_a_class_that_never_answers_is_a_call_that_nobody_knows_of(api: ChainApi) -> None:
    work = api.begin_work()
    api.open_run(work)
    api.chat(work, "a", model="mine/large", own_providers=["mine"])
    api.disconnect()

    assert api.open_run(api.begin_work())["unknown_calls"] == 1


def test_a_stream_is_of_its_run_too(api: ChainApi) -> None:
    work = api.begin_work()
    api.open_run(work)
    status, body = api.stream(**question(work, "a", "one"))
    assert status == 200
    while body.read():
        pass
    body.close()
    api.disconnect()

    work = api.begin_work()
    api.open_run(work)
    status, body = api.stream(**question(work, "a", "one"))
    lines = [json.loads(line) for line in body.read().splitlines()]

    assert lines[0]["text"] == "Heard one."
    assert lines[-1]["response"]["replayed"] is True


def test_a_budget_of_a_run_counts_all_that_it_asks(tmp_path: Path) -> None:
    configuration = tmp_path / "lambdallm.yaml"
    configuration.write_text(
        "cost:\n  prices: {scripted/demo: {input: '1', output: '1'}}\n"
        "  budgets: {each: {scope: run, window: all, limit: '0.0035'}}\n"
    )
    api = ChainApi(LAMBDALLM_CONFIG=str(configuration), LAMBDALLM_SCRIPT='["' + "x" * 2_000 + '"]')
    try:
        work = api.begin_work()
        api.open_run(work)
        api.said(routes.OPEN_RUN, work_id=work, **{**RUN, "run_id": "other"})
        asked = {"max_tokens": 500}
        assert api.chat(work, "a", **asked)[0] == 200

        status, problem = api.chat(work, "b", **asked)
        other, _ = api.chat(work, "a", run={"run_id": "other"}, **asked)
    finally:
        api.close()

    assert (status, problem["code"], problem["source"]) == (429, "budget_exceeded", "budget")
    assert other == 200


def test_a_run_may_not_cost_more_than_it_says(tmp_path: Path) -> None:
    configuration = tmp_path / "lambdallm.yaml"
    configuration.write_text("cost:\n  prices: {scripted/demo: {input: '1', output: '1'}}\n")
    api = ChainApi(LAMBDALLM_CONFIG=str(configuration))
    try:
        work = api.begin_work()
        api.open_run(work, max_cost_pico_usd=3_200_000_000)
        first, _ = api.chat(work, "a", max_tokens=500)
        second, problem = api.chat(work, "b", max_tokens=600)
    finally:
        api.close()

    assert (first, second, problem["source"]) == (200, 429, "run")
    assert "max_tokens and the prompt bound it" in problem["detail"]
