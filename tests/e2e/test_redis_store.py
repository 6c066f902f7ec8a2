"""Sessions in Redis, end to end: the built layer, redis-py's layer beside it, a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes.redis_servers import RedisServer, serve_redis
from fakes.shared_builds import made_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.conftest import Start
    from lambdallm.testing.model_server import ModelServer

REPOSITORY = Path(__file__).parents[2]
MODEL = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"

FUNCTION = """
import importlib.util
from lambdallm import Session, handler

found = importlib.util.find_spec("redis")


@handler(session=Session())
def chat(event, context):
    context.session.add_message("user", event["message"])
    reply = context.invoke(context.session.format_history())
    context.session.add_message("assistant", reply)
    return {"reply": reply, "redis": found is not None}
"""


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with serve_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def opt(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both layers, as AWS merges them."""

    def make(folder: Path) -> None:
        subprocess.run(
            [sys.executable, "layer/build_layer.py", "build", "--redis", "--python", sys.executable,
             "--output", str(folder)],
            cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        shutil.copytree(layer, folder / "opt")
        with zipfile.ZipFile(folder / "lambdallm-redis-layer.zip") as archive:
            archive.extractall(folder / "opt")

    return made_once(tmp_path_factory, "both layers", make) / "opt"


@pytest.fixture
def variables(redis_server: RedisServer, model_server: ModelServer) -> dict[str, str]:
    return {
        "LAMBDALLM_STORE": redis_server.url,
        "LAMBDALLM_MODEL": MODEL,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model_server.url,
        "AWS_REGION": "us-east-1",
    }


def answer_of(invocation: Any) -> dict[str, Any]:
    assert invocation.error_type is None, invocation.payload
    answer: dict[str, Any] = json.loads(invocation.payload)
    body: dict[str, Any] = json.loads(answer["body"]) if "body" in answer else answer
    assert "reply" in body, answer
    return body


def test_a_conversation_over_two_environments(
    host: Start, opt: Path, variables: dict[str, str], redis_server: RedisServer
) -> None:
    event = {"session_id": f"redis-{host.name}", "message": "hello"}
    options = {"opt": opt, "variables": variables, "timeout_seconds": 20}
    with host({"app.py": FUNCTION}, "app.chat", **options) as first:
        assert answer_of(first.invoke(event))["reply"] == "You said 1 things."
        answer = answer_of(first.invoke(event))
        assert answer["reply"] == "You said 2 things."
        assert answer["redis"] is False
        first.wait_until_idle()
        assert not [line.text for line in first.logs if "@" in line.text and "redis" in line.text]
    with host({"app.py": FUNCTION}, "app.chat", **options) as second:
        assert answer_of(second.invoke(event))["reply"] == "You said 3 things."

    turns = redis_server.admin.keys(f"lambdallm:{{SESSION#redis-{host.name}}}:i:TURN#*")
    assert len(turns) == 6


def test_without_a_sidecar_the_embedded_engine_finds_it(
    emulator: Start, opt: Path, variables: dict[str, str]
) -> None:
    event = {"session_id": "embedded", "message": "hello"}
    variables["LAMBDALLM_SIDECAR"] = "off"
    with emulator(
        {"app.py": FUNCTION}, "app.chat", opt=opt, variables=variables, timeout_seconds=20
    ) as environment:
        assert answer_of(environment.invoke(event))["reply"] == "You said 1 things."
        assert answer_of(environment.invoke(event))["reply"] == "You said 2 things."


def test_without_the_layer_it_is_told_what_to_attach(
    emulator: Start, layer: Path, variables: dict[str, str]
) -> None:
    event = {"session_id": "none", "message": "hello"}
    with emulator(
        {"app.py": FUNCTION}, "app.chat", opt=layer, variables=variables, timeout_seconds=20
    ) as environment:
        invocation = environment.invoke(event)

    assert "./build.sh layer --redis" in json.loads(invocation.payload)["errorMessage"]


@pytest.mark.slow  # the attempts until a server is given up take seconds
def test_a_server_that_dies_fails_the_invocation_and_not_the_next_one(
    emulator: Start, opt: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    event = {"session_id": "dies", "message": "hello"}
    with serve_redis(tmp_path / "own") as server:
        variables["LAMBDALLM_STORE"] = server.url
        with emulator(
            {"app.py": FUNCTION}, "app.chat", opt=opt, variables=variables, timeout_seconds=20
        ) as environment:
            assert answer_of(environment.invoke(event))["reply"] == "You said 1 things."
            environment.wait_until_idle()
            server.kill()
            failed = environment.invoke(event)
            assert failed.error_type == "StateError"
            assert "No connection" in json.loads(failed.payload)["errorMessage"]
            server.start()
            assert answer_of(environment.invoke(event))["reply"] == "You said 2 things."
