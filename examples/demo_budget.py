"""The demo's scene about money: a budget, a cheaper model, a refusal, a switch, a new limit."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from demo_servers import ProblemError, model_server

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from demo_screen import Screen

    from lambda_runtime_api.emulator import Environment, Invocation

DEAR = "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
CHEAP = "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0"

DAILY_USD = Decimal("0.40")

CONFIGURATION = f"""
models:
  cheap: {{model: '{CHEAP}'}}
cost:
  budget: {{daily: '{DAILY_USD}'}}
  on_budget_exceeded: downgrade
  downgrade_to: cheap
"""

SCRIPT = [{"text": "A long answer.", "input_tokens": 1_500, "output_tokens": 1_000}]
"""Billed, though nobody writes as much: so a day's budget is gone in some calls."""

CALLS_MAX = 40
REFUSED = 429


class Spent(NamedTuple):
    """One call and what became of it."""

    status: int
    model: str
    cost_usd: Decimal
    detail: str


def show(
    screen: Screen,
    folder: Path,
    variables: Mapping[str, str],
    table: Any,
    open_environment: Callable[[Mapping[str, str]], contextlib.AbstractContextManager[Environment]],
) -> None:
    """Spend a day's budget, stop everything, and open it again."""
    screen.scene("A budget", f"${DAILY_USD} a day; a cheaper model from 80 % on")
    configuration = folder / "lambdallm.yaml"
    configuration.write_text(CONFIGURATION)
    with model_server(folder, SCRIPT) as url:
        told = {
            **variables,
            "LAMBDALLM_CONFIG": str(configuration),
            "LAMBDALLM_MODEL": DEAR,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        }
        with open_environment(told) as running:
            _spend(screen, running)
        _change(table, "STOP#organisation#", stopped=True)
        with open_environment(told) as running:
            stopped = _ask(running)
            _expect(stopped.status == REFUSED and "stopped" in stopped.detail, stopped)
            screen.call("stopped", stopped.detail)
        _change(table, "STOP#organisation#", stopped=False)
        _change(table, "RULE#daily", limit=int(DAILY_USD * 2 * 10**12))
        with open_environment(told) as running:
            opened = _ask(running)
            _expect(opened.model == DEAR, opened)
            screen.call("opened", f"and ${DAILY_USD * 2} a day: {_short(opened)}")


def _spend(screen: Screen, running: Environment) -> None:
    sum_usd, model, calls = Decimal(0), "", 0
    for _ in range(CALLS_MAX):
        spent = _ask(running)
        if spent.status == REFUSED:
            screen.call(
                f"{calls} calls", f"{_name(model)}: ${sum_usd:.2f} of ${DAILY_USD} is spent"
            )
            screen.call("refused", f"{spent.status}: {spent.detail}")
            _expect(model == CHEAP and sum_usd <= DAILY_USD, spent)
            return
        if model and spent.model != model:
            screen.call(
                f"{calls} calls", f"{_name(model)}: ${sum_usd:.2f} of ${DAILY_USD} is spent"
            )
            calls = 0
        sum_usd, model, calls = sum_usd + spent.cost_usd, spent.model, calls + 1
    message = "The budget has refused nothing."
    raise ProblemError(message)


def _ask(running: Environment) -> Spent:
    """Ask as a Function URL would, each time in a session of its own."""
    headers = {"content-type": "application/json", "x-session-id": f"budget-{time.time_ns()}"}
    invocation = running.invoke(
        {
            "version": "2.0",
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "headers": headers,
            "body": json.dumps({"message": "Write a book."}),
            "isBase64Encoded": False,
        }
    )
    running.wait_until_idle()
    answer: Any = invocation.json()
    body = json.loads(answer["body"])
    reported = _reported(invocation)
    cost = Decimal(reported["CostUSD"])
    return Spent(answer["statusCode"], reported.get("Model", ""), cost, body.get("detail", ""))


def _reported(invocation: Invocation) -> dict[str, Any]:
    for line in invocation.logs:
        if line.source == "extension" and f'"requestId":"{invocation.request_id}"' in line.text:
            reported: dict[str, Any] = json.loads(line.text, parse_float=Decimal)
            return reported
    message = f"The sidecar reported nothing: {[line.text for line in invocation.logs]}"
    raise ProblemError(message)


def _change(table: Any, sort_key: str, **attributes: Any) -> None:
    """Say in the table what changes: new environments know at once, others within a minute."""
    at = time.time_ns() // 1_000_000
    table.put_item(Item={"pk": "BUDGETS", "sk": sort_key, "schema": 1, "at": at, **attributes})


def _expect(held: bool, spent: Spent) -> None:
    if not held:
        message = f"The budget did not do what it promises: {spent}"
        raise ProblemError(message)


def _name(model: str) -> str:
    return model.partition(".anthropic.")[2].partition("-20")[0]


def _short(spent: Spent) -> str:
    return f"{_name(spent.model)}, ${spent.cost_usd:.2f}"
