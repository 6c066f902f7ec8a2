"""`lambdallm runs` run in this process, and chains that leave runs for it."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from lambdallm import Approval, Callback, Chain, Step
from lambdallm_cli.commands import lambdallm as command

SECRET = "the secret recipe"


def run(*arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(command, ["runs", *arguments], **more)


def ran(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    return result.stderr


def report(**options: Any) -> Chain:
    """Two questions."""
    steps = [Step("draft", "Write about {input}", max_tokens=100),
             Step("polish", "Polish {draft.output}", max_tokens=100)]  # fmt: skip
    return Chain("report", steps, version="1.2.0", **options)


def refund(**options: Any) -> Chain:
    """A question, a person's yes or no, a function."""
    steps = [
        Step("reason", "Why {input}?", max_tokens=100),
        Approval("manager", message="Refund {input}?"),
        Step("pay", func=lambda values: {"by": values["manager"]["by"]}),
    ]
    return Chain("refund", steps, **options)


def order(**options: Any) -> Chain:
    """Somebody else's answer alone."""
    return Chain("order", [Callback("payment", message="Pay {input}.")], **options)
