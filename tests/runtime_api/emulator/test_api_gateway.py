"""A REST API before an environment, as its clients see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fakes.streaming_runtime import END, chunks, plan, prelude, write_runtime
from lambda_runtime_api.emulator import Environment
from lambda_runtime_api.emulator.api_gateway import RestApi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")

FAILED = {"message": "Internal server error"}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    task_root = write_runtime(tmp_path / "runtime")
    with Environment(task_root, "none", timeout_seconds=20) as environment:
        yield environment


def post(url: str, body: Any) -> httpx.Response:
    return httpx.post(url, json=body, timeout=30, trust_env=False)


def test_chunks_reach_the_client_before_the_handler_ends(
    environment: Environment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    metadata = {
        "statusCode": 201,
        "headers": {"X-One": "1"},
        "multiValueHeaders": {"X-Two": ["a", "b"]},
        "cookies": ["c=1"],
    }
    steps = [prelude(json.dumps(metadata)), ["chunk", "one"], ["gate", str(gate)], ["chunk", "two"]]
    with (
        RestApi(environment, "STREAM") as api,
        httpx.stream(
            "POST", api.url, json=plan(*steps, *END), timeout=30, trust_env=False
        ) as response,
    ):
        pieces = response.iter_bytes()
        assert next(pieces) == b"one"
        gate.touch()
        assert list(pieces) == [b"two"]

    assert (response.status_code, response.headers["x-one"]) == (201, "1")
    assert response.headers["content-type"] == "application/json"
    assert response.headers.get_list("x-two") == ["a", "b"]
    assert response.headers.get_list("set-cookie") == ["c=1"]


@pytest.mark.parametrize(
    "answer",
    [
        plan(*chunks("one", "two"), *END),
        plan(*END),
        plan(["chunk", '{"statusCode": 200}'], *END),
        plan(prelude("{}" + " " * 16_400), ["chunk", "one"], *END),
        plan(["fail", "ValueError", {}], ["told"]),
        {"response": '{"statusCode": 200, "body": "not streamed"}'},
        {"error": '{"errorType": "ValueError"}'},
    ],
)
def test_without_a_prelude_it_is_a_502(environment: Environment, answer: dict[str, Any]) -> None:
    with RestApi(environment, "STREAM") as api:
        response = post(api.url, answer)
        again = post(api.url, plan(prelude("{}"), ["chunk", "two"], *END))

    assert (response.status_code, response.json()) == (502, FAILED)
    assert (again.status_code, again.text) == (200, "two")


def test_an_error_behind_the_prelude_cuts_the_connection(environment: Environment) -> None:
    steps = [prelude("{}"), ["chunk", "one"], ["fail", "ValueError", {}], ["told"]]
    with RestApi(environment, "STREAM") as api, pytest.raises(httpx.RemoteProtocolError):
        post(api.url, plan(*steps))


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"statusCode": 201, "body": "one", "multiValueHeaders": {"A": ["1", "2"]}}, 201),
        ({"body": "one"}, 200),
        ({"statusCode": 201, "body": "one", "cookies": []}, 502),
        ("one", 502),
        ({"statusCode": 201, "body": 1}, 502),
    ],
)
def test_what_a_buffered_answer_means(environment: Environment, answer: Any, status: int) -> None:
    with RestApi(environment) as api:
        response = post(api.url, {"response": json.dumps(answer)})

    assert response.status_code == status
    if status == 502:
        assert response.json() == FAILED
    else:
        assert response.text == "one"


def test_the_event(environment: Environment) -> None:
    with RestApi(environment) as api:
        response = httpx.request(
            "POST",
            f"{api.url}/a/path?a=1&a=2",
            content="Grüße",
            headers=[("X-Mine", "1"), ("X-Mine", "2"), ("Content-Type", "text/plain")],
            trust_env=False,
            timeout=30,
        )
    assert response.status_code == 502  # an event is no answer of a REST API
    [line] = [line.text for line in environment.logs if line.text.startswith("event ")]
    event = json.loads(line.removeprefix("event "))

    assert (event["httpMethod"], event["path"], event["resource"]) == (
        "POST",
        "/a/path",
        "/{proxy+}",
    )
    assert event["pathParameters"] == {"proxy": "a/path"}
    assert event["queryStringParameters"] == {"a": "2"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert (event["headers"]["x-mine"], event["multiValueHeaders"]["x-mine"]) == ("2", ["1", "2"])
    assert (event["body"], event["isBase64Encoded"]) == ("Grüße", False)
    assert event["requestContext"]["requestId"] == response.headers["x-amzn-requestid"]
    assert event["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"


def test_a_mode_that_does_not_exist(environment: Environment) -> None:
    with pytest.raises(ValueError, match="RESPONSE_STREAM"):
        RestApi(environment, "RESPONSE_STREAM")  # type: ignore[arg-type]
