"""Chains on Lambda's durable functions, as AWS's local runner does them."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fakes.durable_functions import Durable, serve_durable
from fakes.prompted_model import PromptedModel
from lambdallm import (
    Approval,
    Callback,
    Chain,
    ConfigurationError,
    InvalidRequestError,
    Loop,
    Map,
    Parallel,
    StateError,
    Step,
    _raw_clients,
    approve,
    complete_callback,
    reject,
)
from lambdallm._context import LambdaLLMContext
from lambdallm._durable import CHECKPOINT_MAX_BYTES
from lambdallm_wire import routes

DAY = 86_400


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Do a chain as a durable function, and return how its execution ended, and its results."""

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr(_raw_clients, "_clients", {})

    def do(chain: Chain, given: dict[str, Any], answer: Any = None) -> tuple[str, Any, list[Any]]:
        results: list[Any] = []

        def work(event: Any, context: Any) -> Any:
            results.append(chain.run_durable(context, **event))
            return results[-1].final_output

        with serve_durable(work) as durable:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", durable.url)
            arn = durable.start(given)
            if answer is not None:
                answer(durable, arn)
            status, told = durable.wait(arn)
        return status, told, results

    return do


def test_it_waits_for_a_person_and_pays_nothing_twice(prompted: PromptedModel, run: Any) -> None:
    tokens: list[str] = []
    chain = Chain(
        "wait",
        [
            Step("draft", prompt="Draft {input}"),
            Approval(
                "release",
                message="Read {draft.output}",
                notify=lambda token, values: tokens.append(f"{token} {values['draft']}"),
            ),
            Step("publish", prompt="Publish {draft.output} of {release.output.by}"),
        ],
    )

    def answer(durable: Durable, arn: str) -> None:
        durable.runner.wait_for_callback(arn, name="release")
        durable.wait_checkpointed(arn, "release/told")
        approve(tokens[0].split()[0], by="ada")

    status, told, results = run(chain, {"input": "x"}, answer)

    assert (status, told) == ("SUCCEEDED", "<Publish <Draft x> of ada>")
    assert prompted.prompts == ["Draft x", "Publish <Draft x> of ada"]
    assert [token.split(maxsplit=1)[1] for token in tokens] == ["<Draft x>"]
    assert results[-1].total_cost_pico_usd == prompted.billed_pico_usd
    assert [step.name for step in results[-1].steps] == ["draft", "release", "publish"]


def test_a_run_is_kept_as_long_as_its_longest_wait(prompted: PromptedModel, run: Any) -> None:
    tokens: list[str] = []
    kept_ms: list[int] = []
    notify = lambda token, values: tokens.append(token)  # noqa: E731 - as users write it
    chain = Chain(
        "month",
        [Step("draft", prompt="Draft"), Approval("release", notify=notify, expires_in=30 * DAY)],
        retention_days=1,
    )

    def answer(durable: Durable, arn: str) -> None:
        durable.runner.wait_for_callback(arn, name="release")
        durable.wait_checkpointed(arn, "release/told")
        work = LambdaLLMContext(None, "fail-fast", 0, 3, None, None, []).work
        stored = work.control(routes.LIST_RUNS, {})["runs"]
        work.end("ok", "", 0.0)
        kept_ms.extend(each["expires_epoch_ms"] - each["at_epoch_ms"] for each in stored)
        approve(tokens[0], by="ada")

    status, _, _ = run(chain, {}, answer)

    assert status == "SUCCEEDED"
    assert min(kept_ms) > 29 * DAY * 1_000


def test_a_no_ends_it(run: Any) -> None:
    tokens: list[str] = []
    release = Approval("release", notify=lambda token, values: tokens.append(token))
    chain = Chain("wait", [release, Step("publish", func=lambda values: 1)])

    def answer(durable: Durable, arn: str) -> None:
        while not tokens:
            durable.runner.wait_for_callback(arn, name="release")
        reject(tokens[0], by="ada", comment="too long")

    _, _, results = run(chain, {}, answer)

    assert results[-1].status == "failed"
    assert "ada has said no: too long" in str(results[-1].error)


def test_a_callback_is_finished_once(run: Any) -> None:
    tokens: list[str] = []
    chain = Chain("wait", [Callback("paid", notify=lambda token, values: tokens.append(token))])

    def answer(durable: Durable, arn: str) -> None:
        while not tokens:
            durable.runner.wait_for_callback(arn, name="paid")
        complete_callback(tokens[0], {"sum": 3})
        with pytest.raises((StateError, InvalidRequestError)):
            complete_callback(tokens[0], {"sum": 4})

    assert run(chain, {}, answer)[:2] == ("SUCCEEDED", {"sum": 3})


def test_an_answer_whose_checkpoint_was_lost_is_not_paid_again(
    prompted: PromptedModel, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = pytest.importorskip("aws_durable_execution_sdk_python.exceptions")
    lost = [errors.RetryableSerDesError("The environment is gone.")]
    real = LambdaLLMContext.chat

    def chat(self: LambdaLLMContext, *arguments: Any, **parameters: Any) -> Any:
        response = real(self, *arguments, **parameters)
        if lost:
            raise lost.pop()
        return response

    monkeypatch.setattr(LambdaLLMContext, "chat", chat)
    chain = Chain("c", [Step("a", prompt="Ask {input}", retry_count=0)])

    status, told, results = run(chain, {"input": "x"})

    assert (status, told) == ("SUCCEEDED", "<Ask x>"), results[-1].error
    assert prompted.prompts == ["Ask x"]


def fill_page(values: dict[str, Any]) -> str:
    return f"{values.get('item', 0):04d}" * 50_000


def test_outputs_that_no_checkpoint_holds_stay_in_the_run(run: Any) -> None:
    chain = Chain(
        "large",
        [
            Map("pages", over=lambda values: [1, 2, 3], step=Step("page", func=fill_page)),
            Loop("round", Step("once", func=fill_page), until=lambda text: len(text) == 200_000),
            Step("sizes", func=lambda v: [len(page) for page in (*v["pages"], v["round"])]),
        ],
    )

    status, told, results = run(chain, {})

    assert (status, told) == ("SUCCEEDED", [200_000] * 4)
    assert CHECKPOINT_MAX_BYTES < 200_000
    assert results[-1].steps[0].output[1] == "0002" * 50_000


def test_large_outputs_without_a_store_are_refused(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDALLM_STORE", "")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "work")

    _, _, results = run(Chain("large", [Step("page", func=fill_page)]), {})

    assert results[-1].status == "failed"
    assert "too large for a checkpoint, needs a store" in str(results[-1].error)


def test_a_step_that_fails_is_told(run: Any) -> None:
    def break_down(values: dict[str, Any]) -> None:
        message = "It is broken."
        raise LookupError(message)

    branches = [Step("a", func=break_down, retry_count=0), Step("b", func=lambda values: 1)]

    _, _, results = run(Chain("c", [Parallel("p", branches)]), {})

    assert results[-1].status == "failed"
    assert "It is broken." in str(results[-1].error)


def test_a_second_run_of_a_chain_needs_a_name(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", prompt="Ask {input}")])
    results: list[Any] = []

    def work(event: Any, context: Any) -> Any:
        for name, given in ((None, "x"), (None, "y"), ("second", "y")):
            results.append(chain.run_durable(context, name=name, input=given))
        return [result.final_output for result in results]

    with serve_durable(work) as durable:
        durable.run({})

    assert [result.final_output for result in results] == ["<Ask x>", None, "<Ask y>"]
    assert "give the second run of a chain in one execution a name" in str(results[1].error)


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_durable_execution_sdk_python", None)

    with pytest.raises(ConfigurationError, match="aws-durable-execution-sdk-python"):
        Chain("c", [Step("a", prompt="x")]).run_durable(object())
