"""Parts within parts, and what becomes of them in a run that was stopped."""

import json
from typing import Any

import pytest

import lambdallm
from fakes.flaky_functions import Flaky
from fakes.prompted_model import PromptedModel
from lambdallm import Chain, Loop, Map, Parallel, Step


def nested(flaky: Flaky) -> Chain:
    draft = Chain(
        "draft",
        [
            Step("write", "Write {item}"),
            Loop("polish", Step("again", "{iteration}: {write.output}"), lambda _: True),
        ],
    )
    branches = [
        Map("sections", lambda _: ["p", "q"], draft),
        Chain("facts", [Step("look", func=flaky, retry_count=0), Step("say", "Say {look.output}")]),
    ]
    return Chain(
        "c",
        [
            Step("plan", "Plan {input}"),
            Parallel("work", branches, concurrency=1),
            Step("end", "{work.output.sections} {work.output.facts}"),
        ],
    )


def test_parts_within_each_other_finish_and_go_on(prompted: PromptedModel) -> None:
    chain = nested(Flaky())
    first, second = (chain.run(run_id="r", input="x") for _ in range(2))

    assert (first.status, second.status) == ("failed", "completed")
    assert second.outputs["work"] == {
        "sections": ["<1: <Write p>>", "<1: <Write q>>"],
        "facts": "<Say fine>",
    }
    assert len(prompted.prompts) == len(set(prompted.prompts)) == 7
    assert second.total_cost_pico_usd == prompted.billed_pico_usd
    assert (chain.step_count, chain.llm_step_count) == (6, 5)


def test_a_changed_part_within_others_is_refused(prompted: PromptedModel) -> None:
    nested(Flaky()).run(run_id="r", input="x")
    changed = nested(Flaky(0))
    changed.steps[1].branches[1].steps[1].prompt = "Otherwise {look.output}"  # type: ignore[attr-defined]

    with pytest.raises(lambdallm.StateError, match="'work'"):
        changed.run(run_id="r")


def test_a_sub_chain_sees_what_came_before_it_and_keeps_its_own(prompted: PromptedModel) -> None:
    seen: list[list[str]] = []

    def look(values: dict[str, Any]) -> None:
        seen.append(sorted(name for name in values if "." not in name))

    inner = Chain("inner", [Step("x", func=lambda _: 1), Step("y", func=look)])
    Chain("c", [Step("a", "A"), inner, Step("b", func=look)]).run(input="i")

    assert seen == [["a", "input", "x"], ["a", "inner", "input"]]


def test_a_stopped_run_does_nothing_more(prompted: PromptedModel) -> None:
    flaky, other = Flaky(1), Flaky(0)
    chain = Chain("c", [Parallel("p", [Step("x", "X"), Step("y", func=flaky, retry_count=0),
                                       Step("z", func=other)], concurrency=1)])  # fmt: skip
    chain.run(run_id="r")
    from lambdallm import _context
    from lambdallm_wire import routes

    work = _context.for_script().work
    stopped = work.control(routes.STOP_RUN, {"run_id": "r", "reason": "by a test"})
    work.end("ok", "", 0.0)
    calls = flaky.calls, other.calls
    result = chain.run(run_id="r")

    assert (stopped["status"], result.status) == ("stopped", "failed")
    assert "by a test" in str(result.error)
    assert (flaky.calls, other.calls) == calls
    assert prompted.prompts == ["X"]


def test_outputs_are_kept_as_json(prompted: PromptedModel) -> None:
    result = Chain("c", [Step("a", func=lambda _: (1, 2)), Step("b", "{a.output}")]).run()

    assert json.dumps(result.outputs) == '{"a": [1, 2], "b": "<[1,2]>"}'
