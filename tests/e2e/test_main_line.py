"""The main line, end to end: the built layer, AWS's runtime client, real servers."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chats import CHAT, post, reply_of

if TYPE_CHECKING:
    from e2e.conftest import Service, Start
    from lambdallm.testing.model_server import ModelServer

ASYNC_CHAT = Path(__file__).parents[2] / "examples/async_chat/app.py"
INPUT_PICO_USD, OUTPUT_PICO_USD = 250_000, 1_250_000
"""Of Claude 3 Haiku: 0.25 and 1.25 USD per million tokens."""


def metrics_of(environment: Any) -> list[dict[str, Any]]:
    """Return what units of work have told: all metric lines but bills, which come later."""
    environment.wait_until_idle()
    lines = [line.text for line in environment.logs if line.text.startswith('{"FunctionName"')]
    told = [json.loads(line, parse_float=Decimal) for line in lines]
    return [line for line in told if "billedDurationMs" not in line]


def test_a_conversation_over_two_environments(
    host: Start, layer: Path, chat_variables: dict[str, str], model_server: ModelServer
) -> None:
    session = f"two-environments-{host.name}"
    function = {"app.py": CHAT.read_text()}
    handler = "app.chat_handler"
    with host(function, handler, opt=layer, variables=chat_variables, timeout_seconds=20) as first:
        assert reply_of(first.invoke(post(session, "one"))) == "You said 1 things."
        assert reply_of(first.invoke(post(session, "two"))) == "You said 2 things."
        metrics = metrics_of(first)
    with host(function, handler, opt=layer, variables=chat_variables, timeout_seconds=20) as second:
        assert reply_of(second.invoke(post(session, "three"))) == "You said 3 things."
        metrics += metrics_of(second)
        said = [line.text for line in (*first.logs, *second.logs)]

    assert [entry["ColdStart"] for entry in metrics] == [1, 0, 1]
    for entry, request in zip(metrics, model_server.requests, strict=True):
        usage = request.usage
        exact = usage["inputTokens"] * INPUT_PICO_USD + usage["outputTokens"] * OUTPUT_PICO_USD
        assert entry["CostUSD"] == Decimal(exact).scaleb(-12)
        assert entry["InputTokens"] == usage["inputTokens"]
        assert entry["Calls"] == 1
        assert entry["SessionReadMs"] >= 0
        assert entry["SessionSaveMs"] >= 0
    assert not [line for line in said if "things" in line or "three" in line], "no content in logs"
    assert not [line for line in said if "embedded" in line], "the sidecar served, not the fallback"


def test_the_call_is_kept_as_a_record(
    host: Start, layer: Path, chat_variables: dict[str, str], dynamodb: Service
) -> None:
    import boto3

    with host(
        {"app.py": CHAT.read_text()},
        "app.chat_handler",
        opt=layer,
        variables=chat_variables,
        timeout_seconds=20,
    ) as environment:
        reply_of(environment.invoke(post(f"record-{host.name}", "hello")))
        (entry,) = metrics_of(environment)
    table = boto3.resource(
        "dynamodb", endpoint_url=dynamodb.url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    ).Table(dynamodb.table)  # fmt: skip
    records = [
        item
        for item in table.scan(ConsistentRead=True)["Items"]
        if item["pk"].startswith("CALL#") and item["work"] == entry["workId"]
    ]

    (record,) = records
    assert record["state"] == "settled"
    assert Decimal(record["cost_pico_usd"]).scaleb(-12) == entry["CostUSD"]
    assert record["expires_at"] > 0


def test_an_async_handler_asks_twice_at_once(
    host: Start, layer: Path, chat_variables: dict[str, str], model_server: ModelServer
) -> None:
    with host(
        {"app.py": ASYNC_CHAT.read_text()},
        "app.chat_handler",
        opt=layer,
        variables=chat_variables,
        timeout_seconds=20,
    ) as environment:
        first = environment.invoke(post(f"async-{host.name}", "hello"))
        second = environment.invoke(post(f"async-{host.name}", "again"))
        wrong = environment.invoke({**post(f"async-{host.name}", ""), "body": '{"massage": 1}'})
        metrics = metrics_of(environment)

    assert reply_of(first) == "You said 1 things."
    assert reply_of(second) == "You said 2 things."
    refusal = json.loads(wrong.payload)
    assert refusal["statusCode"] == 400
    assert "message" in refusal["body"]
    assert [entry["Calls"] for entry in metrics] == [2, 2, 0]


def test_functions_of_every_python_remember_what_the_others_were_told(
    host: Start, layer: Path, chat_variables: dict[str, str], runtimes: dict[str, Path]
) -> None:
    others = sorted(set(runtimes), key=lambda version: int(version.split(".")[1]))
    if len(others) < 2:
        pytest.skip(
            "it wants two Pythons with AWS's runtime client, and ./build.sh has found one here"
        )
    session = f"pythons-{host.name}"
    function = {
        "app.py": CHAT.read_text().replace(
            '"reply": response', '"reply": [response, __import__("sys").version_info[1]]'
        )
    }
    for count, version in enumerate(others, start=1):
        with host(
            function,
            "app.chat_handler",
            python=version,
            opt=layer,
            variables=chat_variables,
            timeout_seconds=20,
        ) as environment:
            reply, minor = reply_of(environment.invoke(post(session, "hello")))
            assert reply == f"You said {count} things."
            assert f"3.{minor}" == version
            assert len(metrics_of(environment)) == 1
            assert not [line for line in environment.logs if "embedded" in line.text]


BOOTSTRAP = r"""#!/bin/bash
# A function without Python: the Runtime API spoken by bash.
host=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API##*:}
ask() {
  exec 3<>"/dev/tcp/$host/$port"
  printf '%s' "$1" >&3
  length=0 id=""
  while IFS= read -r line <&3; do
    line=${line%$'\r'}
    [ -n "$line" ] || break
    case "${line,,}" in
      content-length:*) length=${line#*: } ;;
      lambda-runtime-aws-request-id:*) id=${line#*: } ;;
    esac
  done
  IFS= read -r -N "$length" body <&3
  exec 3>&-
}
prefix=/2018-06-01/runtime/invocation
while true; do
  ask "GET $prefix/next HTTP/1.1"$'\r\n'"Host: $AWS_LAMBDA_RUNTIME_API"$'\r\n\r\n'
  request=$id reply='"no Python here"'
  headers="Host: $AWS_LAMBDA_RUNTIME_API"$'\r\n'"Content-Length: ${#reply}"$'\r\n\r\n'
  ask "POST $prefix/$request/response HTTP/1.1"$'\r\n'"$headers$reply"
done
"""


def test_a_function_without_python_runs_beside_an_idle_layer(host: Start, layer: Path) -> None:
    no_python = {"PATH": "/nowhere"}
    with host(
        {"bootstrap": BOOTSTRAP}, "any", python=None, opt=layer, variables=no_python
    ) as environment:
        for _ in range(3):
            invocation = environment.invoke({})
            assert (invocation.error_type, invocation.payload) == (None, b'"no Python here"')
        environment.wait_until_idle()
        said = [line.text for line in environment.logs if "lambdallm:" in line.text]

    assert len(said) == 1
    assert said[0].startswith("lambdallm: no Python was found")


def test_a_layer_whose_sidecar_cannot_start_leaves_the_function_its_embedded_engine(
    host: Start, layer: Path, chat_variables: dict[str, str], tmp_path: Path
) -> None:
    import shutil

    broken = shutil.copytree(layer, tmp_path / "broken")
    package = broken / "lambdallm/lambdallm_extension"
    shutil.rmtree(package / "__pycache__")
    (package / "lifecycle.py").write_text("raise RuntimeError('broken')")
    (package / "__main__.py").write_text("raise RuntimeError('broken')")
    with host(
        {"app.py": CHAT.read_text()},
        "app.chat_handler",
        opt=broken,
        variables=chat_variables,
        timeout_seconds=20,
    ) as environment:
        session = f"broken-{host.name}"
        assert reply_of(environment.invoke(post(session, "one"))) == "You said 1 things."
        assert reply_of(environment.invoke(post(session, "two"))) == "You said 2 things."
        environment.wait_until_idle()
        said = [line.text for line in environment.logs]

    assert len([line for line in said if "the sidecar cannot start" in line]) == 1
    assert len([line for line in said if "the embedded engine serves" in line]) == 1


def test_a_declared_session_without_a_store_names_the_variable(
    host: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    without = {name: value for name, value in chat_variables.items() if name != "LAMBDALLM_STORE"}
    with host(
        {"app.py": CHAT.read_text()},
        "app.chat_handler",
        opt=layer,
        variables=without,
        timeout_seconds=20,
    ) as environment:
        answer = json.loads(environment.invoke(post("x", "one")).payload)

    assert answer["statusCode"] == 500
    assert "LAMBDALLM_STORE" in answer["body"]
