"""A chat that fails where its event says so, and a conversation with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
from boto3.dynamodb.conditions import Key

from faults.processes import sidecar_pid

if TYPE_CHECKING:
    from e2e.conftest import Service

FUNCTION = """
import json, os, signal, subprocess, sys, time
from lambdallm import Session, handler

FAIL_INIT = os.environ.get("TMPDIR", "/tmp") + "/fail-init"
if os.path.exists(FAIL_INIT):
    os.unlink(FAIL_INIT)
    raise RuntimeError("as planned")

def fail(how):
    if how == "raise":
        raise ValueError("as planned")
    if how == "exit":
        os._exit(0)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(60)
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    if how == "fail the next init":
        open(FAIL_INIT, "w").close()
        os._exit(1)
    if how == "silent":
        os.close(1), os.close(2)
    if how == "wait":
        time.sleep(1)
    if how == "eat":
        eaten = [bytearray(b"x" * 10_000_000) for _ in range(40)]

DURABILITY = os.environ.get("DURABILITY", "before_response")

@handler(session=Session(store="dynamodb", ttl_hours=1, durability=DURABILITY))
def chat(event, context):
    session = context.session
    session.add_message("user", event["say"])
    if event.get("before"):
        fail(event["before"])
    answer = context.invoke(session.format_history())
    session.add_message("assistant", answer)
    if event.get("after"):
        fail(event["after"])
    return {"heard": str(answer)}
"""


class Chat:
    """One environment, and a conversation in it."""

    def __init__(self, environment: Any, name: str) -> None:
        self.environment = environment
        self._name = name

    def say(self, what: str = "Hello", **faults: str) -> Any:
        invocation = self.environment.invoke({"session_id": self._name, "say": what, **faults})
        self.environment.wait_until_idle()
        return invocation

    def heard(self) -> str:
        invocation = self.say()
        assert invocation.error_type is None, (invocation.payload, invocation.logs)
        heard: str = json.loads(invocation.json()["body"])["heard"]
        return heard

    def sidecar(self) -> int:
        pid = sidecar_pid(self.environment.pids["lambdallm"])
        assert pid is not None
        return pid


def stored_turns(dynamodb: Service, session: str) -> list[str]:
    """Read who spoke in a session, in order, as anybody reads a table."""
    condition = Key("pk").eq(f"SESSION#{session}") & Key("sk").begins_with("TURN#")
    items = _table(dynamodb).query(KeyConditionExpression=condition, ConsistentRead=True)["Items"]
    return [item["role"] for item in items]


def stored_calls(dynamodb: Service, work_ids: set[str]) -> list[str]:
    """Read the states of the records of some invocations' calls."""
    pages = (
        _table(dynamodb)
        .meta.client.get_paginator("scan")
        .paginate(
            TableName=dynamodb.table, FilterExpression=Key("sk").eq("CALL"), ConsistentRead=True
        )
    )
    return sorted(
        item["state"] for page in pages for item in page["Items"] if item["work"] in work_ids
    )


def _table(dynamodb: Service) -> Any:
    return boto3.resource(
        "dynamodb", endpoint_url=dynamodb.url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    ).Table(dynamodb.table)  # fmt: skip
