"""A silent model is hedged: the answer of the other one is returned, and both are paid for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fakes.waiting import until
from lambdallm.testing import Answer, ModelServer

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Service, Start

HAIKU, NOVA = "bedrock/anthropic.claude-3-haiku-20240307-v1:0", "bedrock/amazon.nova-lite-v1:0"

APP = """
from lambdallm import handler

@handler
def ask(event, context):
    response = context.chat("Hi")
    return {"text": response.text, "model": response.model}
"""
YAML = f"""\
defaults: {{model: careful}}
models:
  careful: {{model: {HAIKU}, fallbacks: [spare]}}
  spare: {{model: {NOVA}}}
resilience:
  hedge_after_ms: 100
"""


def metrics_of(function: Any) -> list[dict[str, Any]]:
    return [json.loads(line.text) for line in function.logs if '"Calls":' in line.text]


def test_both_models_are_in_the_books(host: Start, layer: Path, dynamodb: Service) -> None:
    with ModelServer([Answer("slow", delay_seconds=2), Answer("quick")]) as models:
        variables = {
            "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": models.url,
            "AWS_REGION": "us-east-1",
        }
        files = {"app.py": APP, "lambdallm.yaml": YAML}
        with host(files, "app.ask", opt=layer, variables=variables, timeout_seconds=20) as function:
            invocation = function.invoke({})
            until(lambda: sum(line["Calls"] for line in metrics_of(function)) == 2)

    assert invocation.error_type is None, invocation.payload
    answer = json.loads(json.loads(invocation.payload)["body"])
    assert answer == {"text": "quick", "model": NOVA}
    assert [request.model_id for request in models.requests] == [
        HAIKU.partition("/")[2],
        NOVA.partition("/")[2],
    ]
