"""Handlers of coroutines that yield: piece by piece, and let go of at their `yield`."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm import OutputError, _async, handler, stream_handler
from lambdallm.testing import MockLambdaContext, MockProvider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HTTP = {"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "GET"}}}


def ask(function: Callable[..., Any]) -> Any:
    return stream_handler(via="function-url")(function)(HTTP, MockLambdaContext())


def body_of(response: Any) -> Any:
    assert response["statusCode"] == 200, response
    return response["body"]


def test_an_asynchronous_generator_keeps_its_task_from_chunk_to_chunk() -> None:
    tasks = []

    async def tell(event: Any, context: Any) -> AsyncIterator[str]:
        for piece in ("a", "b", "c"):
            tasks.append(asyncio.current_task())
            await asyncio.sleep(0)
            yield piece

    assert body_of(ask(tell)) == "abc"
    assert len({*map(id, tasks)}) == 1


def test_an_asynchronous_models_answer(model: MockProvider) -> None:
    model.say("One two.")

    async def tell(event: Any, context: Any) -> AsyncIterator[str]:
        async for piece in context.astream("Count."):
            yield piece

    assert body_of(ask(tell)) == "One two."


def test_an_asynchronous_models_answer_in_events(model: MockProvider) -> None:
    model.say("One.")

    def tell(event: Any, context: Any) -> Any:
        headers = {"content-type": "text/event-stream"}
        return {"headers": headers, "body": context.astream("Count.")}

    assert body_of(ask(tell)) == "data: One.\n\n"


def test_nothing_more_is_made_before_a_piece_has_left() -> None:
    made: list[str] = []

    async def tell() -> AsyncIterator[str]:
        for piece in ("a", "b", "c"):
            made.append(piece)
            yield piece

    pieces = _async.iterate(tell())

    assert next(pieces) == "a"
    assert made == ["a"]
    assert [*pieces] == ["b", "c"]


def test_an_asynchronous_generator_that_is_let_go_of_sees_it_at_its_yield() -> None:
    seen: list[str] = []

    async def tell() -> AsyncIterator[str]:
        try:
            yield "a"
        except GeneratorExit:
            seen.append("exit")
            raise

    pieces = _async.iterate(tell())
    next(pieces)
    pieces.close()

    assert seen == ["exit"]


@pytest.mark.parametrize("caught", [GeneratorExit, BaseException])
def test_one_that_does_not_heed_it_hangs_nobody(caught: type[BaseException]) -> None:
    async def tell() -> AsyncIterator[str]:
        with suppress(caught):
            yield "a"
        yield "b"

    pieces = _async.iterate(tell())
    next(pieces)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        pieces.close()


def test_a_task_that_is_cancelled_is_an_error_and_not_the_end_of_the_process() -> None:
    async def tell(event: Any, context: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    assert ask(tell)["statusCode"] == 500
    assert handler(tell)(HTTP, MockLambdaContext())["statusCode"] == 500


def test_a_coroutine_that_returns_a_stream(model: MockProvider) -> None:
    model.say("One two.")

    async def tell(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "body": context.astream("Count.")}

    assert body_of(ask(tell)) == "One two."


def test_what_an_asynchronous_generator_raises() -> None:
    async def tell(event: Any, context: Any) -> AsyncIterator[str]:
        yield "a"
        raise OutputError("Not this.")

    response = ask(tell)

    assert response["statusCode"] == 502
    assert json.loads(response["body"])["detail"] == "Not this."
