"""What lines and records say of budgets: how full they are, what they refused, who was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lambdallm import Session
from lambdallm_cli import calls_read
from lambdallm_extension.domain.overhead import LOG_BYTE_PICO_USD

MODEL = "bedrock/us.amazon.nova-micro-v1:0"
DEAR = "bedrock/us.amazon.nova-lite-v1:0"

Spend = Callable[..., list[int]]

pytestmark = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


@pytest.fixture
def lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], list[dict[str, Any]]]:
    """Return the metric lines that were printed since the last time."""
    monkeypatch.setenv("LAMBDALLM_TELEMETRY", "on")

    def read() -> list[dict[str, Any]]:
        printed = capsys.readouterr().out.splitlines()
        return [json.loads(each, parse_float=Decimal) for each in printed if each.startswith("{")]

    return read


def configure(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    Path("lambdallm.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("LAMBDALLM_CONFIG", str(Path("lambdallm.yaml").absolute()))


def records(store: str) -> list[dict[str, Any]]:
    return calls_read.read_calls(store, calls_read.Filter(), lambda _: None)


def test_a_refused_call_is_blocked_and_how_full_it_is_is_told(
    store: str, spend: Spend, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, "cost:\n  budget: {daily: '0.00012'}\n")
    assert spend(2) == [200, 429]
    answered, refused = lines()

    assert answered["BudgetUtilization"] > 0
    assert "Blocked" not in answered
    assert (refused["Blocked"], refused["Calls"]) == (1, 0)
    assert refused["BudgetUtilization"] >= Decimal("0.4")


def test_without_a_budget_nothing_is_said_of_one(store: str, spend: Spend, lines: Any) -> None:
    spend()
    (line,) = lines()

    assert not {"BudgetUtilization", "Blocked", "Downgraded"} & {*line}
    assert line["OverheadUSD"] >= 0


def test_a_downgraded_calls_record_says_who_was_wanted(
    store: str, spend: Spend, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(
        monkeypatch,
        f"models:\n  cheap: {{model: {MODEL}}}\n"
        "cost:\n  budget: {daily: '0.0004'}\n  on_budget_exceeded: downgrade\n"
        "  downgrade_to: cheap\n",
    )
    spend(12, model=DEAR)
    told = lines()
    downgraded = [record for record in records(store) if "asked" in record]

    assert downgraded
    assert {(record["asked"], record["model"]) for record in downgraded} == {(DEAR, MODEL)}
    assert sum(line.get("Downgraded", 0) for line in told) == len(downgraded)
    assert all(line.get("Downgraded", 1) == 1 for line in told)


def test_a_record_says_its_session_and_whose_it_is(store: str, spend: Spend) -> None:
    spend(event={"body": {"session_id": "s1"}}, session=Session())
    spend()
    by_session = {record.get("session", ""): record.get("user") for record in records(store)}

    assert by_session == {"s1": "", "": None}


def test_the_lines_of_the_log_are_paid_for(store: str, spend: Spend, lines: Any) -> None:
    spend(3)
    told = lines()

    assert len(told) == 3
    assert all(line["OverheadUSD"] * 10**12 >= 300 * LOG_BYTE_PICO_USD for line in told[1:])
