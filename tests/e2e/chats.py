"""One conversation with the chat example, as the tests of many environments hold it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHAT = Path(__file__).parents[2] / "examples/chat/app.py"


def post(session: str, message: str) -> dict[str, Any]:
    """An event as a Function URL makes it."""
    return {
        "version": "2.0",
        "rawPath": "/chat",
        "rawQueryString": "",
        "requestContext": {"http": {"method": "POST", "path": "/chat"}, "domainName": "x"},
        "headers": {"content-type": "application/json", "x-session-id": session},
        "body": json.dumps({"message": message}),
        "isBase64Encoded": False,
    }


def reply_of(invocation: Any) -> Any:
    assert invocation.error_type is None, (invocation.payload, invocation.logs)
    answer = json.loads(invocation.payload)
    assert answer["statusCode"] == 200, (answer, invocation.logs)
    return json.loads(answer["body"])["reply"]


def lines_with(environment: Any, *words: str) -> list[str]:
    """What was printed so far with all of these words in one line."""
    environment.wait_until_idle()
    return [line.text for line in environment.logs if all(word in line.text for word in words)]
