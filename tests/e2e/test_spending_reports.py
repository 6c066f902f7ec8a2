"""What an environment tells of its spending, for `lambdallm cost`: by the layer as it is built."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from e2e.chats import CHAT, post, reply_of
from e2e.test_main_line import metrics_of
from e2e.test_sidecar_death import CHAT as CHAT_WITH_FAULTS, said
from lambdallm_cli.commands import lambdallm as command

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Service, Start

USD = 10**12


def sheet_of(dynamodb: Service, environment_id: str) -> dict[str, Any]:
    """Return the one sheet of an environment."""
    client = boto3.resource(
        "dynamodb", endpoint_url=dynamodb.url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    items = client.Table(dynamodb.table).scan(ConsistentRead=True)["Items"]
    (sheet,) = [each for each in items if each["sk"] == environment_id]
    assert sheet["pk"].startswith("SPEND#")
    return sheet


def test_what_is_told_is_what_was_billed(
    host: Start, layer: Path, chat_variables: dict[str, str], dynamodb: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    function = {"app.py": CHAT.read_text()}
    with host(function, "app.chat_handler", opt=layer, variables=chat_variables) as environment:
        for text in ("one", "two", "three"):
            reply_of(environment.invoke(post(f"spending-{host.name}", text)))
        lines = metrics_of(environment)
    sheet = sheet_of(dynamodb, lines[0]["environmentId"])

    billed = sum(line["CostUSD"] for line in lines) * USD
    calls, cost = sheet["total"][:2]
    assert (calls, cost) == (3, billed)
    assert sheet["by"]["model"] == {chat_variables["LAMBDALLM_MODEL"]: sheet["total"]}
    told = sum(line["OverheadUSD"] for line in lines) * USD
    assert 0 < told <= sheet["overhead"] < 3 * Decimal(USD) / 100_000

    for name, value in {**chat_variables, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"
                        }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(command, ["cost", "--json", "--by", "function"])
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row["cost_pico_usd"] for row in json.loads(result.stdout)["rows"]}
    assert rows[sheet["function"]] >= billed


def test_a_killed_sidecar_loses_the_last_seconds_at_most(
    emulator: Start, layer: Path, chat_variables: dict[str, str], dynamodb: Service
) -> None:
    function = {"app.py": CHAT_WITH_FAULTS}
    with emulator(function, opt=layer, variables=chat_variables) as environment:
        environment.invoke(said("one", "killed-spending"))
        (line,) = metrics_of(environment)
        killed = said("two", "killed-spending", point="answered", signal="SIGKILL")
        assert environment.invoke(killed).error_type is None
    sheet = sheet_of(dynamodb, line["environmentId"])

    assert sheet["total"][0] >= 1
    assert sheet["total"][1] >= line["CostUSD"] * USD


@pytest.mark.slow
def test_a_stop_reaches_a_living_environment_within_a_minute(
    host: Start, layer: Path, chat_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**chat_variables, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"
                        }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    function = {"app.py": CHAT.read_text()}
    with host(function, "app.chat_handler", opt=layer, variables=chat_variables) as environment:

        def status() -> int:
            said = environment.invoke(post(f"stopped-{host.name}", "hello")).json()
            return int(said["statusCode"])

        def spend_until(wanted: int) -> float:
            began = time.monotonic()
            while status() != wanted and time.monotonic() - began < 90:
                time.sleep(0.5)
            return time.monotonic() - began

        assert status() == 200
        for command_name, wanted in (("stop", 429), ("go", 200)):
            arguments = ["budget", command_name, "--scope", "organisation"]
            result = CliRunner().invoke(command, arguments)
            assert result.exit_code == 0, result.output
            assert spend_until(wanted) < 60
