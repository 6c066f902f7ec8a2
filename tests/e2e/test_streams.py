"""Streams, vectors and a provider of one's own, beside the built layer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from e2e.chats import lines_with

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start

PROGRAM = """
import asyncio
from lambdallm import handler, providers

class Echo:
    def stream(self, request):
        yield "You said "
        yield request["messages"][-1]["content"]
        yield {"usage": {"input_tokens": 2, "output_tokens": 3}, "cost_usd": 0.5}

providers.register("echo", Echo())

@handler
def ask(event, context):
    for _ in context.stream("Hello", model="scripted/long"):
        break
    stream = context.stream("Hello")
    pieces = list(stream)
    own = list(context.stream("Hi", model="echo/any"))
    found = context.embed(["one", "two"], model="scripted/vectors")
    return {"pieces": pieces, "text": stream.response.text, "own": own,
            "vectors": len(found.vectors), "cost": context.total_cost}

@handler
async def ask_all(event, context):
    async def read():
        return "".join([piece async for piece in context.astream("Hello")])
    return {"texts": await asyncio.gather(*(read() for _ in range(8)))}
"""

SCRIPT = {
    "answers": [{"chunks": ["One ", "two ", "three."], "delay_ms": 20}],
    "models": {"long": [{"chunks": ["piece "] * 500}]},
}

VARIABLES = {
    "LAMBDALLM_STORE": "memory:",
    "LAMBDALLM_MODEL": "scripted/words",
    "LAMBDALLM_SCRIPT": json.dumps(SCRIPT),
}


def reports_of(environment: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_with(environment, '"_aws"', '"workId"')]


def test_all_that_is_asked_is_in_the_books(host: Start, layer: Path) -> None:
    with host(
        {"app.py": PROGRAM}, "app.ask", opt=layer, variables=VARIABLES, timeout_seconds=10
    ) as environment:
        answers = [json.loads(environment.invoke({"n": n}).payload) for n in range(2)]
        environment.wait_until_idle()
        reports = reports_of(environment)
        embedded = lines_with(environment, "the embedded engine")

    bodies = [json.loads(answer["body"]) for answer in answers]
    assert [body["pieces"] for body in bodies] == [["One ", "two ", "three."]] * 2
    assert [body["text"] for body in bodies] == ["One two three."] * 2
    assert [body["own"] for body in bodies] == [["You said ", "Hi"]] * 2
    assert [body["vectors"] for body in bodies] == [2, 2]
    assert [body["cost"] for body in bodies] == [0.5, 0.5]
    assert embedded == []
    assert {each["host"] for each in reports} == {"sidecar"}
    # Two streams, the own provider's call, the vectors; the second time these are remembered.
    assert sum(each["Calls"] for each in reports) == 4 + 3
    assert sum(float(each["CostUSD"]) for each in reports) == 1.0


def test_eight_at_once_on_one_loop(host: Start, layer: Path) -> None:
    with host(
        {"app.py": PROGRAM}, "app.ask_all", opt=layer, variables=VARIABLES, timeout_seconds=10
    ) as environment:
        answer = json.loads(environment.invoke({}).payload)
        environment.wait_until_idle()
        reports = reports_of(environment)

    assert json.loads(answer["body"]) == {"texts": ["One two three."] * 8}
    assert sum(each["Calls"] for each in reports) == 8
