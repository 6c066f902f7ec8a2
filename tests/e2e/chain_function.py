"""A function that runs a chain of six steps, the events that it is sent, and what is kept of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.conditions import Key

from fakes.chain_model import MODEL, answer_to

if TYPE_CHECKING:
    from e2e.conftest import Service
    from fakes.chain_model import ChainModel

FUNCTION = """
import os, time, urllib.request
from lambdallm import Chain, Step, handler

def tell(what, run):
    urllib.request.urlopen(f"{os.environ['TOLD']}/told/{what}/{run}", timeout=5).read()

def count(values):
    tell("count", values["input"])
    while "LINGERS" in os.environ and not HERE[0].should_checkpoint:
        time.sleep(0.01)
    return {"words": len(values["long"].split())}

CHAIN = Chain("report", [
    Step("plan", prompt="plan of {input}: begin"),
    Step("draft", prompt="draft of {input}: {plan.output}"),
    Step("long", prompt="long of {input}: {draft.output}", on_kill="continue"),
    Step("count", func=count),
    Step("check", prompt="check of {input}: {count.output.words} words, {long.output}"),
    Step("close", prompt="close of {input}: {check.output}"),
], timeout_strategy=os.environ.get("STRATEGY", "checkpoint"))

HERE = [None]

@handler(timeout_strategy="checkpoint")
def serve(event, context):
    HERE[0] = context
    if "read" in event:
        return context.read_run(event["read"])
    sqs = "Records" in event
    run = event["Records"][0]["body"] if sqs else event["body"]["topic"]
    if "Embedded" in type(context.work.engine).__name__:
        tell("embedded", run)
    result = CHAIN.run(context, input=run)
    return result.final_output if sqs else result
"""

ASKING = ("plan", "draft", "long", "check", "close")
"""The steps that ask a model, in their order."""


def variables(dynamodb: Service, model: ChainModel, **more: str) -> dict[str, str]:
    """Return what the function is told: a table, and a model."""
    return {
        "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
        "LAMBDALLM_MODEL": MODEL,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
        "AWS_REGION": "us-east-1",
        "TOLD": model.url,
        **more,
    }


def post(run: str) -> dict[str, Any]:
    """An event as a Function URL makes it; its run is found by the key."""
    return {
        "version": "2.0",
        "rawPath": "/report",
        "requestContext": {"http": {"method": "POST", "path": "/report"}},
        "headers": {"content-type": "application/json", "idempotency-key": run},
        "body": json.dumps({"topic": run}),
        "isBase64Encoded": False,
    }


def poll(location: str) -> dict[str, Any]:
    """An event that a client makes of a `Location`."""
    path, _, query = location.partition("?")
    name, _, value = query.partition("=")
    return {
        "version": "2.0",
        "rawPath": path,
        "requestContext": {"http": {"method": "GET", "path": path}},
        "queryStringParameters": {name: value},
        "headers": {},
    }


def message(run: str) -> dict[str, Any]:
    """An event as SQS makes it; its run is found by the message's id."""
    return {"Records": [{"eventSource": "aws:sqs", "messageId": run, "body": run}]}


def run_id(run: str) -> str:
    """Return what the run of an event is found by."""
    return f"report/{run}"


def expected(run: str) -> str:
    """Return the right output of a run."""
    plan = answer_to(f"plan of {run}: begin")
    draft = answer_to(f"draft of {run}: {plan}")
    long = answer_to(f"long of {run}: {draft}")
    check = answer_to(f"check of {run}: {len(long.split())} words, {long}")
    return answer_to(f"close of {run}: {check}")


def read(environment: Any, run: str) -> dict[str, Any]:
    """Read a run as whoever looks after runs does."""
    invocation = environment.invoke({"read": run_id(run)})
    assert invocation.error_type is None, (invocation.payload, invocation.logs)
    found: dict[str, Any] = json.loads(invocation.json()["body"])
    return found


def stored(dynamodb: Service, run: str) -> dict[str, dict[str, Any]]:
    """Read a run's items by their sort keys, as anybody reads a table."""
    condition = Key("pk").eq(f"RUN#{run_id(run)}")
    found = table(dynamodb).query(KeyConditionExpression=condition, ConsistentRead=True)
    assert "LastEvaluatedKey" not in found
    return {item["sk"]: item for item in found["Items"]}


def stored_steps(dynamodb: Service, run: str) -> set[str]:
    """Return the names of the steps that are stored as finished."""
    return {sk.removeprefix("STEP#") for sk in stored(dynamodb, run) if sk.startswith("STEP#")}


def table(dynamodb: Service) -> Any:
    """Open the table, with a client of one's own."""
    return boto3.resource(
        "dynamodb", endpoint_url=dynamodb.url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    ).Table(dynamodb.table)  # fmt: skip
