"""What listens when nothing else of us does: real clients through it, as a program of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import openai
import pytest

import lambdallm_extension
from lambda_runtime_api import http1
from lambdallm.testing.model_server import ModelServer
from lambdallm_extension.aws.signing import Credentials
from lambdallm_extension.server.dropin.signatures import Signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM = Path(lambdallm_extension.__file__).with_name("raw_listener.py")
LIBRARY = Path(http1.__file__).parents[1]
CLIENT_KEY = "lambdallm-0123456789abcdef"
KEYS = {
    "AWS_ACCESS_KEY_ID": "ASIAOURS",
    "AWS_SECRET_ACCESS_KEY": "secret/+",
    "AWS_SESSION_TOKEN": "session==",
    "AWS_REGION": "eu-central-1",
    "OPENAI_API_KEY": "sk-of-the-environment",
    "ANTHROPIC_API_KEY": "sk-ant-of-the-environment",
}
MODEL = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.amazon.nova-micro-v1:0"
MESSAGES: Any = [{"role": "user", "content": "hello €"}]
JSON = [("content-type", "application/json")]


class Listening(NamedTuple):
    """A program that listens."""

    url: str
    port: int
    directory: Path
    process: subprocess.Popen[str]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package as the layer has it: what it needs beside it."""
    root = tmp_path / "layer"
    root.mkdir()
    for name in ("lambda_runtime_api", "lambdallm_wire"):
        (root / name).symlink_to(LIBRARY / name)
    (root / "lambdallm_extension").symlink_to(PROGRAM.parent)
    return root / "lambdallm_extension"


@pytest.fixture
def listen(tmp_path: Path, package: Path, free_port: int) -> Iterator[Callable[..., Listening]]:
    """Start the program as the launcher does, where a sidecar has left its files."""
    started: list[subprocess.Popen[str]] = []

    def listen(**variables: str) -> Listening:
        directory = tmp_path / "lambdallm"
        directory.mkdir()
        (directory / "clients").write_text(f"{free_port} {CLIENT_KEY}\n")
        (directory / "token").write_text(f"{free_port} token\n")
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(package / "raw_listener.py")],
            env={**KEYS, **variables, "LAMBDALLM_DIRECTORY": str(directory)},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        while (directory / "token").exists() and process.poll() is None:
            os.sched_yield()
        return Listening(f"http://127.0.0.1:{free_port}", free_port, directory, process)

    yield listen
    for process in started:
        process.kill()
        process.communicate()


def bedrock(at: Listening, **more: Any) -> Any:
    options = {
        "aws_access_key_id": "ASIAOURS",
        "aws_secret_access_key": "secret/+",
        "aws_session_token": "session==",
        "config": botocore.config.Config(retries={"total_max_attempts": 1}),
        **more,
    }
    url = f"{at.url}/bedrock"
    return boto3.client("bedrock-runtime", endpoint_url=url, region_name="eu-central-1", **options)


def converse(client: Any) -> str:
    messages = [{"role": "user", "content": [{"text": "hello €"}]}]
    reply = client.converse(modelId=MODEL, messages=messages)
    text: str = reply["output"]["message"]["content"][0]["text"]
    return text


def completion(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    whole = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    return json.dumps(whole).encode()


def ask(client: openai.OpenAI) -> str | None:
    reply = client.chat.completions.create(model="m", messages=MESSAGES)
    return reply.choices[0].message.content


def test_boto3_is_answered_and_its_request_is_signed_anew(listen: Callable[..., Listening]) -> None:
    with ModelServer(lambda _: "hello yourself") as server:
        at = listen(AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
        client = bedrock(at)

        assert [converse(client), converse(client)] == ["hello yourself"] * 2


def test_what_it_sends_carries_a_signature_for_the_place_where_it_goes(
    listen: Callable[..., Listening], serve: Callable[..., Any]
) -> None:
    peer = serve(lambda line: (line.read(), line.reply(b'{"message": "no"}', 400, JSON)))
    at = listen(AWS_ENDPOINT_URL_BEDROCK_RUNTIME=f"http://127.0.0.1:{peer.port}/base/")
    with pytest.raises(botocore.exceptions.ClientError, match="no"):
        converse(bedrock(at))

    ((head, body),) = peer.requests
    assert head.target.startswith("/base/model/arn%3Aaws")
    assert head.header("host") == f"127.0.0.1:{peer.port}"
    signed = Signed.parse(head.header("authorization"))
    assert signed is not None
    keys = Credentials("ASIAOURS", "secret/+", "session==")
    assert signed.is_by(keys, head.method, head.target, head.headers, body)


def test_credentials_of_a_container_are_used(
    listen: Callable[..., Listening], serve: Callable[..., Any]
) -> None:
    answer = {"AccessKeyId": "ASIANEW", "SecretAccessKey": "new", "Token": "t"}
    endpoint = serve(lambda line: (line.read(), line.reply(json.dumps(answer).encode())))
    with ModelServer(lambda _: "hello yourself") as server:
        at = listen(
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url,
            AWS_ACCESS_KEY_ID="",
            AWS_SECRET_ACCESS_KEY="",
            AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{endpoint.port}/c",
            AWS_CONTAINER_AUTHORIZATION_TOKEN="one",
        )
        keys = {"aws_access_key_id": "ASIANEW", "aws_secret_access_key": "new"}
        assert converse(bedrock(at, **keys)) == "hello yourself"

    assert endpoint.requests[0][0].header("authorization") == "one"


@pytest.mark.parametrize(
    "keys", [{"aws_access_key_id": "AKIAOFANOTHER"}, {"aws_secret_access_key": "guessed"}]
)
def test_signatures_of_others_are_refused(
    listen: Callable[..., Listening], keys: dict[str, str]
) -> None:
    at = listen(AWS_ENDPOINT_URL_BEDROCK_RUNTIME="http://127.0.0.1:1")

    with pytest.raises(botocore.exceptions.ClientError, match="not signed with the function's"):
        converse(bedrock(at, **keys))


@pytest.mark.parametrize("key", [CLIENT_KEY, KEYS["OPENAI_API_KEY"]])
def test_openai_is_answered_with_the_environments_key(
    listen: Callable[..., Listening], serve: Callable[..., Any], key: str
) -> None:
    def behave(line: Any) -> None:
        while True:
            line.read()
            line.reply(completion("hello yourself"), headers=JSON)

    peer = serve(behave)
    at = listen(OPENAI_BASE_URL=f"http://127.0.0.1:{peer.port}/v1")
    headers = {"lambdallm-token": CLIENT_KEY, "x-theirs": "1"}
    with openai.OpenAI(
        base_url=f"{at.url}/openai/v1", api_key=key, max_retries=0, default_headers=headers
    ) as client:
        assert [ask(client), ask(client)] == ["hello yourself"] * 2

    head, _ = peer.requests[0]
    assert head.target == "/v1/chat/completions"
    assert head.header("authorization") == f"Bearer {KEYS['OPENAI_API_KEY']}"
    assert head.header("x-theirs") == "1"
    assert not head.header("lambdallm-token")


def test_openai_is_refused_where_a_budget_is_to_hold(
    listen: Callable[..., Listening], tmp_path: Path
) -> None:
    (tmp_path / "lambdallm.yaml").write_text("cost: {budget: {daily: '1'}}")
    with ModelServer() as server:
        there = listen(OPENAI_BASE_URL=server.url, LAMBDA_TASK_ROOT=str(tmp_path))
        client = openai.OpenAI(base_url=f"{there.url}/openai/v1", api_key=CLIENT_KEY, max_retries=0)
        with client, pytest.raises(openai.InternalServerError, match="has a budget"):
            client.chat.completions.create(model="gpt-5-mini", messages=MESSAGES)

        assert not server.requests


def test_a_stream_arrives_piece_by_piece(
    listen: Callable[..., Listening], serve: Callable[..., Any]
) -> None:
    """The API goes on only when its first piece has arrived."""
    arrived = []

    def behave(line: Any) -> None:
        line.read()
        head = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
        line.socket.sendall(http1.encode_response(200, head, None))
        for number, text in enumerate(("one", "two")):
            while len(arrived) < number:
                os.sched_yield()
            piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                     "choices": [{"index": 0, "delta": {"content": text}}]}  # fmt: skip
            line.socket.sendall(http1.encode_chunk(f"data: {json.dumps(piece)}\n\n".encode()))
        line.socket.sendall(http1.encode_chunk(b"data: [DONE]\n\n") + http1.encode_last_chunk())

    at = listen(OPENAI_BASE_URL=f"http://127.0.0.1:{serve(behave).port}")
    with openai.OpenAI(base_url=f"{at.url}/openai/v1", api_key=CLIENT_KEY) as client:
        stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        for piece in stream:
            arrived.append(piece.choices[0].delta.content)  # noqa: PERF401 - as it comes

    assert arrived == ["one", "two"]


def test_an_answer_that_is_cut_arrives_as_one_that_is_cut(
    listen: Callable[..., Listening], serve: Callable[..., Any]
) -> None:
    def behave(line: Any) -> None:
        line.read()
        line.socket.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")

    at = listen(OPENAI_BASE_URL=f"http://127.0.0.1:{serve(behave).port}")
    with (
        openai.OpenAI(base_url=f"{at.url}/openai/v1", api_key=CLIENT_KEY, max_retries=0) as client,
        pytest.raises(openai.APIConnectionError),
    ):
        ask(client)


def test_anthropic_gets_the_environments_key_for_ours(
    listen: Callable[..., Listening], serve: Callable[..., Any]
) -> None:
    peer = serve(lambda line: (line.read(), line.reply(b'{"error": {"message": "no"}}', 400, JSON)))
    at = listen(ANTHROPIC_BASE_URL=f"http://127.0.0.1:{peer.port}")
    with (
        anthropic.Anthropic(
            base_url=f"{at.url}/anthropic", api_key=CLIENT_KEY, max_retries=0
        ) as client,
        pytest.raises(anthropic.BadRequestError),
    ):
        client.messages.create(model="m", max_tokens=9, messages=MESSAGES)

    ((head, _),) = peer.requests
    assert (head.target, head.header("x-api-key")) == ("/v1/messages", KEYS["ANTHROPIC_API_KEY"])
    assert not head.header("authorization")


def test_a_key_of_nobody_is_refused(listen: Callable[..., Listening]) -> None:
    at = listen(OPENAI_BASE_URL="http://127.0.0.1:1")
    with (
        openai.OpenAI(base_url=f"{at.url}/openai/v1", api_key="sk-x", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="not this environment's"),
    ):
        ask(client)


def test_an_api_that_is_not_there_is_named(
    listen: Callable[..., Listening], serve: Callable[..., Any]
) -> None:
    peer = serve(lambda line: None)
    peer.refuse()
    at = listen(OPENAI_BASE_URL=f"http://127.0.0.1:{peer.port}")
    with (
        openai.OpenAI(base_url=f"{at.url}/openai/v1", api_key=CLIENT_KEY, max_retries=0) as client,
        pytest.raises(openai.InternalServerError, match=r"127\.0\.0\.1 did not answer"),
    ):
        ask(client)


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes and return what comes back until the end."""
    received = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65_536):
            received += piece
    return received


REQUEST = (
    b"POST %b HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer lambdallm-0123456789abcdef\r\n%b\r\n"
)
LOCAL = b"127.0.0.1:1"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"503"),
        (b"POST /v1/begin HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}", b"503"),
        (REQUEST % (b"/nowhere", LOCAL, b""), b"404"),
        (REQUEST % (b"/openai/v1/x", b"evil.example", b""), b"403"),
        (REQUEST % (b"/openai/v1/x", LOCAL, b"Origin: http://evil.example\r\n"), b"403"),
        (REQUEST % (b"/openai/v1/x", LOCAL, b"X-Forwarded-For: 1.2.3.4\r\n"), b"403"),
        (REQUEST % (b"/openai/v1/x", LOCAL, b"Transfer-Encoding: chunked\r\n"), b"411"),
        (REQUEST % (b"/openai/v1/x", LOCAL, b"Content-Length: 99999999\r\n"), b"413"),
        (b"\x16\x03\x01 garbage\r\n\r\n", b"400"),
    ],
)
def test_what_is_not_passed_on(
    listen: Callable[..., Listening], data: bytes, status: bytes
) -> None:
    at = listen(OPENAI_BASE_URL="http://127.0.0.1:1")

    assert status in exchange(at.port, data)[:60]
    again = exchange(at.port, REQUEST % (b"/nowhere", LOCAL, b""))
    assert again.startswith(b"HTTP/1.1 404")


def test_the_sdk_finds_no_token_any_more(listen: Callable[..., Listening]) -> None:
    assert not (listen().directory / "token").exists()


def test_a_port_that_is_taken_is_said(tmp_path: Path, package: Path, free_port: int) -> None:
    (tmp_path / "clients").write_text(f"{free_port} {CLIENT_KEY}\n")
    with socket.create_server(("127.0.0.1", free_port)):
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(package / "raw_listener.py")],
            env={"LAMBDALLM_DIRECTORY": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert "cannot be passed on" in done.stdout
