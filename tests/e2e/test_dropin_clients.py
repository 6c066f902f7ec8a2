"""Unmodified clients, made at module scope, behind the exec wrapper and behind `lambdallm.auto`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chats import lines_with, post
from e2e.installed import install
from e2e.test_sidecar_death import FIND_SIDECAR
from fakes.api_server import ApiServer, Reply
from fakes.shared_builds import made_once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.conftest import Start
    from lambda_runtime_api.emulator import Environment
    from lambdallm.testing.model_server import ModelServer

FUNCTION = (
    FIND_SIDECAR
    + r"""
import boto3, openai

BEDROCK = boto3.client("bedrock-runtime")
OPENAI = openai.OpenAI()

MESSAGES = [{"role": "user", "content": [{"text": "hello"}]}]
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"

def ask_bedrock():
    reply = BEDROCK.converse(modelId=MODEL, messages=MESSAGES)
    return reply["output"]["message"]["content"][0]["text"]

def ask_openai():
    reply = OPENAI.chat.completions.create(
        model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}]
    )
    return reply.choices[0].message.content

def handler(event, context):
    if event == "kill listener":
        pid = find("raw_listener.py")
        os.kill(pid, signal.SIGKILL)
        return pid
    if event == "kill first":
        os.kill(sidecar(), signal.SIGKILL)
    if event == "kill soon":
        threading.Timer(0.02, os.kill, [sidecar(), signal.SIGKILL]).start()
    answers = [ask_bedrock(), ask_openai()]
    while event == "kill soon" and sidecar():
        answers = [ask_bedrock(), ask_openai()]
    asked = (OPENAI.base_url, BEDROCK.meta.endpoint_url)
    return {
        "answers": answers,
        "sidecar": sidecar(),
        "directed": all(f":{os.environ['LAMBDALLM_PORT']}/" in str(url) for url in asked),
    }
"""
)


REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-mini",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hello from OpenAI."},
        }
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
}


@pytest.fixture
def upstream() -> Iterator[ApiServer]:
    """An API of OpenAI's kind; remembers what it was asked."""
    reply = Reply(
        headers={"content-type": "application/json"}, pieces=(json.dumps(REPLY).encode(),)
    )
    with ApiServer(reply) as server:
        yield server


@pytest.fixture(scope="session")
def opt(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our layer with a client beside it, as users put one there."""

    def make(opt: Path) -> None:
        shutil.copytree(layer, opt, dirs_exist_ok=True)
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        install(opt / "python/lib" / version / "site-packages", "openai")

    return made_once(tmp_path_factory, "clients", make)


ONE_OF_BOTH = pytest.mark.parametrize(
    "host", ["emulator", pytest.param("aws", marks=pytest.mark.slow)], indirect=True
)
"""Each start loads two clients, a second of work; other tests show them in AWS's emulator."""


Open = Callable[..., "Environment"]

WRAPPER = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper"}
ANSWERS = ["You said 1 things.", "Hello from OpenAI."]


@pytest.fixture
def variables(upstream: ApiServer, model_server: ModelServer) -> dict[str, str]:
    return {
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model_server.url,
        "OPENAI_BASE_URL": f"{upstream.url}/v1",
        "OPENAI_API_KEY": "sk-of-the-environment",
        "LAMBDALLM_STORE": "memory:",
    }


def open_in(host: Start, opt: Path, variables: dict[str, str]) -> Open:
    """Start the clients' function in an emulator; behind the wrapper, if not said otherwise."""

    def open_it(code: str = FUNCTION, also: dict[str, str] = WRAPPER, **more: Any) -> Environment:
        return host(  # type: ignore[return-value]
            {"app.py": code},
            variables={**variables, **also},
            **{"opt": opt, "timeout_seconds": 20, "memory_mb": 1_024, **more},
        )

    return open_it


@pytest.fixture
def start(host: Start, opt: Path, variables: dict[str, str]) -> Open:
    return open_in(host, opt, variables)


@pytest.mark.parametrize("way", ["wrapper", "auto"])
def test_unmodified_clients_go_through_the_sidecar(
    start: Open, upstream: ApiServer, way: str
) -> None:
    auto = "import lambdallm.auto\n" if way == "auto" else ""
    with start(auto + FUNCTION, WRAPPER if way == "wrapper" else {}) as environment:
        for _ in range(2):
            reply = environment.invoke(None).json()
            assert reply["answers"] == ANSWERS
            assert reply["directed"]
        environment.wait_until_idle()
        metered = "".join(lines_with(environment, '"CostUSD"'))
        assert "bedrock/anthropic.claude-3-haiku" in metered
        assert "openai/gpt-5-mini" in metered

    asked = {(each.target, each.headers["authorization"]) for each in upstream.asked}
    assert asked == {("/v1/chat/completions", "Bearer sk-of-the-environment")}


@ONE_OF_BOTH
def test_whoever_takes_the_sidecars_place_may_be_killed_as_well(start: Open) -> None:
    with start() as environment:
        assert environment.invoke("kill first").json()["answers"] == ANSWERS
        for _ in range(2):
            assert environment.invoke("kill listener").json() > 0
            assert environment.invoke(None).json()["answers"] == ANSWERS


@pytest.mark.parametrize("moment", ["first", "soon"])
def test_clients_are_answered_when_the_sidecar_has_been_killed(start: Open, moment: str) -> None:
    with start() as environment:
        assert environment.invoke(None).json()["answers"] == ANSWERS
        killed = environment.invoke(f"kill {moment}")
        assert killed.error_type is None, [line.text for line in environment.logs]
        assert killed.json()["answers"] == ANSWERS
        for _ in range(3):
            reply = environment.invoke(None).json()
            assert (reply["answers"], reply["sidecar"]) == (ANSWERS, None)
        assert lines_with(environment, "are passed on without being metered")


@ONE_OF_BOTH
@pytest.mark.parametrize("way", ["wrapper", "auto"])
def test_where_the_sidecar_cannot_listen_clients_go_straight_and_one_line_says_so(
    start: Open, way: str
) -> None:
    auto = "import lambdallm.auto\n" if way == "auto" else ""
    wrapper = WRAPPER if way == "wrapper" else {}
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = str(stranger.getsockname()[1])
        with start(auto + FUNCTION, {**wrapper, "LAMBDALLM_PORT": port}) as environment:
            for _ in range(2):
                reply = environment.invoke(None).json()
                assert (reply["answers"], reply["directed"]) == (ANSWERS, False)
            said = lines_with(environment, "go straight to their APIs, unmetered")
            assert len(said) == 1
            assert ("the sidecar has failed" in said[0]) == (way == "wrapper")
            assert lines_with(environment, f"Port {port}", "LAMBDALLM_PORT")


@ONE_OF_BOTH
def test_clients_are_answered_when_the_features_cannot_be_loaded(
    start: Open, opt: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(opt, tmp_path / "broken" / "opt", copy_function=os.link)
    package = broken / "lambdallm/lambdallm_extension"
    shutil.rmtree(package / "__pycache__")
    (package / "engine.py").unlink()  # or it would be broken in both
    (package / "engine.py").write_text("raise RuntimeError('broken feature')")
    with start(opt=broken) as environment:
        for _ in range(2):
            reply = environment.invoke(None).json()
            assert (reply["answers"], reply["directed"]) == (ANSWERS, True)
        assert lines_with(environment, "are passed on without being metered")


@pytest.mark.usefixtures("one_snapshot")
def test_a_client_that_was_made_before_a_snapshot_is_answered_after_it(
    emulator: Start, opt: Path, variables: dict[str, str]
) -> None:
    """It holds Init's credentials, if it fetched them there, and the client key of Init."""
    fetched_in_init = "\nFETCHED = boto3.Session().get_credentials().get_frozen_credentials()\n"
    start = open_in(emulator, opt, variables)
    with start(FUNCTION + fetched_in_init, snap_start=True) as environment:
        environment.initialise()
        for _ in range(2):
            reply = environment.invoke(None).json()
            assert (reply["answers"], reply["directed"]) == (ANSWERS, True)
        assert lines_with(environment, '"CostUSD"')


TELLS_COSTS = r"""
import lambdallm, openai

OPENAI = openai.OpenAI()

@lambdallm.handler(model="bedrock/us.amazon.nova-micro-v1:0", cost_headers=True)
def handler(event, context):
    raw = OPENAI.chat.completions.with_raw_response.create(
        model="gpt-5-mini", messages=[{"role": "user", "content": "hello"}],
        extra_headers={"x-lambdallm-cost": "1"},
    )
    text = raw.parse().choices[0].message.content
    call = context.chat([{"role": "user", "content": "hello"}])
    return {"said": text, "openai": raw.headers["x-lambdallm-cost-usd"], "bedrock": call.cost_usd}
"""


def test_what_a_client_is_told_and_what_an_answer_tells_is_what_is_billed(start: Open) -> None:
    with start(TELLS_COSTS) as environment:
        answer = environment.invoke(post("costs", "hello")).json()
        (line,) = [json.loads(line) for line in lines_with(environment, '"CostUSD"')]

    body = json.loads(answer["body"])
    assert (body["said"], body["openai"]) == ("Hello from OpenAI.", "0.00000775")
    told = Decimal(answer["headers"]["x-lambdallm-cost-usd"])
    assert told == Decimal(body["openai"]) + Decimal(str(body["bedrock"]))
    assert told == Decimal(str(line["CostUSD"]))
    assert answer["headers"]["x-lambdallm-request"] == line["requestId"]
