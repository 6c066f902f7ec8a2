"""Chains as the paper writes them, and what the earlier package's runs did wrong."""

import json
from typing import Any

import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import Chain, ChainResult, Step, handler
from lambdallm._context import LambdaLLMContext
from lambdallm.testing import MockLambdaContext, MockProvider


def fail(values: dict[str, Any]) -> None:
    raise ValueError("It does not work.")


def twice(values: dict[str, Any]) -> str:
    return str(values["outline"]) * 2


# The earlier package's contract


def test_the_papers_chain_runs(prompted: PromptedModel) -> None:
    chain = Chain(
        "report",
        [
            Step("extract", "Extract from {input}."),
            Step("count", func=lambda values: {"length": len(values["extract"])}),
            Step("write", prompt="Write of {extract.output}, {count.output.length} long."),
        ],
        timeout_strategy="checkpoint",
    )

    result = chain.run(context=None, input="tides")

    assert prompted.prompts == [
        "Extract from tides.",
        "Write of <Extract from tides.>, 21 long.",
    ]
    assert (result.chain_name, result.status, result.checkpoint) == ("report", "completed", None)
    assert result.final_output == "<Write of <Extract from tides.>, 21 long.>"
    assert result.outputs == {
        "extract": "<Extract from tides.>",
        "count": {"length": 21},
        "write": result.final_output,
    }
    assert [step.name for step in result.steps] == ["extract", "count", "write"]
    assert (result.completed_steps, result.error, result.attempt) == (3, None, 1)
    assert result.total_cost_pico_usd == prompted.billed_pico_usd > 0
    assert result.total_cost_usd == result.total_cost_pico_usd / 1e12
    assert sum(step.cost_usd for step in result.steps) == pytest.approx(result.total_cost_usd)
    assert result.steps[0].tokens_in > 0
    assert result.steps[0].tokens_out > 0
    assert result.steps[1].cost_usd == 0
    assert result.total_latency_ms > 0


def test_a_chain_knows_its_steps() -> None:
    first, second = Step("a", "A {input}"), Step("b", func=twice)
    chain = Chain("c", [first, second], "truncate", "What it is for", "2.0.0", 0.5, {"team": "x"})

    assert (chain.step_count, chain.llm_step_count) == (2, 1)
    assert chain.get_step("b") is second
    assert chain.get_step("z") is None
    assert (first.is_llm_step, first.is_transform_step) == (True, False)
    assert (second.is_llm_step, second.is_transform_step) == (False, True)
    assert (chain.description, chain.version, chain.metadata) == (
        "What it is for",
        "2.0.0",
        {"team": "x"},
    )
    assert (first.retry_count, first.metadata) == (2, {})


def test_functions_and_conditions_get_all_outputs_and_inputs(prompted: PromptedModel) -> None:
    seen: list[dict[str, Any]] = []

    def look(values: dict[str, Any]) -> bool:
        seen.append(values)
        return True

    Chain("c", [Step("a", "A {input}"), Step("b", func=look, condition=look)]).run(
        input="x", tone="dry"
    )

    expected = {"input": "x", "tone": "dry", "a": "<A x>", "a.output": "<A x>"}
    assert seen == [expected, expected]


def test_what_a_function_does_to_its_values_reaches_nobody_else(prompted: PromptedModel) -> None:
    def spoil(values: dict[str, Any]) -> int:
        values["input"] = values["a"] = "spoilt"
        return 1

    result = Chain(
        "c", [Step("a", "A {input}"), Step("b", func=spoil), Step("d", "{a} {input}")]
    ).run(input="x")

    assert result.final_output == "<<A x> x>"


@handler
def report_handler(event: Any, context: Any) -> Any:
    chain = Chain("report", [Step("a", "A {input}"), Step("b", "B {a.output}")])
    result = chain.run(context=context, input=event["body"]["topic"])
    return {"statusCode": 200, "body": {"status": result.status, "text": result.final_output}}


def test_a_provider_that_a_test_puts_in_place_is_asked(model: MockProvider) -> None:
    model.say("one", "two")
    response = report_handler({"body": {"topic": "tides"}}, MockLambdaContext())

    assert json.loads(response["body"]) == {"status": "completed", "text": "two"}
    assert model.prompts == ["A tides", "B one"]


def test_what_such_a_provider_costs_counts(model: MockProvider) -> None:
    result = Chain("c", [Step("a", "A"), Step("b", "B")]).run()

    assert result.total_cost_usd == pytest.approx(0.0002)
    assert [step.cost_usd for step in result.steps] == pytest.approx([0.0001, 0.0001])
    assert result.steps[0].tokens_out > 0


def test_what_such_a_provider_costs_is_bounded(model: MockProvider) -> None:
    chain = Chain("c", [Step("a", "A"), Step("b", "B"), Step("d", "D")], max_total_cost=0.00015)

    result = chain.run()

    assert (result.status, model.prompts) == ("truncated", ["A", "B"])


# What it did wrong


def test_a_failure_keeps_what_was_finished_and_the_next_run_goes_on(
    prompted: PromptedModel,
) -> None:
    works: list[bool] = []

    def flaky(values: dict[str, Any]) -> str:
        if not works:
            raise ValueError("It does not work.")
        return "fine"

    chain = Chain(
        "c",
        [Step("a", "A {input}"), Step("b", func=flaky, retry_count=0), Step("d", "D {b.output}")],
    )
    first = chain.run(run_id="r", input="x")
    works.append(True)
    second = chain.run(run_id="r")

    assert (first.status, str(first.error)) == ("failed", "It does not work.")
    assert [(step.name, step.error) for step in first.steps] == [
        ("a", None),
        ("b", "It does not work."),
    ]
    assert (first.final_output, first.outputs, first.completed_steps) == (
        "<A x>",
        {"a": "<A x>"},
        1,
    )
    assert (second.status, second.attempt, second.final_output) == ("completed", 2, "<D fine>")
    assert second.outputs == {"a": "<A x>", "b": "fine", "d": "<D fine>"}
    assert prompted.prompts == ["A x", "D fine"]
    assert second.total_cost_pico_usd == prompted.billed_pico_usd


def test_a_finished_run_is_told_again_and_nobody_is_asked(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", "A {input}"), Step("b", func=lambda values: None)])
    first, again = (chain.run(run_id="r", input="x") for _ in range(2))

    assert prompted.prompts == ["A x"]
    assert (again.status, again.final_output, again.outputs) == ("completed", None, {"a": "<A x>"})
    assert again.total_cost_pico_usd == first.total_cost_pico_usd > 0
    assert [step.tokens_out for step in again.steps] == [step.tokens_out for step in first.steps]


class Hourglass:
    """A context whose time left is what a test says."""

    def __init__(self) -> None:
        self.left_ms = 60_000
        lambda_context = MockLambdaContext()
        lambda_context.get_remaining_time_in_millis = lambda: self.left_ms  # type: ignore[method-assign]
        self.context = LambdaLLMContext(None, "fail-fast", 5, 3, None, lambda_context, [])

    def run_out(self, values: dict[str, Any]) -> str:
        """Be a step that takes all of it."""
        self.left_ms = 1_000
        return "slow"


def test_a_checkpoint_goes_on_with_its_run_and_stays_as_it_is(prompted: PromptedModel) -> None:
    glass = Hourglass()
    chain = Chain(
        "c",
        [Step("a", "A {input}"), Step("b", func=glass.run_out), Step("d", "D {a.output}")],
        "checkpoint",
    )

    first = chain.run(glass.context, input="x")
    before = json.dumps(first.checkpoint)
    glass.left_ms = 60_000
    second = chain.run(glass.context, checkpoint=first.checkpoint)

    assert first.status == "checkpointed"
    assert isinstance(first.error, lambdallm.DeadlineExceededError)
    assert first.checkpoint is not None
    assert first.checkpoint["completed_steps"] == ["a", "b"]
    assert json.dumps(first.checkpoint) == before
    assert (second.status, second.final_output) == ("completed", "<D <A x>>")
    assert [step.name for step in second.steps] == ["a", "b", "d"]
    assert prompted.prompts == ["A x", "D <A x>"]


@pytest.mark.parametrize(
    ("strategy", "status"),
    [("checkpoint", "checkpointed"), ("truncate", "truncated"), ("fail-fast", "failed")],
)
def test_time_that_runs_out_is_told_by_the_chains_strategy(
    strategy: str, status: str, prompted: PromptedModel
) -> None:
    glass = Hourglass()
    chain = Chain("c", [Step("a", func=glass.run_out), Step("b", "B")], strategy)
    result = chain.run(glass.context)

    assert (result.status, result.final_output) == (status, "slow")
    assert isinstance(result.error, lambdallm.DeadlineExceededError)
    assert result.checkpoint is not None
    glass.left_ms = 60_000
    assert chain.run(glass.context, checkpoint=result.checkpoint).final_output == "<B>"


def test_a_checkpoint_of_another_chain_is_refused(prompted: PromptedModel) -> None:
    failed = Chain("one", [Step("a", "A"), Step("b", func=fail, retry_count=0)]).run()

    with pytest.raises(lambdallm.StateError, match="'one', not of 'other'"):
        Chain("other", [Step("y", "Y"), Step("z", "Z {y.output}")]).run(
            checkpoint=failed.checkpoint
        )
    assert prompted.prompts == ["A"]


def test_a_checkpoint_of_somebody_else_begins_nothing(prompted: PromptedModel) -> None:
    with pytest.raises(lambdallm.InvalidRequestError, match="names no run"):
        Chain("c", [Step("a", "A")]).run(checkpoint={"chain_name": "c", "step_index": 1})
    assert prompted.prompts == []


@pytest.mark.parametrize("named_by", ["run_id", "checkpoint"])
@pytest.mark.parametrize("ends", [True, False])
def test_another_input_for_a_run_is_refused(
    named_by: str, ends: bool, prompted: PromptedModel
) -> None:
    steps = [Step("a", "A {input}"), Step("b", func=fail, retry_count=0)][: 1 if ends else 2]
    chain = Chain("c", steps)
    chain.run(run_id="r", input="x", tone="dry")
    named: dict[str, Any] = (
        {"run_id": "r"} if named_by == "run_id" else {"checkpoint": {"run_id": "r"}}
    )

    with pytest.raises(lambdallm.InvalidRequestError, match="another 'input'"):
        chain.run(**named, input="y", tone="dry")
    with pytest.raises(lambdallm.InvalidRequestError, match="another 'tone'"):
        chain.run(**named, input="x")
    assert chain.run(**named, input="x", tone="dry").steps[0].output == "<A x>"
    assert prompted.prompts == ["A x"]


def test_a_run_goes_on_after_another_input_was_refused(prompted: PromptedModel) -> None:
    works: list[bool] = []
    chain = Chain("c", [Step("a", "A {input}"), Step("b", func=lambda _: works[0], retry_count=0)])
    chain.run(run_id="r", input="x")
    with pytest.raises(lambdallm.InvalidRequestError):
        chain.run(run_id="r", input="y")
    works.append(True)

    assert chain.run(run_id="r", input="x").status == "completed"


@pytest.mark.parametrize("given", [b"bytes", {1, 2}, float("nan"), object()])
def test_an_input_that_is_no_json_is_refused_before_anything_is_done(
    given: Any, prompted: PromptedModel
) -> None:
    with pytest.raises(TypeError, match="The input of a chain has to be kept as JSON"):
        Chain("c", [Step("a", "A {input}")]).run(input=given)
    assert prompted.prompts == []


def test_the_cost_of_all_attempts_is_bounded(prompted: PromptedModel) -> None:
    works: list[bool] = []
    chain = Chain(
        "c",
        [
            Step("a", "A " + "long " * 200, max_tokens=500),
            Step("b", func=lambda _: works[0], retry_count=0),
            Step("d", "D", max_tokens=1_500),
        ],
        max_total_cost=0.002,
    )
    prompted.to("A " + "long " * 200, "word " * 300)
    first = chain.run(run_id="r")
    works.append(True)
    second = chain.run(run_id="r")

    assert (first.status, second.status) == ("failed", "truncated")
    assert isinstance(second.error, lambdallm.BudgetExceededError)
    assert len(prompted.prompts) == 1
    assert second.total_cost_pico_usd == first.total_cost_pico_usd == prompted.billed_pico_usd


def test_a_question_that_could_cost_too_much_is_not_asked(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", "A", max_tokens=4_000)], max_total_cost="0.000001")

    result = chain.run()

    assert (result.status, result.final_output, result.total_cost_usd) == ("truncated", None, 0)
    assert prompted.prompts == []


# Which run it is


def test_the_same_event_goes_on_with_the_same_run(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", "A {input}")])

    @handler
    def handle(event: Any, context: Any) -> Any:
        results = [chain.run(context, input=text) for text in ("x", "y")]
        return [result.final_output for result in results]

    event = {
        "requestContext": {"http": {"method": "POST", "path": "/"}}, "version": "2.0",
        "headers": {"idempotency-key": "k"}, "body": "{}", "isBase64Encoded": False,
    }  # fmt: skip
    first, second = (handle(event, MockLambdaContext()) for _ in range(2))

    assert json.loads(first["body"]) == json.loads(second["body"]) == ["<A x>", "<A y>"]
    assert prompted.prompts == ["A x", "A y"]


def test_another_event_is_another_run(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", "A {input}")])
    results = [chain.run(input="x") for _ in range(2)]

    assert len({result.run_id for result in results}) == 2
    assert prompted.prompts == ["A x", "A x"]


def test_a_chain_finds_the_event_that_it_runs_in(prompted: PromptedModel) -> None:
    seen: list[ChainResult] = []

    @handler
    def handle(event: Any, context: Any) -> str:
        seen.append(Chain("c", [Step("a", "A")]).run())
        assert context.total_cost > 0
        return "ok"

    handle({}, MockLambdaContext())

    assert seen[0].status == "completed"


async def _answer(context: Any, chain: Chain) -> Any:
    return chain.run(context, input="x").final_output


def test_an_async_handler_runs_chains(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", "A {input}")])

    @handler
    async def handle(event: Any, context: Any) -> Any:
        return await _answer(context, chain)

    assert handle({"body": {}}, MockLambdaContext())["body"] == "<A x>"
