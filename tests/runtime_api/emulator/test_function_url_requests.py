"""What a Function URL gives to its function, and what it says to pages of other origins."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fakes.streaming_runtime import END, INTEGRATION_RESPONSE, plan, prelude, write_runtime
from lambda_runtime_api.emulator import Environment
from lambda_runtime_api.emulator.function_url import Cors, FunctionUrl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")

HTTP = {"Content-Type": INTEGRATION_RESPONSE}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    task_root = write_runtime(tmp_path / "runtime")
    with Environment(task_root, "none", timeout_seconds=20) as environment:
        yield environment


@pytest.fixture
def buffered(environment: Environment) -> Iterator[FunctionUrl]:
    with FunctionUrl(environment) as url:
        yield url


def post(url: str, body: Any, **more: Any) -> httpx.Response:
    return httpx.post(url, json=body, timeout=30, trust_env=False, **more)


# What the function is given.


def test_the_event(buffered: FunctionUrl) -> None:
    response = httpx.request(
        "PUT",
        f"{buffered.url}/a%20path/x?a=1&b=2&a=%203&empty=",
        content="Grüße",
        headers=[
            ("X-Mine", "1"),
            ("X-Mine", "2"),
            ("Cookie", "a=1; b=2"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("User-Agent", "agent"),
            ("Connection", "close, X-Hop"),
            ("X-Hop", "here"),
        ],
        trust_env=False,
        timeout=30,
    )
    event = response.json()

    assert event["version"] == "2.0"
    assert event["routeKey"] == "$default"
    assert (event["rawPath"], event["rawQueryString"]) == ("/a path/x", "a=1&b=2&a=%203&empty=")
    assert event["queryStringParameters"] == {"a": "1, 3", "b": "2", "empty": ""}
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"]["x-mine"] == "1,2"
    assert not {"cookie", "connection", "x-hop"} & set(event["headers"])
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert (event["body"], event["isBase64Encoded"]) == ("Grüße", False)
    context = event["requestContext"]
    assert context["http"] == {
        "method": "PUT",
        "path": "/a path/x",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "agent",
    }
    assert context["requestId"] == response.headers["x-amzn-requestid"]
    assert context["timeEpoch"] > 1_700_000_000_000


@pytest.mark.parametrize(
    ("content_type", "content", "as_text"),
    [
        ("application/json", b"{}", True),
        ("text/plain", b"\xff", False),
        ("application/x-www-form-urlencoded", b"a=1", False),
        ("", b"a", False),
    ],
)
def test_bodies_are_text_or_base64(
    buffered: FunctionUrl, content_type: str, content: bytes, *, as_text: bool
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    event = httpx.post(
        buffered.url, content=content, headers=headers, trust_env=False, timeout=30
    ).json()

    expected = content.decode() if as_text else base64.b64encode(content).decode()
    assert (event["body"], event["isBase64Encoded"]) == (expected, not as_text)


def test_a_body_that_waits_to_be_asked_for(buffered: FunctionUrl) -> None:
    host, _, port = buffered.url.removeprefix("http://").partition(":")
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert answer.readline() == b"\r\n"
            connection.sendall(b"hi")
            assert answer.readline().startswith(b"HTTP/1.1 200 ")


def test_a_request_without_a_body(buffered: FunctionUrl) -> None:
    event = httpx.get(buffered.url, trust_env=False, timeout=30).json()

    assert not {"body", "cookies", "queryStringParameters"} & set(event)


@pytest.mark.parametrize("mode", ["BUFFERED", "RESPONSE_STREAM"])
def test_a_head_request_gets_no_body(environment: Environment, mode: Any) -> None:
    with FunctionUrl(environment, mode) as url, httpx.Client(trust_env=False, timeout=30) as client:
        for _ in range(2):
            response = client.head(url.url)
            assert (response.status_code, response.content) == (200, b"")


def test_a_mode_that_does_not_exist(environment: Environment) -> None:
    with pytest.raises(ValueError, match="STREAM"):
        FunctionUrl(environment, "STREAM")  # type: ignore[arg-type]


# Pages of other origins.


def test_preflights_are_answered_for_the_function(environment: Environment) -> None:
    cors = Cors(("https://page.example",), ("POST",), ("content-type",), max_age_seconds=60)
    asking = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    with FunctionUrl(environment, cors=cors) as url:
        allowed = httpx.options(url.url, headers=asking, trust_env=False)
        other = {**asking, "Origin": "https://other.example"}
        refused = httpx.options(url.url, headers=other, trust_env=False)

    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://page.example"
    assert allowed.headers["access-control-allow-methods"] == "POST"
    assert allowed.headers["access-control-allow-headers"] == "content-type"
    assert allowed.headers["access-control-max-age"] == "60"
    assert "access-control-allow-origin" not in refused.headers
    assert environment.pids == {}  # nobody was invoked


def test_the_urls_own_headers_stand_in_the_place_of_the_functions(
    environment: Environment,
) -> None:
    cors = Cors(("*",), expose_headers=("x-cost",))
    metadata = '{"headers": {"Access-Control-Allow-Origin": "mine", "X-Cost": "1"}}'
    answer = plan(prelude(metadata), ["chunk", "one"], *END, headers=HTTP)
    with FunctionUrl(environment, "RESPONSE_STREAM", cors=cors) as url:
        response = post(url.url, answer, headers={"Origin": "https://page.example"})

    assert response.text == "one"
    assert response.headers.get_list("access-control-allow-origin") == ["*"]
    assert response.headers["access-control-expose-headers"] == "x-cost"


def test_with_credentials_the_origin_is_named(environment: Environment) -> None:
    cors = Cors(("*",), allow_credentials=True)
    with FunctionUrl(environment, cors=cors) as url:
        response = post(url.url, {"response": "1"}, headers={"Origin": "https://page.example"})

    assert response.headers["access-control-allow-origin"] == "https://page.example"
    assert response.headers["access-control-allow-credentials"] == "true"
