"""The demo's scene about a chain: three environments, each gone before the next one goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo_servers import ProblemError, model_server

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Mapping

    from demo_screen import Screen

    from lambda_runtime_api.emulator import Environment

FUNCTION, HANDLER = Path(__file__).parent / "report", "app.report_handler"

SCRIPT = (
    "1. Hives on roofs. 2. What they need. 3. What they give.",
    "On the roofs of Lisbon, 212 hives were counted this year, and more are wished for.",
)
"""One answer for each step that asks: a step that was asked twice would get the wrong one."""

ACCEPTED, DONE = 202, 200


def show(
    screen: Screen,
    folder: Path,
    variables: Mapping[str, str],
    open_environment: Callable[[Mapping[str, str]], contextlib.AbstractContextManager[Environment]],
) -> None:
    """Begin a report, give it its figures, and approve of it; each in an environment of its own."""
    screen.scene("A chain", "waits for a program and for a person, over three environments")
    with model_server(folder, SCRIPT) as url:
        told = {**variables, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url}
        with open_environment(told) as running:
            begun = _post(running, {"topic": "bees on roofs"}, ACCEPTED)
            screen.call("begun", f"{begun['run']} waits for {_names(begun)}; nothing runs")
        with open_environment(told) as running:
            figures = {"token": begun["tokens"]["figures"], "figures": "212 hives"}
            drafted = _post(running, figures, ACCEPTED)
            screen.call("callback", f"a program sent its figures; it waits for {_names(drafted)}")
        with open_environment(told) as running:
            yes = {"token": drafted["tokens"]["release"], "approve": True, "by": "Ada"}
            report = _post(running, yes, DONE)
            screen.call("approved", f"by {report['by']}: {report['text']}")
            again = _post(running, {"token": yes["token"], "approve": False, "by": "Eve"}, None)
            screen.call("too late", again["detail"])
    if report["text"] != SCRIPT[1]:
        message = f"A step was asked again, or not at all: {report}"
        raise ProblemError(message)


def _post(running: Environment, body: dict[str, Any], status: int | None) -> dict[str, Any]:
    """Send as a Function URL would; return the answer's body."""
    event = {
        "version": "2.0",
        "rawPath": "/report",
        "requestContext": {"http": {"method": "POST", "path": "/report"}},
        "headers": {"content-type": "application/json", "idempotency-key": "demo"},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
    answer: Any = running.invoke(event).json()
    running.wait_until_idle()
    if status is not None and answer.get("statusCode") != status:
        message = f"The function failed: {answer}"
        raise ProblemError(message)
    content: dict[str, Any] = json.loads(answer["body"])
    return content


def _names(answer: dict[str, Any]) -> str:
    return ", ".join(answer["tokens"])
