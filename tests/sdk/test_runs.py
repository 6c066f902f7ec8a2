"""Runs as the SDK keeps them: what travels with what, and what is without a store."""

import json
from typing import Any

import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import Chain, Step, handler
from lambdallm.testing import MockLambdaContext
from lambdallm_wire import routes


@pytest.fixture
def in_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")


@pytest.fixture
def without_store(in_lambda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDALLM_STORE")
    monkeypatch.setattr("lambdallm._runs._told_without_store", False)


def test_a_finished_step_travels_with_the_next_question(
    prompted: PromptedModel, request: pytest.FixtureRequest
) -> None:
    sidecar = request.getfixturevalue("sidecar")
    Chain("c", [Step("a", "A"), Step("b", "B"), Step("d", "D")]).run()

    assert [path for path in sidecar.paths if "runs" in path] == [
        routes.OPEN_RUN.path,
        routes.CLOSE_RUN.path,
    ]
    assert sidecar.paths.count(routes.CHAT.path) == 3


def test_before_a_function_what_is_finished_is_stored(
    prompted: PromptedModel, request: pytest.FixtureRequest
) -> None:
    sidecar = request.getfixturevalue("sidecar")
    Chain("c", [Step("a", "A"), Step("b", func=lambda _: 1), Step("d", func=lambda _: 2)]).run()

    assert sidecar.paths.count(routes.STORE_STEPS.path) == 2


def test_without_a_store_a_chain_runs_and_says_once_that_nothing_is_kept(
    without_store: None, prompted: PromptedModel, capfd: pytest.CaptureFixture[str]
) -> None:
    chain = Chain("c", [Step("a", "A {input}"), Step("b", func=lambda values: values["a"])])
    results = [chain.run(input="x", run_id="r") for _ in range(2)]
    said = "".join(capfd.readouterr())

    assert [result.final_output for result in results] == ["<A x>"] * 2
    assert results[0].total_cost_pico_usd * 2 == prompted.billed_pico_usd
    assert said.count("runs are not checkpointed") == 1
    assert prompted.prompts == ["A x", "A x"]


def test_without_a_store_its_cost_is_bounded_all_the_same(
    without_store: None, prompted: PromptedModel
) -> None:
    chain = Chain("c", [Step("a", "A"), Step("b", "B")], max_total_cost=0.000_000_5)
    result = chain.run()

    assert (result.status, prompted.prompts) == ("truncated", ["A"])
    assert isinstance(result.error, lambdallm.BudgetExceededError)


def test_without_a_store_steps_of_a_handler_are_done(
    without_store: None, prompted: PromptedModel
) -> None:
    @handler
    def handle(event: Any, context: Any) -> Any:
        return [context.step("a", lambda: context.invoke("A")), context.step("a", lambda: 2)]

    assert json.loads(handle({"n": 1}, MockLambdaContext())["body"]) == ["<A>", 2]


def test_a_store_that_fails_is_an_error_and_no_model_is_asked(
    prompted: PromptedModel, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("LAMBDALLM_STORE", "dynamodb://runs")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{free_port}")

    with pytest.raises(lambdallm.StateError):
        Chain("c", [Step("a", "A")]).run(run_id="r")
    assert prompted.prompts == []


@pytest.mark.parametrize("run_id", ["a#b", "x" * 257, "ä", "a\nb"])
def test_an_id_that_cannot_be_a_key_is_refused(run_id: str, prompted: PromptedModel) -> None:
    with pytest.raises(lambdallm.InvalidRequestError, match="A run id has"):
        Chain("c", [Step("a", "A")]).run(run_id=run_id)
    assert prompted.prompts == []
