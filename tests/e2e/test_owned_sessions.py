"""Sessions of two users through the built layer, and what a third one reaches of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from fakes.owned_events import function_url, http_jwt, rest_lambda

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start

APP = """
from lambdallm import Session, handler

@handler(session=Session())
def talk(event, context):
    said = [message.content for message in context.session.messages]
    context.session.add_message("user", event["body"]["message"])
    context.session.add_message("assistant", "noted")
    context.session.metadata["last"] = event["body"]["message"]
    return said
"""


@pytest.mark.parametrize("sidecar", ["on", "off"])
def test_users_share_nothing_but_the_table(
    host: Start, layer: Path, tmp_path: Path, sidecar: str
) -> None:
    store = f"sqlite:///{tmp_path}/sessions.db"
    variables = {"LAMBDALLM_SIDECAR": sidecar, "LAMBDALLM_STORE": store}

    def ask(environment: Any, event: dict[str, Any]) -> Any:
        answer = environment.invoke(event)
        assert answer.error_type is None, answer
        reply = json.loads(answer.payload)
        assert reply["statusCode"] == 200, reply
        return json.loads(reply["body"])

    def body(message: str) -> str:
        return json.dumps({"message": message, "session_id": "s", "owner": "jwt:x|ada"})

    with host({"app.py": APP}, "app.talk", opt=layer, variables=variables) as environment:
        for make in (http_jwt, rest_lambda, function_url):
            assert ask(environment, make("ada", body("my secret"))) == []
            assert ask(environment, make("bob", body("let me in"))) == []
            assert ask(environment, make("ada", body("again"))) == ["my secret", "noted"]
