"""`lambdallm cost` over every store: sums that are what was billed, and what the month comes to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fakes.clocks import HandClock
from fakes.owned_events import http_jwt
from lambdallm import Session
from lambdallm.testing.model_server import ModelServer
from lambdallm_cli.commands import lambdallm as command
from lambdallm_extension.domain.day_sheets import Counted
from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.services.day_sheets import DaySheets
from lambdallm_extension.settings import SystemClock
from lambdallm_extension.stores.sqlite import SqliteStore

PRICE = 49_000_000
"""Of one answer of the model, in pico-USD."""

USD = 10**12
Spend = Callable[..., list[int]]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["cost", *arguments])


def asked(*arguments: str) -> dict[str, Any]:
    result = run("--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def costs(*arguments: str) -> dict[str, int]:
    return {row["name"]: row["cost_pico_usd"] for row in asked(*arguments)["rows"]}


def test_every_way_of_summing_comes_to_what_was_billed(spend: Spend, server: ModelServer) -> None:
    spend(2, tags={"team": "search", "tenant": "acme"})
    spend(3, tags={"team": "[bold]ads", "user": "bob"})
    spend(1, event=http_jwt("ada", '{"session_id": "s1"}'), session=Session())
    billed = len(server.requests) * PRICE
    today = datetime.fromtimestamp(SystemClock().epoch_ms() / 1_000, tz=timezone.utc).date()

    found = asked()
    assert found["total"]["cost_pico_usd"] == billed == 6 * PRICE
    assert (found["total"]["input_tokens"], found["total"]["output_tokens"]) == (6_000, 600)
    assert found["rows"][-1]["name"] == today.isoformat()
    assert found["forecast"] is None
    assert costs("--by", "model") == {"bedrock/us.amazon.nova-micro-v1:0": billed}
    assert costs("--by", "function") == {"local": billed}
    assert costs("--by", "tag:team") == {
        "[bold]ads": 3 * PRICE, "search": 2 * PRICE, "(none)": PRICE,
    }  # fmt: skip
    assert costs("--by", "tenant") == {"acme": 2 * PRICE, "(none)": 4 * PRICE}
    assert sum(costs("--by", "user").values()) == billed
    sessions = costs("--by", "session")
    assert sessions.pop("(none)") == 5 * PRICE
    ((name, cost),) = sessions.items()
    assert name.startswith("s1 of jwt:")
    assert cost == PRICE

    table = run("--by", "tag:team").stdout
    assert "[bold]ads" in table
    assert "50 %" in table
    assert "too few days" in table
    rows = [*csv.DictReader(io.StringIO(run("--by", "tag:team", "--csv").stdout))]
    assert [row["cost_usd"] for row in rows] == ["0.000147", "0.000098", "0.000049"]


def test_what_nobody_knows_is_said(spend: Spend, server: ModelServer) -> None:
    spend(model="bedrock/nobody.knows-v1:0")
    found = asked()

    assert found["total"]["calls"] == found["total"]["unpriced"] == 1
    assert found["total"]["cost_pico_usd"] == 0
    assert "1 call without a known price" in run().stdout


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_formula_is_a_name_in_a_spreadsheet(spend: Spend) -> None:
    spend(tags={"team": "=1+1"})

    assert "'=1+1,1," in run("--by", "tag:team", "--csv").stdout
    assert [*costs("--by", "tag:team")] == ["=1+1"]


def book(
    store: str, day: date, pico_usd: int, environment: str = "e1", billed: tuple[int, ...] = ()
) -> None:
    clock = HandClock()
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
    clock.now_ms = round(noon.timestamp() * 1_000)
    opened = SqliteStore(store.removeprefix("sqlite:///"), SystemClock())
    sheets = DaySheets(lambda: opened, clock, lambda: environment, "chat", Overhead())
    sheets.book({"model": "bedrock/m"}, Counted(calls=1, cost_pico_usd=pico_usd))
    for compute in billed:
        sheets.book_compute(compute)
    sheets.flush(SystemClock().epoch_ms() + 5_000, last=True)
    opened.close()


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_what_lambda_bills_stands_beside_where_somebody_knows_whose_it_is(store: str) -> None:
    today = datetime.fromtimestamp(SystemClock().epoch_ms() / 1_000, tz=timezone.utc).date()
    for ago in range(4):
        book(store, today - timedelta(days=ago), USD)
    book(store, today - timedelta(days=1), USD, "e2", billed=(USD // 4, USD // 4))
    found = asked("--days", "2")

    before, now = found["rows"]
    assert (before["invocations"], before["compute_usd"], before["total_usd"]) == (2, "0.5", "2.5")
    assert now["invocations"] == 0
    assert "compute_usd" not in now, "nobody told it: that is not 0"
    assert found["total"]["total_usd"] == "3.5"
    assert found["forecast"]["of"] == "total"
    (function,) = asked("--by", "function", "--days", "2")["rows"]
    assert (function["name"], function["compute_usd"]) == ("chat", "0.5")
    (model,) = asked("--by", "model", "--days", "2")["rows"]
    assert "compute_usd" not in model

    table = run("--days", "2").stdout
    assert {"models", "compute", "lambdallm", "total"} <= set(table.split())
    assert "$2.5000" in table
    assert "2 invocations" in table
    by_model = run("--by", "model", "--days", "2").stdout
    assert "Not in the table: $0.50 of Lambda for 2 invocations" in by_model
    rows = [*csv.DictReader(io.StringIO(run("--days", "2", "--csv").stdout))]
    assert [row["compute_usd"] for row in rows] == ["0.5", ""]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_days_without_a_call_are_days_too_and_a_month_is_foretold(store: str) -> None:
    today = datetime.fromtimestamp(SystemClock().epoch_ms() / 1_000, tz=timezone.utc).date()
    for ago in (1, 2, 4):
        book(store, today - timedelta(days=ago), USD)
        book(store, today - timedelta(days=ago), USD, "e2")
    found = asked("--days", "5")

    assert [row["cost_usd"] for row in found["rows"]] == ["2", "0", "2", "2", "0"]
    forecast = found["forecast"]
    assert forecast["days_used"] == 4
    low, expected, high = (float(forecast[f"{each}_usd"]) for each in ("low", "expected", "high"))
    assert low <= expected <= high
    left = ((today.replace(day=1) + timedelta(days=32)).replace(day=1) - today).days
    spent = 2 * sum((today - timedelta(days=ago)).month == today.month for ago in (1, 2, 4))
    assert expected == pytest.approx(spent + 1.5 * left)
    assert "between $" in run().stdout
    month = asked("--month")
    assert month["first_day"] == today.replace(day=1).isoformat()
    assert month["total"]["cost_usd"] == str(spent)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_an_item_that_was_changed_is_told_and_never_read_as_nothing(store: str) -> None:
    today = datetime.fromtimestamp(SystemClock().epoch_ms() / 1_000, tz=timezone.utc).date()
    book(store, today, USD)
    import sqlite3

    with sqlite3.connect(store.removeprefix("sqlite:///")) as file:
        file.execute('UPDATE items SET attributes = \'{"total": [1, "x"]}\'')
    file.close()
    result = run()

    assert result.exit_code == 3
    assert "SPEND#" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "planet"], "--by is day"),
        (["--by", "tag:"], "--by is day"),
        (["--csv", "--json"], "not both"),
        (["--days", "0"], "--days"),
        (["--store", "memory:"], "memory:"),
    ],
)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_wrong_uses_say_what_is_right(store: str, arguments: list[str], words: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_store_without_spending_says_so(spend: Spend) -> None:
    spend(0)

    assert "Nothing was spent" in run().stdout
    assert asked()["rows"] == []
