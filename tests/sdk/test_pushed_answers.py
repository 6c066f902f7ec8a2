"""Handlers of `@stream_handler(via="websocket")`: every chunk is a message to the client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fakes.api_server import ApiServer, Reply
from lambdallm import InvalidRequestError, stream_handler
from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK, GONE, BUSY = Reply(200), Reply(410), Reply(403)


@pytest.fixture
def gateway(embedded: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """What stands for API Gateway: it takes everything."""
    with ApiServer(OK) as server:
        monkeypatch.setenv("LAMBDALLM_CONNECTIONS_ENDPOINT", f"{server.url}/prod")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        embedded()
        yield server


def event(kind: str = "MESSAGE") -> dict[str, Any]:
    request = {
        "routeKey": "$default", "eventType": kind, "connectionId": "c=", "apiId": "a",
        "domainName": "a.execute-api.us-east-1.amazonaws.com", "stage": "prod",
    }  # fmt: skip
    return {"requestContext": request, "body": "hello", "isBase64Encoded": False}


def ask(function: Callable[..., Any], kind: str = "MESSAGE", **arguments: Any) -> Any:
    return stream_handler(via="websocket", **arguments)(function)(event(kind), MockLambdaContext())


def told(gateway: ApiServer) -> list[str]:
    return [asked.body.decode() for asked in gateway.asked]


def test_each_chunk_is_a_message(gateway: ApiServer) -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield from ("one", b"two", {"n": 3}, "", [4])

    assert ask(tell) == {"statusCode": 200}
    assert told(gateway) == ["one", "two", '{"n":3}', "[4]"]


@pytest.mark.parametrize("chunks", [[], ["one"]])
def test_an_error_is_a_message_wherever_it_comes(gateway: ApiServer, chunks: list[str]) -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield from chunks
        raise InvalidRequestError("Say more.")

    answer = ask(tell)

    *before, last = told(gateway)
    assert before == chunks
    assert json.loads(last)["error"]["detail"] == "Say more."
    assert answer == {"statusCode": 400}


def test_an_error_of_ours_is_not_told_to_the_client(gateway: ApiServer) -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield "one"
        raise ValueError("secret")

    ask(tell)

    assert "secret" not in told(gateway)[-1]


def test_who_is_connecting_is_refused_by_a_status(gateway: ApiServer) -> None:
    def tell(event: Any, context: Any) -> Any:
        raise InvalidRequestError("Not you.")

    assert ask(tell, "CONNECT")["statusCode"] == 400
    assert told(gateway) == []


@pytest.mark.parametrize("chunks", [[], ["welcome"]])
def test_who_is_connecting_is_let_in_by_a_handler_that_yields(
    gateway: ApiServer, chunks: list[str]
) -> None:
    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield from chunks

    assert ask(tell, "CONNECT") == {"statusCode": 200, "body": "".join(chunks)}


@pytest.mark.parametrize(("policy", "made"), [("cancel", 1), ("finish", 3)])
def test_a_client_that_is_gone(gateway: ApiServer, policy: str, made: int) -> None:
    gateway.replies = [GONE]
    seen: list[int] = []

    def tell(event: Any, context: Any) -> Iterator[Any]:
        for number in range(3):
            seen.append(number)
            yield str(number)

    assert ask(tell, on_disconnect=policy)["statusCode"] == 200
    assert len(seen) == made
    assert len(gateway.asked) == 1, "it is asked once"


def test_an_error_that_cannot_be_told_is_logged(
    gateway: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.replies = [BUSY]

    def tell(event: Any, context: Any) -> Iterator[Any]:
        yield "one"

    assert ask(tell)["statusCode"] == 500
    lines = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert sum("execute-api:ManageConnections" in line for line in lines) == 2, lines
