"""The built layer on Managed Instances: many workers at once, one sidecar, nothing frozen."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from e2e.chats import CHAT, lines_with, post, reply_of
from fakes.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.conftest import Service, Start

WORKERS = 16
TURNS = 3

AFTER_RESPONSE = """
from lambdallm import Session, handler

@handler(session=Session(store="dynamodb", durability="after_response"))
def handler(event, context):
    context.session.add_message("user", event["body"]["message"])
    reply = context.invoke(context.session.format_history())
    context.session.add_message("assistant", reply)
    return {"statusCode": 200, "body": {"reply": reply}}
"""

DYING = """
import os, signal
from lambdallm import Session, handler

@handler(session=Session(store="dynamodb"))
def handler(event, context):
    context.session.add_message("user", event["body"]["message"])
    reply = context.invoke(context.session.format_history())
    context.session.add_message("assistant", reply)
    if event["body"]["message"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"statusCode": 200, "body": {"reply": reply}}
"""


def talk(environment: Any, session: str, turns: int = TURNS) -> list[str]:
    """Hold one conversation, one turn after the other."""
    return [
        reply_of(environment.invoke(post(session, f"{session} says {turn}")))
        for turn in range(turns)
    ]


def reports_in(environment: Any) -> list[dict[str, Any]]:
    """What telemetry said of units of work."""
    return [json.loads(line) for line in lines_with(environment, '"_aws"', '"workId"')]


def turns_of(dynamodb: Service, session: str) -> list[str]:
    """What the store holds of a conversation, in its order."""
    client = boto3.client(
        "dynamodb", endpoint_url=dynamodb.url, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    items = client.query(
        TableName=dynamodb.table,
        KeyConditionExpression="pk = :pk and begins_with(sk, :turn)",
        ExpressionAttributeValues={":pk": {"S": f"SESSION#{session}"}, ":turn": {"S": "TURN#"}},
        ConsistentRead=True,
    )["Items"]
    return [json.loads(item["content"]["S"]) for item in items]


@pytest.fixture
def session(request: pytest.FixtureRequest) -> str:
    """A conversation of this test's own."""
    return f"managed-{abs(hash(request.node.nodeid))}"


def test_sixteen_conversations_at_once_share_one_sidecar(
    host: Start, layer: Path, dynamodb: Service, chat_variables: dict[str, str], session: str
) -> None:
    sessions = [f"{session}-{number}" for number in range(WORKERS)]
    with (
        host(
            CHAT.parent,
            "app.chat_handler",
            opt=layer,
            variables=chat_variables,
            timeout_seconds=30,
            managed_concurrency=WORKERS,
        ) as environment,
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        replies = list(pool.map(lambda name: talk(environment, name), sessions))
        until(lambda: len(reports_in(environment)) == WORKERS * TURNS)
        reports = reports_in(environment)
        environment.shutdown()

    expected = [f"You said {turn} things." for turn in range(1, TURNS + 1)]
    assert replies == [expected] * WORKERS
    for name in sessions:
        said = [text for turn in range(TURNS) for text in (f"{name} says {turn}", expected[turn])]
        assert turns_of(dynamodb, name) == said
    assert {report["host"] for report in reports} == {"sidecar"}
    assert len({report["environmentId"] for report in reports}) == 1
    assert len({report["requestId"] for report in reports}) == WORKERS * TURNS
    assert {report["outcome"] for report in reports} == {"ok"}
    assert all(report["Calls"] == 1 and report["InputTokens"] > 0 for report in reports)


def test_after_response_is_stored_though_nobody_holds_the_environment(
    host: Start, layer: Path, dynamodb: Service, chat_variables: dict[str, str], session: str
) -> None:
    with host(
        {"app.py": AFTER_RESPONSE},
        opt=layer,
        variables=chat_variables,
        timeout_seconds=30,
        managed_concurrency=2,
    ) as environment:
        replies = [reply_of(environment.invoke(post(session, f"m{turn}"))) for turn in range(2)]
        environment.shutdown()  # at once: what is not stored yet is stored now

    assert len(replies) == 2
    assert turns_of(dynamodb, session)[-2:] == ["m1", replies[1]]
    assert len(turns_of(dynamodb, session)) == 4


def test_a_worker_that_dies_leaves_its_unit_killed_and_what_was_answered(
    host: Start, layer: Path, dynamodb: Service, chat_variables: dict[str, str], session: str
) -> None:
    with (
        host(
            {"app.py": DYING},
            opt=layer,
            variables=chat_variables,
            timeout_seconds=3,
            managed_concurrency=3,
        ) as environment,
        ThreadPoolExecutor(2) as pool,
    ):
        dying = pool.submit(environment.invoke, post(f"{session}-dying", "die"))
        others = [talk(environment, f"{session}-other") for _ in range(1)]
        until(lambda: len(reports_in(environment)) == 1 + TURNS)
        reports = reports_in(environment)
        assert dying.result().error_type == "Sandbox.Timedout"
        assert reply_of(environment.invoke(post(f"{session}-dying", "again")))

    assert others == [[f"You said {turn} things." for turn in range(1, TURNS + 1)]]
    (killed,) = [report for report in reports if report["outcome"] == "killed"]
    assert killed["Calls"] == 1
    assert turns_of(dynamodb, f"{session}-dying")[:2] == ["die", "You said 1 things."]
    assert len(turns_of(dynamodb, f"{session}-other")) == 2 * TURNS


def test_a_killed_sidecar_fails_nobody(
    host: Start, layer: Path, dynamodb: Service, chat_variables: dict[str, str], session: str
) -> None:
    """Its launcher stays; every worker goes on with an engine of its own."""
    sessions = [f"{session}-{number}" for number in range(4)]
    with (
        host(
            CHAT.parent,
            "app.chat_handler",
            opt=layer,
            variables=chat_variables,
            timeout_seconds=30,
            managed_concurrency=4,
        ) as environment,
        ThreadPoolExecutor(4) as pool,
    ):
        list(pool.map(lambda name: talk(environment, name, 1), sessions))
        os.kill(sidecar_of(environment.pids["lambdallm"]), signal.SIGKILL)
        replies = list(pool.map(lambda name: talk(environment, name, 2), sessions))
        until(lambda: len(reports_in(environment)) == 12)
        hosts = [report["host"] for report in reports_in(environment)]

    assert replies == [["You said 2 things.", "You said 3 things."]] * 4
    assert hosts.count("embedded") == 8
    assert all(len(turns_of(dynamodb, name)) == 6 for name in sessions)


def sidecar_of(launcher: int) -> int:
    """The Python that bash has started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text(encoding="ascii")
    return int(children.split()[0])
