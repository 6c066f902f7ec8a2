"""Steps and chains of `async def` handlers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm import Chain, Step, handler
from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from fakes.prompted_model import PromptedModel


def message(message_id: str = "m-1") -> dict[str, Any]:
    return {"Records": [{"eventSource": "aws:sqs", "messageId": message_id, "body": "{}"}]}


def test_a_step_is_awaited_once(prompted: PromptedModel) -> None:
    failed: list[int] = []

    @handler
    async def answering(event: Any, context: Any) -> Any:
        first = await context.astep("first", context.ainvoke, "First")
        if not failed:
            failed.append(1)
            raise RuntimeError
        return [first, await context.astep("second", lambda: {"n": 2})]

    with pytest.raises(RuntimeError):
        answering(message(), MockLambdaContext())

    assert answering(message(), MockLambdaContext()) == ["<First>", {"n": 2}]
    assert prompted.prompts == ["First"]


def test_steps_at_once_are_steps_of_their_own(prompted: PromptedModel) -> None:
    @handler
    async def answering(event: Any, context: Any) -> Any:
        return await asyncio.gather(
            *(context.astep(f"ask{n}", context.ainvoke, f"Ask {n}") for n in range(5))
        )

    answers = [answering(message(), MockLambdaContext()) for _ in range(2)]

    assert answers == [[f"<Ask {n}>" for n in range(5)]] * 2
    assert sorted(prompted.prompts) == [f"Ask {n}" for n in range(5)]


def test_a_step_within_a_step_and_falsy_results(prompted: PromptedModel) -> None:
    @handler
    async def answering(event: Any, context: Any) -> Any:
        async def outer() -> Any:
            return [await context.astep("inner", lambda: None), context.step("other", lambda: 0)]

        return await context.astep("outer", outer)

    assert [answering(message(), MockLambdaContext()) for _ in range(2)] == [[None, 0]] * 2


def test_other_coroutines_run_beside_a_chain(prompted: PromptedModel) -> None:
    chain = Chain("report", [Step("a", "A {input}"), Step("b", "B {a.output}")])
    seen: list[str] = []

    @handler
    async def answering(event: Any, context: Any) -> Any:
        async def beside() -> None:
            seen.append("beside")

        result, _ = await asyncio.gather(chain.arun(context, input="x"), beside())
        return result

    answer = answering({"httpMethod": "POST", "body": json.dumps({})}, MockLambdaContext())

    assert (answer["statusCode"], answer["body"]) == (200, "<B <A x>>")
    assert seen == ["beside"]


def test_a_step_that_a_finished_event_did_not_have_is_done_beside_it(
    prompted: PromptedModel,
) -> None:
    names = iter(["one", "two", "two"])
    done: list[str] = []

    @handler
    async def answering(event: Any, context: Any) -> Any:
        name = next(names)
        return await context.astep(name, lambda: done.append(name) or name)

    assert [answering(message(), MockLambdaContext()) for _ in range(3)] == ["one", "two", "two"]
    assert done == ["one", "two", "two"], "what is beside a run that is over is not kept"


def test_steps_and_chains_of_one_name_at_once_keep_their_own_results() -> None:
    chain = Chain("report", [Step("a", func=lambda values: values["input"])])
    failed: list[int] = []

    @handler
    async def answering(event: Any, context: Any) -> Any:
        steps = [context.astep("s", lambda n=n: n) for n in range(8)]
        chains = [chain.arun(context, input=n) for n in range(8)]
        done = await asyncio.gather(*steps, *chains)
        if not failed:
            failed.append(1)
            raise RuntimeError
        return [*done[:8], *[each.final_output for each in done[8:]]]

    with pytest.raises(RuntimeError):
        answering(message(), MockLambdaContext())

    assert answering(message(), MockLambdaContext()) == [*range(8)] * 2
