"""What Lambda bills, beside what models cost: by the layer as it is built."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chats import CHAT, post, reply_of
from e2e.test_spending_reports import USD, sheet_of

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Service, Start


def lines_of(environment: Any) -> list[dict[str, Any]]:
    """All metric lines so far, in their order."""
    return [
        json.loads(line.text, parse_float=Decimal, parse_int=Decimal)
        for line in environment.logs
        if line.source == "extension" and line.text.startswith("{")
    ]


def rows_of(environment: Any) -> dict[str, dict[str, Any]]:
    """The rows so far, by their requests; none has two."""
    rows = [line for line in lines_of(environment) if "ComputeUSD" in line]
    by_request = {row["requestId"]: row for row in rows}
    assert len(by_request) == len(rows)
    return by_request


def test_an_invocation_s_bill_joins_what_its_calls_cost(
    emulator: Start, layer: Path, chat_variables: dict[str, str], dynamodb: Service
) -> None:
    function = {"app.py": CHAT.read_text()}
    with emulator(
        function, "app.chat_handler", opt=layer, variables=chat_variables, memory_mb=512
    ) as environment:
        invoked = [environment.invoke(post("bills", text)) for text in ("one", "two", "three")]
        environment.wait_until_idle()
        environment.shutdown()
        rows, lines = rows_of(environment), lines_of(environment)
        reports = [line.text for line in environment.logs if line.text.startswith("REPORT")]
    for invocation in invoked:
        reply_of(invocation)
    assert list(rows) == [invocation.request_id for invocation in invoked]
    for number, (request_id, row) in enumerate(rows.items()):
        own = [line for line in lines if line["requestId"] == request_id]
        assert own[-1] == row, "it comes last"
        assert row["ModelUSD"] == sum(line["CostUSD"] for line in own[:-1])
        overhead = sum(line["OverheadUSD"] for line in own)
        assert row["TotalUSD"] == row["ModelUSD"] + row["ComputeUSD"] + overhead
        assert f"Billed Duration: {row['billedDurationMs']} ms" in reports[number]
        assert row["memorySizeMB"] == 512
        assert ("initDurationMs" in row) is (number == 0)
        assert (row["basis"], row["priceRegion"]) == ("on-demand", "us-east-1")
    sheet = sheet_of(dynamodb, lines[0]["environmentId"])
    assert sheet["invocations"] == 3
    assert sheet["compute"] == sum(row["ComputeUSD"] for row in rows.values()) * USD


SLEEPY = """
import os, signal, time
from lambdallm import handler

@handler
def handler(event, context):
    if event["ask"]:
        context.invoke("Hello")
    if event.get("end"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(event["sleep"])
    return "awake"
"""


def test_an_invocation_that_is_killed_is_told_by_how_long_it_ran(
    emulator: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    with emulator(
        {"app.py": SLEEPY}, opt=layer, variables=chat_variables, timeout_seconds=1.5, memory_mb=512
    ) as environment:
        environment.invoke({"ask": False, "sleep": 0})
        late = environment.invoke({"ask": True, "sleep": 60})
        assert late.error_type == "Sandbox.Timedout"
        environment.wait_until_idle()
        row = rows_of(environment)[late.request_id]
        own = [line for line in lines_of(environment) if line["requestId"] == late.request_id]

        assert (row["estimated"], row["status"]) == (True, "timeout")
        assert 1_400 < row["billedDurationMs"] < 3_500
        assert sum(line["TotalUSD"] for line in own if "TotalUSD" in line) == (
            row["ComputeUSD"] + sum(line.get("CostUSD", 0) + line["OverheadUSD"] for line in own)
        )
        assert any(line.get("outcome") == "killed" and line["CostUSD"] > 0 for line in own)


def test_a_crash_is_told_too(emulator: Start, layer: Path, chat_variables: dict[str, str]) -> None:
    with emulator({"app.py": SLEEPY}, opt=layer, variables=chat_variables) as environment:
        crashed = environment.invoke({"ask": True, "end": True, "sleep": 0})
        assert crashed.error_type == "Runtime.ExitError"
        environment.wait_until_idle()
        row = rows_of(environment)[crashed.request_id]

        assert (row["estimated"], row["status"]) == (True, "error")


def test_a_life_that_begins_with_a_reset_tells_of_no_bill(
    emulator: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    with emulator(
        {"app.py": SLEEPY}, opt=layer, variables=chat_variables, timeout_seconds=1.5, memory_mb=512
    ) as environment:
        environment.invoke({"ask": False, "sleep": 60})
        for _ in range(3):
            assert environment.invoke({"ask": True, "sleep": 0}).error_type is None
        environment.wait_until_idle()
        environment.shutdown()

        assert len(rows_of(environment)) == 1
        assert not [line for line in environment.logs if "Bills cannot" in line.text]


def test_bills_come_out_of_an_environment_that_is_frozen_in_between(
    emulator: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    with emulator(
        {"app.py": SLEEPY}, opt=layer, variables=chat_variables, freeze=True
    ) as environment:
        invoked = [environment.invoke({"ask": False, "sleep": 0}) for _ in range(4)]
        environment.wait_until_idle()
        environment.shutdown()

        assert list(rows_of(environment)) == [each.request_id for each in invoked]


def test_it_can_be_switched_off(
    emulator: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    variables = {**chat_variables, "LAMBDALLM_COMPUTE": "off"}
    with emulator({"app.py": SLEEPY}, opt=layer, variables=variables) as environment:
        environment.invoke({"ask": True, "sleep": 0})
        environment.wait_until_idle()
        environment.shutdown()

        assert [line["outcome"] for line in lines_of(environment)] == ["ok"]


def test_where_lambda_tells_nothing_nothing_is_said(
    aws: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    with aws({"app.py": SLEEPY}, opt=layer, variables=chat_variables) as environment:
        assert environment.invoke({"ask": True, "sleep": 0}).error_type is None
        environment.wait_until_idle()

        assert [line["outcome"] for line in lines_of(environment)] == ["ok"]
        assert not [line for line in environment.logs if "billed" in line.text]


def test_managed_instances_have_no_bills(
    host: Start, layer: Path, chat_variables: dict[str, str]
) -> None:
    with host(
        {"app.py": SLEEPY}, opt=layer, variables=chat_variables, managed_concurrency=2
    ) as environment:
        assert environment.invoke({"ask": True, "sleep": 0}).error_type is None
        environment.shutdown()

        assert not rows_of(environment)


BILLER = """#!/usr/bin/env python3
import os, sys, _thread
sys.path.insert(0, os.path.join(os.path.dirname(sys.argv[0]), "../lambdallm"))
from lambda_runtime_api import telemetry
from lambda_runtime_api.extensions import ApiRefusedError, ExtensionClient
from lambdallm_extension.telemetry import platform

client = ExtensionClient(os.environ["AWS_LAMBDA_RUNTIME_API"])
client.register("biller", ("SHUTDOWN",))
listener = platform.listen(platform.address(client.api_port))
port = listener.getsockname()[1]
for schema in (telemetry.SCHEMA, telemetry.MANAGED_SCHEMA):
    try:
        client.subscribe(telemetry.PATH, telemetry.subscription(port, "/", schema=schema))
        print("biller: takes", schema, flush=True)
    except ApiRefusedError:
        print("biller: refuses", schema, flush=True)

def take(events):
    print("biller: told", *events, flush=True)

_thread.start_new_thread(platform.serve, (listener, take, print))
while client.next_event()["eventType"] != "SHUTDOWN":
    pass
print("biller: ends", flush=True)
"""


@pytest.mark.slow
def test_managed_instances_take_the_subscription_and_their_reports_hold_no_bill(
    host: Start, layer: Path, tmp_path: Path
) -> None:
    shutil.copytree(layer / "lambdallm", tmp_path / "opt/lambdallm")
    program = tmp_path / "opt/extensions/biller"
    program.parent.mkdir(parents=True)
    program.write_text(BILLER)
    program.chmod(0o755)
    function = {"app.py": "def handler(event, context):\n    return 1\n"}
    with host(function, opt=tmp_path / "opt", managed_concurrency=2) as environment:
        assert environment.invoke({}).error_type is None, environment.logs
        environment.shutdown()
        said = [line.text for line in environment.logs if "biller:" in line.text]

    assert said == [
        "biller: refuses 2022-12-13", "biller: takes 2025-01-29", "biller: ends",
    ]  # fmt: skip
