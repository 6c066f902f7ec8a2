"""Handlers that yield, where nothing is streamed: outside of Lambda, and for other events."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm import (
    ConfigurationError,
    OutputError,
    Session,
    StreamingResponse,
    handler,
    sse,
    stream_handler,
)
from lambdallm.testing import MockLambdaContext, MockProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HTTP = {"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "GET"}}}


def ask(function: Callable[..., Any], event: Any = HTTP, **arguments: Any) -> Any:
    arguments = {"via": "function-url", **arguments}
    return stream_handler(**arguments)(function)(event, MockLambdaContext())


def body_of(response: Any) -> Any:
    assert response["statusCode"] == 200, response
    return response["body"]


# What is yielded


@pytest.mark.parametrize(
    ("chunks", "content_type", "body"),
    [
        (["Hel", "lo"], "text/plain; charset=utf-8", "Hello"),
        ([{"n": 1}, [2]], "application/x-ndjson", '{"n": 1}\n[2]\n'),
        ([sse("a"), {"n": 1}, "raw"], "text/event-stream; charset=utf-8",
         'data: a\n\ndata: {"n": 1}\n\nraw'),
        ([b"a", bytearray(b"b"), memoryview(b"c"), "d"], "application/octet-stream", "abcd"),
        (["", b"late"], "text/plain; charset=utf-8", "late"),
        (["lone \ud800 half"], "text/plain; charset=utf-8", "lone ? half"),
        ([], "text/plain; charset=utf-8", ""),
    ],
)  # fmt: skip
def test_each_kind_of_chunk(chunks: list[Any], content_type: str, body: str) -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield from chunks

    response = ask(tell)

    assert response["headers"]["content-type"] == content_type
    assert body_of(response) == body


def test_events_in_an_answer_of_another_kind_are_refused() -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield {"n": 1}
        yield sse("x")

    response = ask(tell)

    assert response["statusCode"] == OutputError.status
    assert "text/event-stream" in json.loads(response["body"])["detail"]


def test_who_wants_error_events_wants_events() -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield ""
        yield {"n": 1}

    response = ask(tell, error_event=True)

    assert response["headers"]["content-type"] == "text/event-stream; charset=utf-8"
    assert response["body"] == 'data: {"n": 1}\n\n'


def test_events_are_not_kept_back_on_their_way() -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        yield sse("x")

    headers = ask(tell)["headers"]

    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")


def test_bytes_that_are_no_text_come_in_base64() -> None:
    def tell(event: Any, context: Any) -> Iterator[bytes]:
        yield b"\xff\x00"

    response = ask(tell)

    assert response["isBase64Encoded"] is True
    assert base64.b64decode(response["body"]) == b"\xff\x00"


@pytest.mark.parametrize(
    "chunk", [5, None, object(), {1, 2}, {"x": {1}}, {"x": object()}, {"x": float("nan")}]
)
def test_what_cannot_be_sent_is_refused_with_words(chunk: Any) -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield chunk

    response = ask(tell)

    assert response["statusCode"] == OutputError.status
    assert "yielded" in response["body"] or "is made of" in response["body"]


def test_what_cannot_be_sent_is_a_status_as_the_first_chunk_only() -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        context.start_response(201)
        yield object()

    assert ask(tell)["statusCode"] == OutputError.status


def test_a_content_type_that_is_said_wins() -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield {"n": 1}

    assert body_of(ask(tell, content_type="text/event-stream")) == 'data: {"n": 1}\n\n'


# What it returns


def test_a_body_that_is_a_generator() -> None:
    def tell(event: Any, context: Any) -> Any:
        return {
            "statusCode": 203,
            "headers": {"Content-Type": "text/csv"},
            "multiValueHeaders": {"x-many": ["1", "2"]},
            "cookies": ["a=1"],
            "body": (f"{n}\n" for n in range(3)),
        }

    response = ask(tell)

    assert response == {
        "statusCode": 203,
        "headers": {"content-type": "text/csv", "x-many": "1, 2"},
        "cookies": ["a=1"],
        "body": "0\n1\n2\n",
    }


def test_a_body_that_is_a_models_answer(model: MockProvider) -> None:
    model.say("One two.", "Three.", "Four.")

    def as_text(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "body": context.stream("Count.")}

    def as_events(event: Any, context: Any) -> Any:
        return {"headers": {"content-type": "text/event-stream"}, "body": context.stream("Go on.")}

    def alone(event: Any, context: Any) -> Any:
        return context.stream("Go on.")

    assert body_of(ask(as_text)) == "One two."
    assert body_of(ask(as_events)) == "data: Three.\n\n"
    assert body_of(ask(alone)) == "Four."


@pytest.mark.parametrize("make", [iter, lambda pieces: map(str, pieces)])
def test_a_body_that_is_any_iterator(make: Callable[..., Any]) -> None:
    def tell(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "body": make(["a", "b"])}

    assert body_of(ask(tell)) == "ab"


def test_the_earlier_packages_response() -> None:
    made = StreamingResponse((piece for piece in ("a", "b")), {"kept": 1})

    def tell(event: Any, context: Any) -> Any:
        return made

    assert body_of(ask(tell, via="function-url")) == "ab"
    assert (made.full_text, made.metadata) == ("ab", {"kept": 1})


@pytest.mark.parametrize("value", [{"reply": "x"}, "x", {"statusCode": 200, "body": {"a": 1}}, []])
def test_what_is_no_stream_is_answered_as_by_handler(value: Any) -> None:
    def tell(event: Any, context: Any) -> Any:
        return value

    assert ask(tell) == handler(tell)(HTTP, MockLambdaContext())


def test_a_generator_that_returns_before_it_yields_answers_with_that() -> None:
    def tell(event: Any, context: Any) -> Any:
        if event["rawPath"] == "/":
            return {"statusCode": 404, "body": "nothing here"}
        yield "x"

    assert ask(tell) == {"statusCode": 404, "body": "nothing here"}


def test_what_it_returns_afterwards_goes_nowhere_and_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def tell(event: Any, context: Any) -> Any:
        yield "x"
        return {"statusCode": 404}

    assert body_of(ask(tell)) == "x"
    assert "goes nowhere" in capsys.readouterr().err


def test_base64_and_pieces_do_not_go_together() -> None:
    def tell(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "isBase64Encoded": True, "body": iter(["eA=="])}

    assert ask(tell)["statusCode"] == OutputError.status


def test_a_generator_under_handler_is_refused_with_words() -> None:
    @handler
    def tell(event: Any, context: Any) -> Iterator[str]:
        yield "x"

    assert "@stream_handler(via=" in json.loads(tell(HTTP, MockLambdaContext())["body"])["detail"]


# Failures and sessions


@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_error_anywhere_is_a_status_where_nothing_has_left(at: int) -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        for number in range(3):
            if number == at:
                raise ConfigurationError("No.")
            yield str(number)

    response = ask(tell)

    assert response["statusCode"] == 500
    assert json.loads(response["body"])["detail"] == "No."


def test_an_error_of_an_event_without_status_is_raised() -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        yield "a"
        raise ConfigurationError("No.")

    with pytest.raises(ConfigurationError, match="No"):
        ask(tell, {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "x"}]})


def test_a_whole_answer_of_an_event_without_status_is_its_text() -> None:
    def tell(event: Any, context: Any) -> Iterator[str]:
        yield "a"
        yield "b"

    assert ask(tell, {"any": "thing"}, via="invoke") == "ab"
    assert ask(tell, {"any": "thing"}, via="function-url") == "ab"


def test_what_was_said_is_stored_when_the_stream_has_ended(model: MockProvider) -> None:
    model.say("Hello, Ada.", "You are Ada.")

    @stream_handler(via="function-url", session=Session(store="memory"))
    def chat(event: Any, context: Any) -> Iterator[str]:
        context.session.add_message("user", event["body"]["message"])
        stream = context.stream(context.session.format_history())
        yield from stream
        context.session.add_message("assistant", stream.text)

    def say(message: str, **headers: str) -> Any:
        body = json.dumps({"message": message})
        return chat({**HTTP, "headers": headers, "body": body}, MockLambdaContext())

    session_id = say("I am Ada.")["headers"]["x-session-id"]
    say("Who am I?", **{"x-session-id": session_id})

    assert "Hello, Ada." in model.prompts[1], "the second event saw the first one's answer"


def test_middleware_runs_around_the_making_of_the_generator() -> None:
    from lambdallm import Middleware

    seen: list[str] = []

    class Watching(Middleware):
        def before_invoke(self, event: Any, context: Any) -> Any:
            seen.append("before")

        def after_invoke(self, event: Any, result: Any, context: Any) -> Any:
            seen.append("after")
            return (piece.upper() for piece in result)

        def on_error(self, event: Any, error: Exception, context: Any) -> None:
            seen.append(type(error).__name__)

    def tell(event: Any, context: Any) -> Iterator[str]:
        seen.append("runs")
        yield "a"
        raise OutputError("Not this.")

    assert ask(tell, middleware=[Watching()])["statusCode"] == 502
    assert seen == ["before", "after", "runs", "OutputError"]


# What it is given


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"via": "url"}, "via='url': use 'function-url', 'api-gateway', 'invoke', 'websocket'"),
        ({"on_disconnect": "stop"}, "on_disconnect='stop': use 'cancel', 'finish'"),
        ({"timeout_strategy": "x"}, "timeout_strategy"),
        ({"session": 5}, "give a Session"),
    ],
)
def test_arguments_are_checked_when_it_decorates(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        stream_handler(**arguments)


def test_it_works_without_parentheses_and_by_the_earlier_packages_arguments() -> None:
    @stream_handler
    def bare(event: Any, context: Any) -> Iterator[str]:
        yield "x"

    @stream_handler("bedrock/any", 3, 2)
    def told(event: Any, context: Any) -> Iterator[str]:
        yield f"{context.model.wire_name} {context.timeout_buffer} {context.max_retries}"

    assert body_of(bare(HTTP, MockLambdaContext())) == "x"
    assert body_of(told(HTTP, MockLambdaContext())) == "bedrock/any 3 2"


def test_called_with_the_function_it_takes_its_other_arguments_too() -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield {"n": context.timeout_buffer}

    made = stream_handler(tell, 3, content_type="text/event-stream")
    plain = handler(lambda event, context: context.timeout_buffer, timeout_buffer=4)

    assert body_of(made(HTTP, MockLambdaContext())) == 'data: {"n": 3}\n\n'
    assert body_of(plain(HTTP, MockLambdaContext())) == "4"
