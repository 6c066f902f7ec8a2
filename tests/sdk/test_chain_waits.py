"""Chains that wait for a person or a program."""

import time
from typing import Any

import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import (
    Approval,
    Callback,
    Chain,
    Parallel,
    Step,
    approve,
    complete_callback,
    handler,
    reject,
)
from lambdallm.testing import MockLambdaContext


def publishing(approval: Approval) -> Chain:
    publish = Step("publish", "{release.output.by}: {release.output.approved}")
    return Chain("c", [Step("draft", "Draft {input}"), approval, publish])


def test_a_yes_lets_the_chain_go_on(prompted: PromptedModel) -> None:
    chain = publishing(Approval("release", message="Read {draft.output}"))
    first = chain.run(run_id="r", input="x")
    waiting = chain.run(run_id="r")
    approve(first.waits["release"], by="ada", comment="good")
    last = chain.run(run_id="r")

    assert (first.status, [*first.waits]) == ("checkpointed", ["release"])
    assert first.error is not None
    assert "waits for release" in str(first.error)
    assert (waiting.status, waiting.waits) == ("checkpointed", {})
    assert (last.status, last.final_output) == ("completed", "<ada: true>")
    assert last.outputs["release"] == {"approved": True, "by": "ada", "comment": "good"}
    assert prompted.prompts == ["Draft x", "ada: true"]


def test_a_no_ends_it(prompted: PromptedModel) -> None:
    chain = publishing(Approval("release"))
    reject(chain.run(run_id="r", input="x").waits["release"], by="ada", comment="too long")
    result = chain.run(run_id="r")

    assert (result.status, str(result.error)) == ("failed", "ada has said no: too long")
    assert prompted.prompts == ["Draft x"]


def test_a_no_may_be_gone_on_with(prompted: PromptedModel) -> None:
    chain = publishing(Approval("release", on_rejection="continue"))
    reject(chain.run(run_id="r", input="x").waits["release"], by="ada")

    assert chain.run(run_id="r").final_output == "<ada: false>"


def test_the_second_answer_is_refused_and_the_first_stands(prompted: PromptedModel) -> None:
    chain = publishing(Approval("release"))
    token = chain.run(run_id="r", input="x").waits["release"]
    approve(token, by="ada")

    with pytest.raises(lambdallm.StateError, match="finished already"):
        reject(token, by="bob")
    assert chain.run(run_id="r").outputs["release"]["by"] == "ada"
    with pytest.raises(lambdallm.StateError, match="finished already"):
        reject(token, by="bob")


def test_nobody_answers_when_its_time_is_over(
    prompted: PromptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = publishing(Approval("release", expires_in=0.0001))
    token = chain.run(run_id="r", input="x").waits["release"]

    with pytest.raises(lambdallm.StateError, match="waits no more"):
        approve(token)
    result = chain.run(run_id="r")
    assert (result.status, str(result.error)) == (
        "failed",
        "Nobody has answered 'release' in time.",
    )


def test_whom_it_concerns_is_told_once(prompted: PromptedModel) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    chain = Chain("c", [Step("a", "A"), Callback("wait", notify=lambda *what: told.append(what))])
    results = [chain.run(run_id="r") for _ in range(2)]
    complete_callback(told[0][0], {"n": 1})

    assert len(told) == 1
    assert told[0][0] == results[0].waits["wait"]
    assert told[0][1]["a"] == "<A>"
    assert chain.run(run_id="r").final_output == {"n": 1}


def test_who_could_not_be_told_is_told_at_the_next_attempt(prompted: PromptedModel) -> None:
    tokens: list[str] = []

    def notify(token: str, values: dict[str, Any]) -> None:
        tokens.append(token)
        if len(tokens) == 1:
            raise OSError("No way to them.")

    chain = Chain("c", [Callback("wait", notify=notify)])
    first, second = (chain.run(run_id="r") for _ in range(2))
    complete_callback(tokens[1], "yes")

    assert (first.status, str(first.error)) == ("failed", "No way to them.")
    assert (second.status, len(tokens)) == ("checkpointed", 2)
    assert chain.run(run_id="r").final_output == "yes"


def test_branches_wait_together_and_the_others_are_finished(prompted: PromptedModel) -> None:
    branches = [Callback("one"), Step("x", "X"), Callback("two")]
    chain = Chain("c", [Parallel("p", branches), Step("end", "{p.output.one} {p.output.two}")])
    first = chain.run(run_id="r")
    assert sorted(first.waits) == ["p/one", "p/two"]
    complete_callback(first.waits["p/one"], 1)
    second = chain.run(run_id="r")
    complete_callback(first.waits["p/two"], 2)

    assert second.status == "checkpointed"
    assert chain.run(run_id="r").final_output == "<1 2>"
    assert sorted(prompted.prompts) == ["1 2", "X"]


def test_a_wait_may_be_left_out(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", "A"), Approval("b", condition=lambda values: False)])

    assert chain.run().final_output == "<A>"


def test_without_a_store_nothing_can_be_waited_for(
    prompted: PromptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.delenv("LAMBDALLM_STORE")
    result = publishing(Approval("release")).run(input="x")

    assert isinstance(result.error, lambdallm.ConfigurationError)
    assert "LAMBDALLM_STORE" in str(result.error)


def test_what_a_no_does_is_one_of_two() -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="on_rejection='ask'"):
        Approval("a", on_rejection="ask")


def test_no_token_outlives_its_run(prompted: PromptedModel) -> None:
    month_ms = 30 * 86_400_000
    chain = publishing(Approval("release", expires_in=month_ms / 1_000))
    until_ms: list[int] = []

    @handler
    def waiting(event: Any, context: Any) -> Any:
        begun_ms = time.time() * 1_000
        chain.run(context, run_id="r", input="x")
        until_ms.append(context.read_run("r")["expires_epoch_ms"] - begun_ms)

    waiting({}, MockLambdaContext())

    assert until_ms[0] >= month_ms
