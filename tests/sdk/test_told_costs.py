"""What an invocation has cost, on the HTTP answer of a handler that is to tell it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

import sample_events as samples
from fakes.api_server import ApiServer, Reply
from lambdallm import _transport, handler
from lambdallm.testing import MockLambdaContext
from lambdallm.testing.model_server import Answer, ModelServer

COST, STATUS, REQUEST = (
    "x-lambdallm-cost-usd", "x-lambdallm-cost-status", "x-lambdallm-request",
)  # fmt: skip
USD = Decimal(1_000 * 35_000 + 100 * 140_000) / 10**12
"""Of one answer below, by nova-micro's prices."""

PRICED, UNPRICED = "bedrock/us.amazon.nova-micro-v1:0", "bedrock/nobody.knows-v1:0"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer([Answer("Yes.", input_tokens=1_000, output_tokens=100)]) as server:
        for name, value in {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "LAMBDALLM_MODEL": PRICED,
        }.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def engine(server: ModelServer, embedded: Any) -> None:
    embedded()


def ask(context: Any) -> object:
    return context.chat([{"role": "user", "content": "Hello"}], max_tokens=100).text


def call(
    act: Callable[[Any], Any], event: Any = None, *, cost_headers: bool = True, **options: Any
) -> Any:
    @handler(cost_headers=cost_headers, **options)
    def handle(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "body": {"said": act(context)}}

    return handle(samples.http_api() if event is None else event, MockLambdaContext())


def told(response: Any) -> dict[str, str]:
    """Return our headers, in whichever form they are."""
    headers = response.get("multiValueHeaders") or response.get("headers") or {}
    return {
        name: value[0] if isinstance(value, list) else value
        for name, value in headers.items()
        if name.startswith("x-lambdallm-")
    }


@pytest.mark.parametrize("shape", samples.HTTP)
@pytest.mark.usefixtures("engine")
def test_each_kind_of_http_answer_says_the_sum_of_its_calls(shape: str) -> None:
    response = call(lambda context: [ask(context), ask(context)], samples.HTTP[shape]())

    assert Decimal(told(response)[COST]) == 2 * USD
    assert STATUS not in told(response)
    assert told(response)[REQUEST]


@pytest.mark.usefixtures("engine")
def test_no_caller_can_ask_for_it() -> None:
    event = samples.http_api(headers={
        "content-type": "application/json", "x-lambdallm-cost": "1", "X-LambdaLLM-Cost": "1",
    })  # fmt: skip

    assert told(call(ask, event, cost_headers=False)) == {}


@pytest.mark.usefixtures("engine")
def test_what_is_no_http_answer_stays_as_it_is() -> None:
    assert told(call(ask, samples.websocket())) == {}
    assert call(ask, samples.SERVICE["sqs"]) == {"statusCode": 200, "body": {"said": "Yes."}}


@pytest.mark.usefixtures("engine")
def test_an_invocation_without_a_call_costs_nothing() -> None:
    assert told(call(lambda _: "nothing asked"))[COST] == "0"


@pytest.mark.usefixtures("engine")
def test_one_call_without_a_price_makes_the_whole_unknown_and_never_less() -> None:
    def both(context: Any) -> None:
        ask(context)
        context.chat([{"role": "user", "content": "Hello"}], model=UNPRICED, max_tokens=10)

    assert told(call(both))[STATUS] == "unknown"
    assert COST not in told(call(both))


@pytest.mark.usefixtures("engine")
def test_a_failed_handler_says_what_it_has_spent_before() -> None:
    def fail(context: Any) -> None:
        ask(context)
        raise RuntimeError("later")

    response = call(fail)
    assert response["statusCode"] == 500
    assert Decimal(told(response)[COST]) == USD


@pytest.mark.usefixtures("engine")
def test_what_is_refused_before_anything_was_asked_costs_nothing() -> None:
    response = call(ask, input_schema={"missing": str})

    assert response["statusCode"] == 400
    assert told(response)[COST] == "0"


def test_the_setting_tells_of_every_handler(server: ModelServer, embedded: Any) -> None:
    for choice, tells in (("responses", True), ("both", True), ("clients", False)):
        path = Path(f"{choice}.yaml").absolute()
        path.write_text(f"cost:\n  headers: {choice}\n", encoding="utf-8")
        embedded(LAMBDALLM_CONFIG=str(path))

        assert (COST in told(call(ask, cost_headers=False))) is tells


def test_calls_of_unmodified_clients_are_in_it(
    server: ModelServer, sidecar_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    answer = json.dumps({"model": "gpt-5-nano", "choices": [], "usage": usage}).encode()
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    with ApiServer(Reply(200, {"content-type": "application/json"}, (answer,))) as api:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{api.url}/v1")
        served = sidecar_of()

        def both(context: Any) -> None:
            ask(context)
            url = f"http://127.0.0.1:{served.port}/openai/v1"
            with openai.OpenAI(base_url=url, api_key="key", max_retries=0) as client:
                asked: Any = [{"role": "user", "content": "Hello"}]
                client.chat.completions.create(model="gpt-5-nano", messages=asked)

        response = call(both)

    gpt_5_nano = Decimal(1_000 * 50_000 + 100 * 400_000) / 10**12
    assert Decimal(told(response)[COST]) == USD + gpt_5_nano


@pytest.fixture
def process(server: ModelServer) -> Iterator[subprocess.Popen[bytes]]:
    """A sidecar of its own process, which serves."""
    script = Path(__file__).parent / "sidecar_process.py"
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.readline() != b"serving\n":
            assert process.poll() is None
        yield process
        process.kill()


def test_a_sidecar_that_is_lost_takes_what_it_knew_with_it(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_transport, "_choice", _transport._Choice())

    def lose(context: Any) -> None:
        ask(context)
        process.kill()
        process.wait()
        ask(context)

    response = call(lose)

    assert response["statusCode"] == 200
    assert told(response)[STATUS] == "unknown"
    assert COST not in told(response)
