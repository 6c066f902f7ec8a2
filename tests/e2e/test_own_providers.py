"""Providers of the function's own through the built layer: texts, vectors, and one that hangs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start

MODEL = """
import threading

class Mine:
    def __init__(self):
        self.never = threading.Event()

    def chat(self, request):
        if request["model"] == "hangs":
            self.never.wait()
        return {"text": "mine", "usage": {"input_tokens": 2, "output_tokens": 1}, "cost_usd": 0.5}

    def embed(self, request):
        vectors = [[len(text)] for text in request["texts"]]
        return {"vectors": vectors, "usage": {"input_tokens": 3}, "cost_usd": 0.25}
"""

APP = """
from lambdallm import DeadlineExceededError, handler

@handler(model="mine/x")
def ask(event, context):
    if event.get("hang"):
        try:
            context.chat("Hi", model="mine/hangs", fallback_model="scripted/spare")
        except DeadlineExceededError as error:
            return {"told": str(error)}
    first = context.embed(["a", "bcd", "a"], model="search")
    again = context.embed(["bcd"], model="search")
    return {"text": context.invoke("Hi"), "vectors": first.vectors + again.vectors,
            "cached": first.cached_texts + again.cached_texts, "cost": context.total_cost_pico_usd}
"""
YAML = """\
models:
  search: {model: mine/vectors, fallbacks: [scripted/v]}
providers:
  mine: {kind: own, class: "own_model:Mine"}
resilience:
  call_seconds_max: 1
"""


@pytest.mark.parametrize("sidecar", ["on", "off"])
def test_they_are_asked_metered_and_left_at_the_deadline(
    host: Start, layer: Path, sidecar: str
) -> None:
    variables = {"LAMBDALLM_SIDECAR": sidecar, "AWS_REGION": "us-east-1"}
    files = {"app.py": APP, "own_model.py": MODEL, "lambdallm.yaml": YAML}
    with host(files, "app.ask", opt=layer, variables=variables, timeout_seconds=20) as environment:
        answers = [environment.invoke(event) for event in ({}, {"hang": True}, {})]
        environment.wait_until_idle()
        lines = [json.loads(line.text) for line in environment.logs if '"CostUSD"' in line.text]

    assert [answer.error_type for answer in answers] == [None] * 3, answers
    asked, left, after = (json.loads(json.loads(answer.payload)["body"]) for answer in answers)
    assert asked["text"] == "mine"
    assert asked["vectors"] == [[1.0], [3.0], [1.0], [3.0]]
    assert (asked["cached"], asked["cost"]) == (2, 750_000_000_000)
    assert left == {"told": "mine was still answering when the time for it was over."}
    assert (after["cached"], after["cost"]) == (4, 500_000_000_000), "it goes on as before"
    assert [line["CostUSD"] for line in lines] == [0.75, 0, 0.5]
    assert [line["UnpricedCalls"] for line in lines] == [0, 1, 0]
