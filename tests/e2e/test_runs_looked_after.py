"""`lambdallm runs` over runs of whole environments: stopped while they are at work, given up."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from fakes.run_commands import ran
from lambdallm.testing.model_server import Answer, ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.conftest import Service, Start

FUNCTION = """
import os, urllib.request
from lambdallm import Chain, Step, handler

def wait(values):
    return urllib.request.urlopen(os.environ["WAITS"], timeout=20).read().decode()

def fail(values):
    raise ValueError("never")

STOPPED = Chain("stopped", [
    Step("draft", prompt="draft of {input}: begin"),
    Step("wait", func=wait),
    Step("close", prompt="close of {input}: {wait.output}"),
])
BROKEN = Chain("broken", [Step("fail", func=fail, retry_count=0)])

@handler
def serve(event, context):
    topic = event["body"]["topic"]
    chain = BROKEN if topic.startswith("broken") else STOPPED
    return chain.run(context, input=topic, run_id=topic)
"""


@pytest.fixture
def store(dynamodb: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    """The table, for commands of this process too."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
    return f"dynamodb://{dynamodb.table}"


@contextmanager
def telephone(act: Callable[[], object]) -> Iterator[str]:
    """Serve a page that does something before it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            act()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def variables(dynamodb: Service, model: ModelServer, waits: str = "") -> dict[str, str]:
    return {
        "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
        "LAMBDALLM_MODEL": "bedrock/us.amazon.nova-micro-v1:0",
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
        "AWS_REGION": "us-east-1",
        "WAITS": waits,
    }


def about(topic: str) -> dict[str, Any]:
    return {"httpMethod": "POST", "path": "/", "headers": {}, "body": json.dumps({"topic": topic})}


@pytest.mark.parametrize("verb", ["stop", "delete"])
def test_the_switch_reaches_a_run_that_is_at_work(
    host: Start, layer: Path, dynamodb: Service, store: str, verb: str
) -> None:
    run = f"{verb}-{host.name}"
    more = ["--yes"] if verb == "delete" else []
    done: list[Any] = []
    with (
        ModelServer([Answer("Yes.")]) as model,
        telephone(lambda: done.append(ran(verb, run, "--store", store, *more))) as waits,
        host(
            {"app.py": FUNCTION}, "app.serve", opt=layer, timeout_seconds=20,
            variables=variables(dynamodb, model, waits),
        ) as environment,
    ):  # fmt: skip
        answer = environment.invoke(about(run)).json()
        asked = len(model.requests)

        assert len(done) == 1
        assert answer["statusCode"] >= 400, answer
        assert asked == 1
    listed = {each["run_id"]: each for each in ran("list", "--store", store)["runs"]}
    if verb == "delete":
        assert run not in listed
    else:
        assert listed[run]["status"] == "stopped"
        shown = ran("show", run, "--store", store)
        assert [each["state"] for each in shown["calls"]] == ["answered"]
        assert shown["unknown_calls"] == 0


def test_a_run_that_leads_nowhere_is_told_by_a_metric(
    host: Start, layer: Path, dynamodb: Service, store: str
) -> None:
    run = f"broken-{host.name}"
    with (
        ModelServer([Answer("Yes.")]) as model,
        host(
            {"app.py": FUNCTION}, "app.serve", opt=layer, timeout_seconds=20,
            variables=variables(dynamodb, model),
        ) as environment,
    ):  # fmt: skip
        for _ in range(6):
            environment.invoke(about(run))
        environment.wait_until_idle()
        said = [line.text for line in environment.logs]

    lines = [json.loads(each) for each in said if each.startswith('{"FunctionName"')]
    counted = [(line.get("RunsFailed", 0), line.get("RunsStalled", 0)) for line in lines]
    assert [each for each in counted if any(each)] == [(1, 0)] * 5 + [(0, 1)]
    found = ran("show", run, "--store", store)
    assert (found["status"], found["attempt"]) == ("failed", 6)
