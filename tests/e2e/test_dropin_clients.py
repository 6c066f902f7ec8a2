"""Unmodified clients, made at module scope, behind the exec wrapper and behind `lambdallm.auto`."""

from __future__ import annotations

import compileall
import json
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chats import lines_with
from e2e.installed import install
from e2e.test_sidecar_death import FIND_SIDECAR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.conftest import Start
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
    asked = (OPENAI.base_url, BEDROCK.meta.endpoint_url)
    return {
        "answers": answers,
        "sidecar": sidecar(),
        "directed": all(f":{os.environ['LAMBDALLM_PORT']}/" in str(url) for url in asked),
    }
"""
)


class Upstream:
    """An API of OpenAI's kind; remembers the keys that it was asked with."""

    def __init__(self) -> None:
        upstream = self
        self.keys: list[str] = []

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                upstream.keys.append(self.headers["authorization"])
                reply: dict[str, Any] = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "gpt-5-mini",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": f"asked at {self.path}"},
                        }
                    ],
                    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
                }
                body = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    thread = threading.Thread(target=upstream.server.serve_forever)
    thread.start()
    yield upstream
    upstream.server.shutdown()
    thread.join()
    upstream.server.server_close()


@pytest.fixture(scope="session")
def opt(layer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our layer with a client beside it, as users put one there, compiled as an installer does."""
    opt = shutil.copytree(layer, tmp_path_factory.mktemp("clients") / "opt")
    packages = opt / f"python/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    install(packages, "openai")
    compileall.compile_dir(packages, quiet=2)
    return opt


@pytest.fixture
def variables(upstream: Upstream, model_server: ModelServer) -> dict[str, str]:
    return {
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model_server.url,
        "OPENAI_BASE_URL": upstream.url,
        "OPENAI_API_KEY": "sk-of-the-environment",
        "LAMBDALLM_STORE": "memory:",
    }


WRAPPER = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper"}
ANSWERS = ["You said 1 things.", "asked at /v1/chat/completions"]


@pytest.mark.parametrize("way", ["wrapper", "auto"])
def test_unmodified_clients_go_through_the_sidecar(
    host: Start, opt: Path, variables: dict[str, str], upstream: Upstream, way: str
) -> None:
    auto = "import lambdallm.auto\n" if way == "auto" else ""
    wrapper = WRAPPER if way == "wrapper" else {}
    with host(
        {"app.py": auto + FUNCTION},
        opt=opt,
        variables={**variables, **wrapper},
        timeout_seconds=20,
        memory_mb=1_024,
    ) as environment:
        for _ in range(2):
            reply = environment.invoke(None).json()
            assert reply["answers"] == ANSWERS
            assert reply["directed"]
        environment.wait_until_idle()
        metered = "".join(lines_with(environment, '"CostUSD"'))
        assert "bedrock/anthropic.claude-3-haiku" in metered
        assert "openai/gpt-5-mini" in metered

    assert set(upstream.keys) == {"Bearer sk-of-the-environment"}


def test_whoever_takes_the_sidecars_place_may_be_killed_as_well(
    host: Start, opt: Path, variables: dict[str, str]
) -> None:
    with host(
        {"app.py": FUNCTION},
        opt=opt,
        variables={**variables, **WRAPPER},
        timeout_seconds=20,
        memory_mb=1_024,
    ) as environment:
        assert environment.invoke("kill first").json()["answers"] == ANSWERS
        for _ in range(2):
            assert environment.invoke("kill listener").json() > 0
            assert environment.invoke(None).json()["answers"] == ANSWERS


@pytest.mark.parametrize("moment", ["first", "soon"])
def test_clients_are_answered_when_the_sidecar_has_been_killed(
    host: Start, opt: Path, variables: dict[str, str], moment: str
) -> None:
    with host(
        {"app.py": FUNCTION},
        opt=opt,
        variables={**variables, **WRAPPER},
        timeout_seconds=20,
        memory_mb=1_024,
    ) as environment:
        assert environment.invoke(None).json()["answers"] == ANSWERS
        killed = environment.invoke(f"kill {moment}")
        assert killed.error_type is None, [line.text for line in environment.logs]
        assert killed.json()["answers"] == ANSWERS
        for _ in range(3):
            reply = environment.invoke(None).json()
            assert (reply["answers"], reply["sidecar"]) == (ANSWERS, None)
        assert lines_with(environment, "are passed on without being metered")


def test_clients_are_answered_when_the_features_cannot_be_loaded(
    host: Start, opt: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    broken = shutil.copytree(opt, tmp_path / "broken" / "opt")
    package = broken / "lambdallm/lambdallm_extension"
    shutil.rmtree(package / "__pycache__")
    (package / "engine.py").write_text("raise RuntimeError('broken feature')")
    with host(
        {"app.py": FUNCTION},
        opt=broken,
        variables={**variables, **WRAPPER},
        timeout_seconds=20,
        memory_mb=1_024,
    ) as environment:
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
    with emulator(
        {"app.py": FUNCTION + fetched_in_init},
        opt=opt,
        variables={**variables, **WRAPPER},
        timeout_seconds=20,
        memory_mb=1_024,
        snap_start=True,
    ) as environment:
        environment.initialise()
        for _ in range(2):
            reply = environment.invoke(None).json()
            assert (reply["answers"], reply["directed"]) == (ANSWERS, True)
        assert lines_with(environment, '"CostUSD"')
