"""A router that is a handler itself, and a child that asks: beside the built layer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from e2e.chats import lines_with, post, reply_of

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start

PROGRAM = """
import os
from lambdallm import Session, handler

@handler(session=Session(store="dynamodb", ttl_hours=24))
def chat(event, context):
    context.session.add_message("user", event["body"]["message"])
    reply = context.invoke(context.session.format_history())
    context.session.add_message("assistant", reply)
    return {"reply": reply}

@handler
def router(event, context):
    child = os.fork()
    if child == 0:
        context.invoke("child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    response = chat(event, context)
    context.invoke("after")
    return response
"""


def test_a_router_and_its_child(host: Start, layer: Path, chat_variables: dict[str, str]) -> None:
    session = f"routed-{host.name}"
    with host(
        {"app.py": PROGRAM}, "app.router", opt=layer, variables=chat_variables, timeout_seconds=6
    ) as environment:
        replies = [reply_of(environment.invoke(post(session, "hello"))) for _ in range(2)]
        reports: list[dict[str, Any]] = [
            json.loads(line) for line in lines_with(environment, '"_aws"', '"workId"')
        ]
        ended = lines_with(environment, "the sidecar has ended")

    assert replies == ["You said 1 things.", "You said 2 things."]
    assert ended == []
    outcomes = sorted((each["host"], each["outcome"], each["Calls"]) for each in reports)
    assert outcomes == [("sidecar", "forked", 1)] * 2 + [("sidecar", "ok", 1)] * 4
    assert sum(each["FailedInvocations"] for each in reports) == 0
