"""What docs/runs.md says that a run costs in DynamoDB, counted by DynamoDB's rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from fakes.moto_server import make_table
from lambdallm import Chain, Step, _transport

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def meter(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import capacity

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    meter = capacity.Meter(moto)
    server = capacity.serve(meter)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto)
    client = boto3.client("dynamodb")
    table = make_table(client, "pk", "sk")
    client.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("LAMBDALLM_STORE", f"dynamodb://{table}")
    monkeypatch.setenv("LAMBDALLM_SIDECAR", "off")
    monkeypatch.setenv("LAMBDALLM_MODEL", "scripted/one")
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(["x" * 100]))
    before = _transport.replace(None)
    yield meter
    used = _transport.replace(before)
    if used is not None:
        used.close()
    server.shutdown()
    server.server_close()


def documented() -> dict[str, tuple[int, int]]:
    """Return requests and units of each row of the table."""
    text = (REPOSITORY / "docs" / "runs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d+)[^|]*\|$", text, re.MULTILINE)
    return {name: (int(requests), int(units)) for name, requests, units in rows}


def writes(meter: Any, chain: Chain, run_id: str) -> list[int]:
    """Return the units of each transaction of a run, in order."""
    counted: list[int] = []
    write = meter._write

    def count(operation: str, request: Any) -> None:
        before = meter.write_units
        write(operation, request)
        if operation == "TransactWriteItems":
            counted.append(meter.write_units - before)

    meter._write = count
    chain.run(run_id=run_id, input="x")
    meter._write = write
    return counted


def test_a_run_costs_what_its_page_says(meter: Any) -> None:
    table = documented()
    asking = [Step(f"s{number}", "Go on.") for number in range(3)]
    telling = [Step(f"s{number}", func=lambda _: "x" * 100) for number in range(3)]

    asked = writes(meter, Chain("asking", asking), "asking")
    told = writes(meter, Chain("telling", telling), "telling")

    rows = (
        "beginning a run",
        "the first question",
        "each further question, with the step before it and how its call ended",
        "each further question, with the step before it and how its call ended",
        "the end, with the last step and the output",
    )
    assert asked == [table[name][1] for name in rows]
    assert table["three questions, all together"] == (len(asked), sum(asked))
    assert [table["a step that asks no model"][1]] * 2 == told[1:3]


def test_going_on_costs_what_its_page_says(meter: Any) -> None:
    table = documented()
    fails = [True]

    def check(_values: Any) -> str:
        if fails:
            raise ValueError("once")
        return "x"

    steps = [Step("ask", "Go on."), Step("check", func=check, retry_count=0)]
    writes(meter, Chain("checked", steps), "r")
    fails.clear()

    resumed = writes(meter, Chain("checked", steps), "r")
    told_again = writes(meter, Chain("checked", steps), "r")

    going_on = resumed[:-1]  # the last one is the end
    assert table["going on with a run, besides one read of all it holds"] == (
        len(going_on),
        sum(going_on),
    )
    assert table["telling the result of a run again, besides the same read"] == (
        len(told_again),
        sum(told_again),
    )
