"""Frameworks that never heard of us, unmodified, in a function with the layer and its wrapper.

Their calls are metered: what the framework has seen of its usage stands in the call's record.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from e2e.conftest import Service, make_table
from e2e.installed import install

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Start

MODEL = "us.amazon.nova-micro-v1:0"

LANGCHAIN = f"""
from langchain_aws import ChatBedrockConverse

MODEL = ChatBedrockConverse(model="{MODEL}", region_name="us-east-1")


def handler(event, context):
    answer = MODEL.invoke("Say hello.")
    pieces = [piece.text for piece in MODEL.stream("Say hello.")]
    used = answer.usage_metadata
    return {{"used": [used["input_tokens"], used["output_tokens"]], "pieces": len(pieces)}}
"""

STRANDS = f"""
from strands import Agent, tool
from strands.models import BedrockModel


@tool
def clock() -> str:
    "Tells the time."
    return "12:00"


MODEL = BedrockModel(model_id="{MODEL}", region_name="us-east-1")


def handler(event, context):
    agent = Agent(model=MODEL, tools=[clock], callback_handler=None)
    result = agent("What time is it?")
    used = result.metrics.accumulated_usage
    return {{"used": [used["inputTokens"], used["outputTokens"]], "pieces": len(str(result))}}
"""


@pytest.fixture(scope="module")
def bedrock(dynamodb: Service) -> Service:
    """One that answers as models do, too."""
    return Service(dynamodb.url, make_table(dynamodb.url, "frameworks"))


def records(service: Service) -> list[dict[str, Any]]:
    """Return the calls' records."""
    import boto3

    client = boto3.client(
        "dynamodb",
        endpoint_url=service.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    items = client.scan(TableName=service.table)["Items"]
    client.close()
    return [
        {name: next(iter(value.values())) for name, value in item.items()}
        for item in items
        if item["pk"]["S"].startswith("CALL#")
    ]


def test_langchain_is_metered_without_a_change(
    emulator: Start, layer: Path, bedrock: Service, tmp_path: Path
) -> None:
    check(emulator, layer, bedrock, tmp_path, LANGCHAIN, "langchain-aws")


@pytest.mark.slow  # a framework of agents loads for seconds, and both load in both emulators
@pytest.mark.parametrize(
    ("code", "package"), [(LANGCHAIN, "langchain-aws"), (STRANDS, "strands-agents")]
)
def test_frameworks_are_metered_without_a_change_in_both_emulators(
    host: Start, layer: Path, bedrock: Service, tmp_path: Path, code: str, package: str
) -> None:
    check(host, layer, bedrock, tmp_path, code, package)


def check(
    host: Start, layer: Path, bedrock: Service, tmp_path: Path, code: str, package: str
) -> None:
    task_root = tmp_path / "task"
    task_root.mkdir()
    (task_root / "app.py").write_text(code)
    install(task_root, package)
    before = {record["pk"] for record in records(bedrock)}
    variables = {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url,
        "AWS_ENDPOINT_URL_DYNAMODB": bedrock.url,
        "LAMBDALLM_STORE": f"dynamodb://{bedrock.table}",
        "AWS_REGION": "us-east-1",
    }
    with host(
        task_root, opt=layer, variables=variables, memory_mb=1_769, timeout_seconds=60
    ) as environment:
        answer = environment.invoke({}).json()
        environment.wait_until_idle()

    assert "used" in answer, json.dumps(answer)[:2_000]
    made = [record for record in records(bedrock) if record["pk"] not in before]
    used = [[int(record["uncached_input_tokens"]), int(record["output_tokens"])] for record in made]
    assert {record["model"] for record in made} == {f"bedrock/{MODEL}"}
    assert {record["state"] for record in made} == {"settled"}
    assert answer["used"] in used
    assert answer["pieces"] > 0
