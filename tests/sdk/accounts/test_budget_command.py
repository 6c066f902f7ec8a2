"""`lambdallm budget` over every store, and what environments then let through."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import lambdallm
from fakes.owned_events import http_jwt
from lambdallm import Session, _embedded, _transport, handler
from lambdallm._settings import environ_with
from lambdallm.testing import MockLambdaContext
from lambdallm.testing.model_server import ModelServer
from lambdallm_cli.commands import lambdallm as command
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.services.budgets import Budgets
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores import open_store
from lambdallm_wire import routes

PRICE = 49_000_000
"""Of one answer of the model, in pico-USD."""

Spend = Callable[..., list[int]]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["budget", *arguments])


def done(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def shown(*arguments: str) -> list[dict[str, Any]]:
    accounts: list[dict[str, Any]] = json.loads(done("show", "--json", *arguments))["accounts"]
    return accounts


def test_what_is_set_holds_and_what_is_shown_was_billed(spend: Spend, server: ModelServer) -> None:
    said = done("set", "all", "--scope", "organisation", "--limit", "0.0005")
    assert "$0.0005 a day" in said
    assert "within a minute" in said
    assert os.environ["LAMBDALLM_STORE"] in said

    statuses = spend(12)
    billed = len(server.requests) * PRICE
    (account,) = shown()

    assert set(statuses) == {200, 429}
    assert billed <= 500_000_000
    assert (account["spent_pico_usd"], account["calls"]) == (billed, len(server.requests))
    assert account["leased_pico_usd"] == billed, "the environment has ended: nothing is held"
    assert account["stranded_pico_usd"] == account["unknown_pico_usd"] == 0
    assert account["percent"] == billed * 100 // 500_000_000

    done("raise", "all", "--to", "1")
    assert spend(2) == [200, 200]
    assert shown()[0]["limit_pico_usd"] == 10**12
    done("set", "all", "--limit", "0")
    assert spend() == [429], "what was lowered below what is spent lets nothing through"


def test_a_stop_names_the_command_that_opens_again(spend: Spend, server: ModelServer) -> None:
    done("stop", "--scope", "tenant", "--id", "it's #1")

    assert spend(tags={"tenant": "it's #1"}) == [429]
    assert spend(tags={"tenant": "other"}) == [200]
    with pytest.raises(lambdallm.BudgetExceededError, match="lambdallm budget go --scope tenant"):
        ask(tenant="it's #1")
    assert "tenant it's #1. `lambdallm budget go" in done("show")

    done("go", "--scope", "tenant", "--id", "it's #1")
    assert spend(tags={"tenant": "it's #1"}) == [200]
    assert len(server.requests) == 2
    assert run("go", "--scope", "tenant", "--id", "it's #1").exit_code == 1


def ask(**tags: str) -> None:
    @handler
    def handle(_event: Any, context: Any) -> Any:
        context.tag(**tags)
        return context.chat("Hello", max_tokens=100).text

    event = {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "{}"}]}
    try:
        handle(event, MockLambdaContext())
    finally:
        used = _transport.replace(None)
        assert used is not None
        used.close()


def test_everything_stops_and_one_budget_does(spend: Spend) -> None:
    done("set", "users", "--scope", "user", "--limit", "1")
    done("stop", "users")
    assert spend(tags={"user": "ada"}) == [429]
    assert spend() == [200], "no user's"
    done("go", "users")
    assert spend(tags={"user": "ada"}) == [200]

    done("stop", "--scope", "organisation")
    assert spend() == [429]


def test_each_user_is_found_and_one_may_have_another_limit(spend: Spend) -> None:
    done("set", "users", "--scope", "user", "--window", "month", "--limit", "0.0002")
    done("set", "others", "--scope", "user", "--window", "week", "--limit", "1")
    for user in ("ada", "bob"):
        spend(event=http_jwt(user, '{"x": 1}'), session=Session())
    ada, bob = sorted(account["id"] for account in shown("users"))
    assert ada.endswith("ada")
    assert len(shown()) == 4
    done("raise", "users", "--to", "3", "--id", bob)
    done("set", "users", "--limit", "0.0001", "--id", ada)

    assert {(each["id"], each["limit_pico_usd"]) for each in shown("users")} == {
        (ada, 10**8), (bob, 3 * 10**12),
    }  # fmt: skip
    assert spend(event=http_jwt("ada", '{"x": 1}'), session=Session()) == [429]
    assert set(spend(6, event=http_jwt("bob", '{"x": 1}'), session=Session())) == {200}


def test_a_configured_budget_is_changed_where_it_is_configured(
    spend: Spend, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("lambdallm.yaml").write_text("cost:\n  budget: {daily: '0.00012'}\n", encoding="utf-8")
    monkeypatch.setenv("LAMBDALLM_CONFIG", str(Path("lambdallm.yaml").absolute()))
    assert spend(2) == [200, 429]
    assert "$0.00012 already" in run("raise", "daily", "--to", "0.00012").stderr
    done("raise", "daily", "--to", "0.001")
    assert spend() == [200]
    assert shown()[0]["spent_pico_usd"] == 2 * PRICE

    done("set", "daily", "--limit", "0")
    assert spend() == [429]
    Path("lambdallm.yaml").unlink()
    Path("elsewhere").mkdir()
    monkeypatch.delenv("LAMBDALLM_CONFIG")
    monkeypatch.chdir("elsewhere")
    assert spend() == [200], "another function has no such budget"
    done("stop", "--scope", "organisation")
    assert spend() == [429], "and a stop holds there, too"


def test_what_a_dead_environment_held_is_stranded(spend: Spend) -> None:
    done("set", "all", "--scope", "organisation", "--limit", "1")
    spend()
    die_with(7 * PRICE)
    (account,) = shown()

    assert account["spent_pico_usd"] == PRICE
    assert account["leased_pico_usd"] >= 8 * PRICE
    assert account["stranded_pico_usd"] == account["leased_pico_usd"] - PRICE
    assert account["environments"] == 1


def die_with(pico_usd: int) -> None:
    """Reserve so much in an environment that is never heard of again."""
    settings, clock = Settings.from_environ(), SystemClock()
    opened = open_store(settings, clock, CredentialSource(settings, clock))
    rule = Budget("all", "organisation", limit_pico_usd=10**12)
    budgets = Budgets(lambda: [rule], lambda: opened, clock, lambda: "dead", print)
    budgets.admit({}, pico_usd, deadline_ms=clock.epoch_ms() + 5_000)
    opened.close()


def test_two_changes_at_once_both_hold(store: str) -> None:
    done("set", "all", "--scope", "organisation", "--limit", "1")
    changes = [("--limit", "2"), ("--window", "week"), ("--on-exceeded", "warn")]
    threads = [threading.Thread(target=run, args=("set", "all", *change)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (rule,) = json.loads(done("show", "--json"))["rules"]

    assert (rule["limit_pico_usd"], rule["window"], rule["on_exceeded"]) == (
        2 * 10**12, "week", "warn",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["set", "x", "--limit", "5"], 1, "--scope organisation"),
        (["set", "x", "--scope", "user"], 1, "--limit"),
        (["raise", "x", "--to", "5"], 1, "no budget 'x'"),
        (["stop", "x"], 1, "no budget 'x'"),
        (["show", "x"], 1, "no budget 'x'"),
        (["show"], 1, "no budgets"),
        (["go", "--scope", "user", "--id", "ada"], 1, "Nothing has stopped it"),
        (["stop"], 2, "Say what"),
        (["stop", "x", "--scope", "user"], 2, "Say what"),
        (["stop", "--scope", "user"], 2, "Say the id"),
        (["stop", "--scope", "planet", "--id", "x"], 2, "A scope is one of"),
        (["stop", "--scope", "model", "--id", "us.amazon.nova-v1:0"], 2, "provider/model"),
        (["set", "x", "--scope", "organisation", "--id", "a", "--limit", "5"], 1, "has no id"),
        (["stop", "--scope", "tag:a#b", "--id", "x"], 2, "A scope is one of"),
        (["set", "a#b", "--scope", "user", "--limit", "5"], 2, "letters, digits"),
        (["set", "x", "--scope", "user", "--limit", "-5"], 2, "no amount"),
        (["set", "x", "--scope", "user", "--limit", "NaN"], 2, "no amount"),
        (["set", "x", "--scope", "user", "--limit", "0.0000000000001"], 2, "no amount"),
        (["set", "x", "--scope", "user", "--limit", "1e40"], 2, "A limit is"),
        (["set", "x", "--scope", "user", "--limit", "1", "--time-zone", "Mars"], 2, "time zone"),
        (["show", "--store", "memory:"], 2, "memory:"),
        (["show", "--store", "sqlite:///nothing.db"], 2, "nothing.db"),
    ],
)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_refusals_say_what_to_do(store: str, arguments: list[str], code: int, words: str) -> None:
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_budget_of_one_is_not_raised_for_another(store: str) -> None:
    done("set", "all", "--scope", "organisation", "--limit", "1")
    done("set", "users", "--scope", "user", "--limit", "1")

    assert "one limit" in run("raise", "all", "--to", "5", "--id", "x").stderr
    assert "has no id" in run("set", "all", "--limit", "5", "--id", "x").stderr
    own = run("set", "users", "--id", "ada", "--window", "week")
    assert "nothing else" in own.stderr
    assert run("set", "all").exit_code == 1


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_what_users_are_called_commands_no_terminal(spend: Spend) -> None:
    done("set", "users", "--scope", "user", "--limit", "1")
    spend(tags={"user": "[red]\x1b[2J"})
    done("stop", "--scope", "user", "--id", "\x1b]0;x")
    said = done("show")

    assert "\x1b" not in said
    assert r"user [red]\x1b[2J" in said


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_functions_engine_changes_no_budget(store: str) -> None:
    """Nor does the sidecar's, which is the same: tool code has its token."""
    transport = _embedded.EmbeddedTransport.start(
        {**environ_with({}), "AWS_LAMBDA_FUNCTION_NAME": "chat"}
    )
    message = {"action": "set", "name": "all", "scope": "organisation", "limit_pico_usd": 10**15}
    try:
        with pytest.raises(lambdallm.InvalidRequestError, match="on a machine of yours"):
            transport.request(routes.CHANGE_BUDGET, message, timeout_seconds=5)
        reply = transport.request(routes.LIST_BUDGETS, {}, timeout_seconds=5)
        assert reply["rules"] == []
    finally:
        transport.close()


def test_whoever_names_no_store_has_stopped_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDALLM_STORE")
    result = run("stop", "--scope", "organisation")

    assert result.exit_code == 2
    assert "There is no file" in result.stderr
    assert not Path(".lambdallm").exists()


@pytest.mark.parametrize("store", ["dynamodb"], indirect=True)
def test_a_store_that_is_gone_is_told(store: str, dynamodb: Any) -> None:
    dynamodb.delete_table(TableName=store.removeprefix("dynamodb://"))
    result = run("show")

    assert result.exit_code == 3
    assert "no table" in result.stderr
