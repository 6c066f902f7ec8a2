"""The parts of a chain in one attempt after another: at once, again, for each, left out, nested."""

import json
from threading import Barrier, Lock
from typing import Any

import pytest

import lambdallm
from fakes.flaky_functions import Flaky
from fakes.prompted_model import PromptedModel
from lambdallm import Chain, Loop, Map, Parallel, Step

# Conditions


def test_a_step_is_left_out_where_its_condition_does_not_hold(prompted: PromptedModel) -> None:
    chain = Chain(
        "c",
        [
            Step("a", "A"),
            Step("b", "B", condition=lambda values: "no" in values["a"]),
            Step("d", "D {b.output}.", condition=lambda values: values["b"] is None),
        ],
    )
    result = chain.run()

    assert [step.skipped for step in result.steps] == [False, True, False]
    assert (result.final_output, result.completed_steps) == ("<D .>", 2)
    assert result.outputs == {"a": "<A>", "d": "<D .>"}
    assert prompted.prompts == ["A", "D ."]


def test_the_last_output_stands_where_the_last_step_is_left_out(prompted: PromptedModel) -> None:
    steps = [Step("a", "A"), Step("b", "B", condition=lambda values: False)]

    assert Chain("c", steps).run().final_output == "<A>"


def test_a_condition_is_asked_once_a_run(prompted: PromptedModel) -> None:
    asked: list[bool] = []

    def first_time(values: dict[str, Any]) -> bool:
        asked.append(True)
        return len(asked) > 1

    flaky = Flaky()
    chain = Chain("c", [Step("a", "A", condition=first_time), Step("b", func=flaky, retry_count=0)])
    first, second = (chain.run(run_id="r") for _ in range(2))

    assert [step.skipped for step in first.steps] == [True, False]
    assert [step.skipped for step in second.steps] == [True, False]
    assert (asked, prompted.prompts) == ([True], [])


def test_a_part_that_has_begun_is_gone_on_with_whatever_its_condition_says(
    prompted: PromptedModel,
) -> None:
    asked: list[bool] = []

    def once(values: dict[str, Any]) -> bool:
        asked.append(True)
        return len(asked) == 1

    flaky = Flaky()
    inner = Chain("inner", [Step("a", "A"), Step("b", func=flaky, retry_count=0)], condition=once)
    chain = Chain("c", [inner])
    chain.run(run_id="r")

    assert chain.run(run_id="r").final_output == "fine"
    assert prompted.prompts == ["A"]


def test_a_condition_that_fails_fails_the_chain(prompted: PromptedModel) -> None:
    chain = Chain("c", [Step("a", "A"), Step("b", "B", condition=Flaky())])
    first, second = (chain.run(run_id="r") for _ in range(2))

    assert (first.status, first.steps[-1].error) == ("failed", "It does not work.")
    assert (second.status, prompted.prompts) == ("completed", ["A", "B"])


# Retries


def test_a_function_is_tried_again(pauses: list[float], prompted: PromptedModel) -> None:
    flaky = Flaky(2)

    assert Chain("c", [Step("a", func=flaky)]).run().final_output == "fine"
    assert flaky.calls == 3
    assert pauses == [0.1, 0.2]


def test_not_more_often_than_it_says(pauses: list[float], prompted: PromptedModel) -> None:
    flaky = Flaky(9)
    result = Chain("c", [Step("a", func=flaky, retry_count=1)]).run()

    assert (result.status, flaky.calls) == ("failed", 2)


def test_what_is_not_to_pass_is_not_tried_again(
    pauses: list[float], prompted: PromptedModel
) -> None:
    from lambdallm.testing import Failure

    prompted.to("A", Failure(403, "AccessDeniedException"))
    result = Chain("c", [Step("a", "A")]).run()

    assert isinstance(result.error, lambdallm.ModelInvocationError)
    assert (pauses, len(prompted.prompts)) == ([], 1)


def test_an_answer_that_is_not_what_was_asked_for_is_asked_for_again(
    pauses: list[float], prompted: PromptedModel
) -> None:
    prompted.to("A", "I will not.", '{"n": "three"}', '```json\n{"n": 3}\n```')
    chain = Chain("c", [Step("a", "A", output_schema={"n": int}), Step("b", "B {a.output.n}")])
    result = chain.run()

    assert result.outputs == {"a": {"n": 3}, "b": "<B 3>"}
    assert prompted.prompts == ["A", "A", "A", "B 3"]
    assert result.total_cost_pico_usd == prompted.billed_pico_usd
    assert result.regenerated == 0


def test_one_that_never_is_fails_with_what_was_said(
    pauses: list[float], prompted: PromptedModel
) -> None:
    prompted.to("A", "I will not.")
    result = Chain("c", [Step("a", "A", output_schema={"n": int}, retry_count=1)]).run()

    assert isinstance(result.error, lambdallm.OutputError)
    assert result.error.partial_text == "I will not."
    assert len(prompted.prompts) == 2
    assert result.total_cost_pico_usd == prompted.billed_pico_usd


def test_what_a_step_has_finished_within_itself_is_not_done_again_when_it_is_tried_again(
    pauses: list[float], prompted: PromptedModel
) -> None:
    flaky = Flaky()
    inner = Chain("inner", [Step("x", "X")])
    charged: list[int] = []

    @lambdallm.handler
    def handle(event: Any, context: Any) -> Any:
        def work(values: dict[str, Any]) -> Any:
            context.step("charge", lambda: charged.append(1))
            text = inner.run(context).final_output
            return [text, flaky(values)]

        return Chain("c", [Step("a", func=work)]).run(context).final_output

    assert json.loads(handle({}, None)["body"]) == ["<X>", "fine"]
    assert (charged, prompted.prompts, flaky.calls) == ([1], ["X"], 2)


def test_a_function_whose_result_is_no_json_fails_and_is_not_called_again(
    pauses: list[float], prompted: PromptedModel
) -> None:
    odd = Flaky(0, {1, 2})
    result = Chain("c", [Step("a", func=odd)]).run()

    assert isinstance(result.error, TypeError)
    assert "Step 'a' has to be kept as JSON" in str(result.error)
    assert odd.calls == 1


@pytest.mark.parametrize("value", [0, "", None, False, [], {}, 1.5, "ä\U0001f600", {"a": [None]}])
def test_what_a_step_returns_comes_back_as_it_was(value: Any, prompted: PromptedModel) -> None:
    seen: list[Any] = []
    made = Flaky(0, value)
    flaky = Flaky()
    chain = Chain(
        "c",
        [
            Step("a", func=made),
            Step("look", func=lambda values: seen.append(values["a"])),
            Step("b", func=flaky, retry_count=0),
            Step("d", func=lambda values: values["a"]),
        ],
    )
    chain.run(run_id="r")

    assert chain.run(run_id="r").final_output == value
    assert (seen, made.calls) == ([value], 1)


# At once


def test_branches_run_at_once_and_each_has_its_output(prompted: PromptedModel) -> None:
    meet = Barrier(2, timeout=10)
    chain = Chain(
        "c",
        [
            Step("a", "A"),
            Parallel(
                "both",
                [
                    Step("left", func=lambda values: [meet.wait() >= 0, values["a"]]),
                    Chain(
                        "right", [Step("x", func=lambda _: meet.wait() >= 0), Step("y", "Y {a}")]
                    ),
                ],
            ),
            Step("end", "{both.output.left} {both.output.right}"),
        ],
    )
    result = chain.run()

    assert result.outputs["both"] == {"left": [True, "<A>"], "right": "<Y <A>>"}
    assert result.final_output == '<[true,"<A>"] <Y <A>>>'
    assert [step.name for step in result.steps] == ["a", "both", "end"]
    assert result.total_cost_pico_usd == prompted.billed_pico_usd
    assert sum(step.cost_usd for step in result.steps) == pytest.approx(result.total_cost_usd)


def test_branches_that_are_finished_are_not_done_again(prompted: PromptedModel) -> None:
    flaky = Flaky()
    branches = [Step("x", "X"), Step("y", func=flaky, retry_count=0), Step("z", "Z")]
    chain = Chain("c", [Parallel("all", branches, concurrency=1)])
    first, second = (chain.run(run_id="r") for _ in range(2))

    assert (first.status, second.status) == ("failed", "completed")
    assert second.final_output == {"x": "<X>", "y": "fine", "z": "<Z>"}
    assert sorted(prompted.prompts) == ["X", "Z"]


def test_a_branch_does_not_see_its_neighbours(prompted: PromptedModel) -> None:
    seen: list[set[str]] = []
    branches = [Step("x", "X"), Step("y", func=lambda values: seen.append(set(values)))]
    Chain("c", [Parallel("all", branches, concurrency=1)]).run()

    assert seen == [{"input"}]


# For each


def test_a_map_does_its_step_for_each_item_in_order(prompted: PromptedModel) -> None:
    chain = Chain(
        "c",
        [
            Step("a", func=lambda _: ["one", {"n": 2}, 3]),
            Map("each", over="{a.output}", step=Step("draft", "{index}: {item} of {input}")),
        ],
    )
    result = chain.run(input="x")

    assert result.final_output == ["<0: one of x>", '<1: {"n":2} of x>', "<2: 3 of x>"]
    assert result.steps[1].tokens_in > 0


def test_a_map_goes_over_a_list_within_an_answer_or_what_a_function_returns(
    prompted: PromptedModel,
) -> None:
    prompted.to("A", '{"items": [1, 2]}')
    chain = Chain(
        "c",
        [
            Step("a", "A", output_schema={"items": list}),
            Map("one", "{a.output.items}", Step("s", func=lambda values: values["item"] + 1)),
            Map("two", lambda values: values["one"], Step("s", func=lambda values: values["item"])),
            Step("text", func=lambda _: "[7]"),
            Map("three", "{text}", Step("s", func=lambda values: values["item"])),
            Map("none", lambda _: [], Step("s", "S")),
        ],
    )

    assert chain.run().outputs == {
        "a": {"items": [1, 2]}, "one": [2, 3], "two": [2, 3], "text": "[7]",
        "three": [7], "none": [],
    }  # fmt: skip


def test_a_map_over_something_else_fails_with_what_to_do(prompted: PromptedModel) -> None:
    result = Chain("c", [Step("a", "A"), Map("m", "{a.output}", Step("s", "S"))]).run()

    assert isinstance(result.error, lambdallm.ConfigurationError)
    assert "which is no list" in str(result.error)


def test_a_map_goes_on_where_it_was_with_the_list_that_it_began_with(
    prompted: PromptedModel,
) -> None:
    flaky = Flaky()
    lists = iter([[1, 2, 3], [9]])
    inner = Chain("inner", [Step("ask", "{item}"), Step("then", func=lambda values: (
        flaky(values) if values["item"] == 2 else values["ask"]), retry_count=0)])  # fmt: skip
    chain = Chain("c", [Map("m", lambda _: next(lists), inner, concurrency=1)])
    chain.run(run_id="r")
    result = chain.run(run_id="r")

    assert result.final_output == ["<1>", "fine", "<3>"]
    assert sorted(prompted.prompts) == ["1", "2", "3"]


def test_a_map_of_many_items_at_once_loses_none(prompted: PromptedModel) -> None:
    step = Step("s", func=lambda values: values["item"] * 2, condition=lambda values: True)
    chain = Chain("c", [Map("m", lambda _: [*range(300)], step, concurrency=32)])

    assert chain.run(run_id="r").final_output == [2 * number for number in range(300)]
    assert chain.run(run_id="r").final_output == [2 * number for number in range(300)]


def test_no_more_at_once_than_it_says(prompted: PromptedModel) -> None:
    running, most, lock = 0, 0, Lock()

    def work(values: dict[str, Any]) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        for _ in range(1_000):
            pass
        with lock:
            running -= 1

    Chain("c", [Map("m", lambda _: [*range(40)], Step("s", func=work), concurrency=3)]).run()

    assert most <= 3


# Again


def test_a_loop_ends_when_its_output_is_good_enough(prompted: PromptedModel) -> None:
    prompted.to("Try 1 after .", "bad")
    prompted.to("Try 2 after bad.", "better")
    prompted.to("Try 3 after better.", "good")
    loop = Loop("l", Step("s", "Try {iteration} after {last}."), lambda text: text == "good")
    result = Chain("c", [loop, Step("end", "{l.output}")]).run()

    assert result.final_output == "<good>"
    assert len(prompted.prompts) == 4


def test_a_loop_ends_at_its_bound(prompted: PromptedModel) -> None:
    loop = Loop("l", Step("s", func=lambda values: values["iteration"]), lambda _: False, 4)

    assert Chain("c", [loop]).run().final_output == 4


def test_a_loop_goes_on_where_it_was(prompted: PromptedModel) -> None:
    flaky = Flaky()

    def third(values: dict[str, Any]) -> Any:
        return flaky(values) if values["iteration"] == 3 else values["iteration"]

    inner = Chain("inner", [Step("a", "{iteration}"), Step("b", func=third, retry_count=0)])
    chain = Chain("c", [Loop("l", inner, lambda output: output == "fine")])
    chain.run(run_id="r")

    assert chain.run(run_id="r").final_output == "fine"
    assert prompted.prompts == ["1", "2", "3"]
