"""A Function URL before an environment, as its clients see it: httpx, and bare sockets."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import h11
import httpx
import pytest

from fakes.streaming_runtime import END, INTEGRATION_RESPONSE, chunks, plan, prelude, write_runtime
from lambda_runtime_api.emulator import Environment
from lambda_runtime_api.emulator.function_url import FunctionUrl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("awslambdaric")

FAILED = b"Internal Server Error"
HTTP = {"Content-Type": INTEGRATION_RESPONSE}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    task_root = write_runtime(tmp_path / "runtime")
    with Environment(task_root, "none", timeout_seconds=20) as environment:
        yield environment


@pytest.fixture
def streaming(environment: Environment) -> Iterator[FunctionUrl]:
    with FunctionUrl(environment, "RESPONSE_STREAM") as url:
        yield url


@pytest.fixture
def buffered(environment: Environment) -> Iterator[FunctionUrl]:
    with FunctionUrl(environment) as url:
        yield url


def post(url: str, body: Any, **more: Any) -> httpx.Response:
    return httpx.post(url, json=body, timeout=30, trust_env=False, **more)


def printed(environment: Environment, begin: str) -> list[str]:
    return [line.text for line in environment.logs if line.text.startswith(begin)]


def raw_post(url: str, body: Any) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), 30)
    content = json.dumps(body).encode()
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n"
    connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + content)
    return connection


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = connection.recv(65_536)
        assert piece, received
        received += piece
    return received


# RESPONSE_STREAM.


def test_chunks_reach_the_client_before_the_handler_ends(
    streaming: FunctionUrl, environment: Environment, tmp_path: Path
) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    steps = [
        prelude('{"statusCode": 201, "headers": {"X-Mine": "yes"}, "cookies": ["a=1", "b=2"]}'),
        ["chunk", "one"],
        ["gate", str(gates[0])],
        ["chunk", "two"],
        ["gate", str(gates[1])],
    ]
    with httpx.stream(
        "POST", streaming.url, json=plan(*steps, *END, headers=HTTP), timeout=30, trust_env=False
    ) as response:
        pieces = response.iter_bytes()
        assert next(pieces) == b"one"
        gates[0].touch()
        assert next(pieces) == b"two"
        assert printed(environment, "told") == []
        gates[1].touch()
        assert list(pieces) == []

    assert response.status_code == 201
    assert response.headers["x-mine"] == "yes"
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["x-amzn-requestid"]
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_each_chunk_is_a_chunk(streaming: FunctionUrl, tmp_path: Path) -> None:
    """On the wire, by h11, which knows nothing of our own HTTP."""
    gate = tmp_path / "gate"
    with raw_post(streaming.url, plan(["chunk", "one"], ["gate", str(gate)], *END)) as connection:
        peer = h11.Connection(h11.CLIENT)
        peer.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
        peer.send(h11.EndOfMessage())
        events: list[Any] = []
        while not events or not isinstance(events[-1], h11.EndOfMessage):
            event = peer.next_event()
            if event is h11.NEED_DATA:
                peer.receive_data(connection.recv(65_536))
                continue
            events.append(event)
            if isinstance(event, h11.Data):
                gate.touch()

    assert [type(event).__name__ for event in events] == ["Response", "Data", "EndOfMessage"]
    assert events[1].data == b"one"
    assert (events[1].chunk_start, events[1].chunk_end) == (True, True)


def test_a_prelude_that_comes_in_pieces(streaming: FunctionUrl, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    steps = [["chunk", '{"statusCode"'], ["gate", str(gate)], ["chunk", ": 418}\0\0\0"]]
    gate.touch()
    response = post(streaming.url, plan(*steps, ["chunk", "\0\0\0\0\0one"], *END, headers=HTTP))

    assert (response.status_code, response.text) == (418, "one")


@pytest.mark.parametrize(
    "metadata", ["[" * 5_000 + "]" * 5_000, r'{"headers": {"x-a": "\ud800"}}'], ids=["deep", "half"]
)
def test_a_prelude_that_cannot_be_read_is_a_502(streaming: FunctionUrl, metadata: str) -> None:
    response = post(streaming.url, plan(prelude(metadata), ["chunk", "x"], *END, headers=HTTP))

    assert (response.status_code, response.content) == (502, FAILED)
    assert post(streaming.url, plan(["chunk", "next"], *END)).text == "next"


def test_without_the_content_type_the_bytes_are_the_body(streaming: FunctionUrl) -> None:
    text = '{"statusCode": 418}' + "\0" * 8 + "one"
    response = post(streaming.url, plan(["chunk", text], *END))

    assert (response.status_code, response.text) == (200, text)
    assert response.headers["content-type"] == "text/plain"


def test_an_answer_that_is_not_streamed_stays_as_it_is(streaming: FunctionUrl) -> None:
    answer = '{"statusCode": 418, "body": "one"}'
    response = post(streaming.url, {"response": answer})

    assert (response.status_code, response.text) == (200, answer)


def test_a_streamed_response_may_be_empty(streaming: FunctionUrl) -> None:
    nothing = post(streaming.url, plan(*END))
    head_alone = post(streaming.url, plan(prelude('{"statusCode": 202}'), *END, headers=HTTP))
    bodiless = post(streaming.url, plan(prelude('{"statusCode": 204}'), *END, headers=HTTP))

    assert (nothing.status_code, nothing.content) == (200, b"")
    assert (head_alone.status_code, head_alone.content) == (202, b"")
    assert (bodiless.status_code, bodiless.content) == (204, b"")


@pytest.mark.parametrize(
    "answer",
    [
        plan(["fail", "ValueError", {}], ["told"]),
        plan(["fail", "ValueError", {}], ["told"], headers=HTTP),
        plan(),
        plan(["exit", 1]),
        {"error": '{"errorType": "ValueError"}'},
        plan(["chunk", "no JSON" + "\0" * 8], *END, headers=HTTP),
        plan(["chunk", "[]" + "\0" * 8], *END, headers=HTTP),
        plan(["chunk", '{"statusCode": "x"}' + "\0" * 8], *END, headers=HTTP),
        plan(["chunk", '{"headers": {"a b": "c"}}' + "\0" * 8], *END, headers=HTTP),
        plan(["chunk", '{"headers": {"a": "b\\r\\nc: d"}}' + "\0" * 8], *END, headers=HTTP),
        plan(["chunk", '{"statusCode": 200}' + "\0" * 7], *END, headers=HTTP),
        plan(["flood", 20_000], *END, headers=HTTP),
    ],
)
def test_an_error_before_the_head_is_a_502(
    streaming: FunctionUrl, environment: Environment, answer: dict[str, Any]
) -> None:
    response = post(streaming.url, answer)

    assert (response.status_code, response.text) == (502, "Internal Server Error")
    environment.wait_until_idle()
    assert post(streaming.url, plan(["chunk", "two"], *END)).text == "two"


@pytest.mark.parametrize("last", [[["fail", "ValueError", {}], ["told"]], [], [["exit", 1]]])
def test_an_error_behind_the_head_cuts_the_connection(
    streaming: FunctionUrl, tmp_path: Path, last: list[list[Any]]
) -> None:
    gate = tmp_path / "gate"
    answer = plan(["chunk", "one"], ["gate", str(gate)], *last)
    with httpx.stream("POST", streaming.url, json=answer, timeout=30, trust_env=False) as response:
        pieces = response.iter_bytes()
        assert (response.status_code, next(pieces)) == (200, b"one")
        gate.touch()
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)


def test_one_connection_serves_many(streaming: FunctionUrl) -> None:
    with httpx.Client(trust_env=False, timeout=30) as client:
        for number in range(3):
            response = client.post(streaming.url, json=plan(["chunk", str(number)], *END))
            assert response.text == str(number)
            assert client.post(streaming.url, json={"response": "1"}).text == "1"


def test_requests_wait_for_each_other(
    streaming: FunctionUrl, environment: Environment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    texts: dict[str, str] = {}

    def ask(name: str) -> None:
        response = post(streaming.url, plan(["gate", str(gate)], ["chunk", name], *END))
        texts[name] = response.text

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    gate.touch()
    for thread in threads:
        thread.join(30)

    assert texts == {"a": "a", "b": "b", "c": "c"}
    environment.wait_until_idle()
    order = [line.text.split()[0] for line in environment.logs if "RequestId:" in line.text]
    assert order == ["START", "END", "REPORT"] * 3


# The client goes away.


def test_lambda_reads_on_when_the_client_has_gone(
    streaming: FunctionUrl, environment: Environment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    steps = [["chunk", "one"], ["gate", str(gate)], ["flood", 10_000_000], ["say", "sent"], *END]
    with raw_post(streaming.url, plan(*steps)) as connection:
        receive_until(connection, b"one\r\n")
    gate.touch()

    assert post(streaming.url, plan(["chunk", "two"], *END)).text == "two"
    assert len(printed(environment, "sent")) == 1
    assert printed(environment, "broken") == []


def test_the_runtime_may_be_told_at_once(environment: Environment) -> None:
    """It sends nothing, and waits for an answer that cannot come."""
    with FunctionUrl(environment, "RESPONSE_STREAM", interrupts=True) as url:
        with raw_post(url.url, plan(["chunk", "one"], ["told"])) as connection:
            receive_until(connection, b"one\r\n")
        assert post(url.url, plan(["chunk", "two"], *END)).text == "two"

    assert len(printed(environment, "broken") + printed(environment, "told nothing")) == 1


# BUFFERED.


def test_a_streamed_response_is_collected(buffered: FunctionUrl) -> None:
    answer = json.dumps({"statusCode": 201, "body": "one"})
    response = post(buffered.url, plan(*chunks(answer[:5], answer[5:]), *END))

    assert (response.status_code, response.text) == (201, "one")
    assert "transfer-encoding" not in response.headers


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ('{"statusCode": 404, "body": "no"}', 404, b"no"),
        ('{"statusCode": "404", "body": null}', 404, b""),
        ('{"statusCode": 200, "body": "AP8=", "isBase64Encoded": true}', 200, b"\x00\xff"),
        ('{"message": "hi"}', 200, b'{"message": "hi"}'),
        ('"hi"', 200, b'"hi"'),
        ("null", 200, b"null"),
        ('{"statusCode": 1000, "body": "no"}', 502, FAILED),
        ('{"statusCode": 200, "body": {"a": 1}}', 502, FAILED),
        ('{"statusCode": 200, "body": "?", "isBase64Encoded": true}', 502, FAILED),
        ("no JSON", 502, FAILED),
        (r'{"statusCode": 200, "body": "\ud800"}', 502, FAILED),
        ("[" * 5_000 + "]" * 5_000, 502, FAILED),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_a_buffered_answer_means(
    buffered: FunctionUrl, answer: str, status: int, body: bytes
) -> None:
    response = post(buffered.url, {"response": answer})

    assert (response.status_code, response.content) == (status, body)
    assert response.headers["content-type"] == "application/json"


def test_headers_and_cookies(buffered: FunctionUrl) -> None:
    answer = {
        "statusCode": 200,
        "headers": {"Content-Type": "text/html", "X-Count": 3, "X-Flag": True, "Content-Length": 9},
        "cookies": ["a=1; Secure", "b=2"],
        "body": "<p>",
    }
    response = post(buffered.url, {"response": json.dumps(answer)})

    assert response.text == "<p>"
    assert response.headers["content-type"] == "text/html"
    assert (response.headers["x-count"], response.headers["x-flag"]) == ("3", "true")
    assert response.headers.get_list("set-cookie") == ["a=1; Secure", "b=2"]


def test_an_error_is_a_502(buffered: FunctionUrl) -> None:
    response = post(buffered.url, {"error": '{"errorType": "ValueError"}'})

    assert (response.status_code, response.text) == (502, "Internal Server Error")


def test_a_request_that_is_too_long(buffered: FunctionUrl) -> None:
    response = post(buffered.url, {"response": "x" * 6_300_000})

    assert response.status_code == 413


def test_a_managed_instance_serves_several_at_once(tmp_path: Path) -> None:
    task_root = write_runtime(tmp_path / "runtime")
    gate = tmp_path / "gate"
    with (
        Environment(task_root, "none", timeout_seconds=20, managed_concurrency=2) as environment,
        FunctionUrl(environment, "RESPONSE_STREAM") as url,
        raw_post(url.url, plan(["chunk", "one"], ["gate", str(gate)], *END)) as first,
    ):
        receive_until(first, b"one\r\n")
        assert post(url.url, plan(["chunk", "two"], *END)).text == "two"
        gate.touch()
        assert receive_until(first, b"0\r\n\r\n")
