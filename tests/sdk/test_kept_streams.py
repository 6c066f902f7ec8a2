"""`@idempotent` below `@stream_handler`: a stream is kept while it leaves, and comes again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm import idempotent, sse, stream_handler
from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = json.dumps({"answers": [f"answer {n}" for n in range(9)], "repeat": False})


@pytest.fixture(autouse=True)
def engine(embedded: Callable[..., None]) -> None:
    embedded(LAMBDALLM_MODEL="scripted/any", LAMBDALLM_SCRIPT=SCRIPT)


def post(body: Any = None, **headers: str) -> dict[str, Any]:
    return {"httpMethod": "POST", "path": "/", "headers": headers, "body": json.dumps(body)}


def streaming(made: list[str], body: Callable[..., Any] | None = None) -> Any:
    def tell(event: Any, context: Any) -> Any:
        made.append("begun")
        yield sse("one")
        yield from context.stream("Go on.")
        yield {"n": 1}
        yield b"\xc3\xa4"

    arguments: dict[str, Any] = {"via": "function-url", "content_type": "text/event-stream"}
    return stream_handler(**arguments)(idempotent(body or tell))


def text_of(function: Any, event: Any) -> str:
    answer = function(event, MockLambdaContext())
    assert answer["statusCode"] == 200, answer
    text: str = answer["body"]
    return text


def test_a_stream_is_kept_while_it_leaves_and_comes_again_as_it_was() -> None:
    made: list[str] = []
    function = streaming(made)
    event = post({"a": 1}, **{"idempotency-key": "k"})
    texts = [text_of(function, event) for _ in range(2)]

    assert texts == ['data: one\n\nanswer 0data: {"n": 1}\n\nä'] * 2
    assert made == ["begun"]


def test_a_body_that_is_a_stream_keeps_its_head() -> None:
    def tell(event: Any, context: Any) -> Any:
        return {"statusCode": 201, "cookies": ["a=1"], "body": context.stream("Go on.")}

    function = stream_handler(via="function-url")(idempotent(tell))
    event = post({"a": 1}, **{"idempotency-key": "k"})
    first, second = (function(event, MockLambdaContext()) for _ in range(2))

    assert first == second
    assert (first["statusCode"], first["cookies"], first["body"]) == (201, ["a=1"], "answer 0")


def test_what_was_said_of_its_head_is_kept_too() -> None:
    def tell(event: Any, context: Any) -> Any:
        context.start_response(202, headers={"x-model": "nova"}, cookies=["a=1"])
        yield "one"

    function = stream_handler(via="function-url")(idempotent(tell))
    event = post({"a": 1}, **{"idempotency-key": "k"})
    first, second = (function(event, MockLambdaContext()) for _ in range(2))

    assert first == second
    assert (first["statusCode"], first["headers"]["x-model"]) == (202, "nova")


def test_what_is_returned_in_the_place_of_a_stream_is_kept_too() -> None:
    asked: list[int] = []

    def tell(event: Any, context: Any) -> Any:
        asked.append(1)
        if asked:
            return {"statusCode": 404, "body": "no"}
        yield "x"

    function = stream_handler(via="function-url")(idempotent(tell))
    event = post({"a": 1}, **{"idempotency-key": "k"})

    assert [function(event, MockLambdaContext()) for _ in range(2)] == [
        {"statusCode": 404, "body": "no"}
    ] * 2
    assert asked == [1]


def test_what_grows_is_kept_as_it_was_when_it_left() -> None:
    def tell(event: Any, context: Any) -> Any:
        growing: dict[str, int] = {}
        for name in ("a", "b"):
            growing[name] = 1
            yield growing

    function = stream_handler(via="function-url")(idempotent(tell))
    event = post({"a": 1}, **{"idempotency-key": "k"})

    assert [text_of(function, event) for _ in range(2)] == ['{"a": 1}\n{"a": 1, "b": 1}\n'] * 2


def test_a_coroutines_stream_is_kept_too() -> None:
    async def tell(event: Any, context: Any) -> Any:
        async for piece in context.astream("Go on."):
            yield piece

    function = stream_handler(via="function-url")(idempotent(tell))
    event = post({"a": 1}, **{"idempotency-key": "k"})

    assert [text_of(function, event) for _ in range(2)] == ["answer 0"] * 2


def test_a_stream_that_failed_is_made_again_without_paying_twice() -> None:
    fails = [True]

    def tell(event: Any, context: Any) -> Any:
        text = context.invoke("Think.")
        yield text
        if fails:
            fails.clear()
            raise ConnectionError
        yield context.invoke("Go on.")

    function = stream_handler(via="function-url")(idempotent(tell))
    event = post({"a": 1}, **{"idempotency-key": "k"})
    failed = function(event, MockLambdaContext())

    assert failed["statusCode"] == 500
    assert text_of(function, event) == "answer 0answer 1", "the first answer was paid once"
