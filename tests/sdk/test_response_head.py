"""Status, headers and cookies of answers that are streamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm import handler, stream_handler
from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HTTP = {"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "GET"}}}


def ask(function: Callable[..., Any], event: Any = HTTP, **arguments: Any) -> Any:
    arguments = {"via": "function-url", **arguments}
    return stream_handler(**arguments)(function)(event, MockLambdaContext())


def test_status_headers_and_cookies() -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        context.start_response(headers={"X-One": "1", "Set-Cookie": "a=1"})
        context.start_response(201, headers={"x-two": "2"}, cookies=["b=2"])
        yield "made"

    response = ask(tell)

    assert response["statusCode"] == 201
    assert response["headers"] == {
        "x-one": "1", "x-two": "2", "content-type": "text/plain; charset=utf-8",
    }  # fmt: skip
    assert response["cookies"] == ["a=1", "b=2"]


def test_a_rest_api_reads_cookies_as_headers_of_many_values() -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        context.start_response(cookies=["a=1", "b=2"])
        yield "x"

    event = {"httpMethod": "GET", "path": "/", "requestContext": {}, "headers": {}}
    response = ask(tell, event, via="api-gateway")

    assert response["multiValueHeaders"] == {"set-cookie": ["a=1", "b=2"]}
    assert "cookies" not in response


@pytest.mark.parametrize(
    "head",
    [
        {"status": 99}, {"status": 100}, {"status": 600}, {"status": "ok"}, {"status": True},
        {"status": None}, {"headers": ["a"]}, {"headers": {"a b": "1"}}, {"headers": {"": "1"}},
        {"headers": {5: "1"}}, {"headers": {"a": "x\r\ny"}}, {"headers": {"a": "snow ☃"}},
        {"headers": {"a": object()}}, {"cookies": ["a=1\n"]},
    ],
)  # fmt: skip
def test_what_is_no_head_is_refused_with_words(head: Any) -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        context.start_response(**head)
        yield "x"

    response = ask(tell)

    assert response["statusCode"] == 500
    assert "of a streamed answer cannot be" in json.loads(response["body"])["detail"]


def test_values_that_can_only_mean_one_thing_are_taken() -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        headers = {"x-n": 1, "x-b": True, "x-none": None, "x-l": ["a", "b"], "x-é": "no"}
        del headers["x-é"]
        context.start_response("201", headers=headers, cookies="a=1")
        context.start_response("201", headers={"X-N": "2"})
        yield "x"

    response = ask(tell)

    assert response["statusCode"] == 201
    assert response["headers"] == {
        "x-n": "2", "x-b": "true", "x-l": "a, b", "content-type": "text/plain; charset=utf-8",
    }  # fmt: skip
    assert response["cookies"] == ["a=1"]


def test_a_head_cannot_be_changed_when_the_first_chunk_has_left() -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        yield "x"
        context.start_response(201)

    response = ask(tell)

    assert response["statusCode"] == 500
    assert "before their first chunk" in json.loads(response["body"])["detail"]


def test_a_response_cannot_start_twice_or_where_nothing_is_streamed() -> None:
    @handler
    def plain(event: Any, context: Any) -> str:
        context.start_response(201)
        return "x"

    assert "@stream_handler" in json.loads(plain(HTTP, MockLambdaContext())["body"])["detail"]
