"""Runs that go on by themselves: the killed function's sidecar asks for it, by AWS's services."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from e2e import chain_function
from e2e.chain_function import ASKING, expected, post
from fakes.api_server import ApiServer, Reply
from fakes.chain_model import ChainModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.conftest import Service, Start

RESUMED = chain_function.FUNCTION.replace(
    'timeout_strategy=os.environ.get("STRATEGY", "checkpoint"))',
    'timeout_strategy="checkpoint", resume=os.environ["RESUME"], attempts_max=3)',
)


class HangingModel(ChainModel):
    """The function step that tells it of itself first waits until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.freed = threading.Event()

    def tell(self, path: str) -> None:
        """Take note of it, and let it wait."""
        super().tell(path)
        if "/count/" in path and not self.freed.is_set():
            self.freed.wait(20)


@pytest.fixture
def model() -> Iterator[HangingModel]:
    with HangingModel() as model:
        yield model
        model.freed.set()


@pytest.fixture
def aws() -> Iterator[ApiServer]:
    with ApiServer(Reply(202)) as server:
        yield server


@pytest.fixture
def start(emulator: Start, layer: Path, dynamodb: Service, model: ChainModel) -> Callable[..., Any]:
    """Start the function with a way to be gone on with, and what that needs."""

    def start(via: str, **variables: str) -> Any:
        more = chain_function.variables(dynamodb, model, RESUME=via, **variables)
        return emulator(
            {"app.py": RESUMED}, "app.serve", opt=layer, variables=more, timeout_seconds=3
        )

    return start


def hang_once(model: ChainModel, step: str) -> threading.Event:
    """Let the first question of a step hang until the event is set."""
    freed, asked = threading.Event(), []

    def before(billed: Any) -> None:
        if billed.step == step and not asked:
            asked.append(billed)
            freed.wait(20)

    model.before = before
    return freed


def test_a_function_that_was_timed_out_is_invoked_again_by_its_sidecar(
    start: Callable[..., Any], model: HangingModel, aws: ApiServer
) -> None:
    with start("self", AWS_ENDPOINT_URL_LAMBDA=aws.url) as environment:
        killed = environment.invoke(post("itself"))
        model.freed.set()
        environment.wait_until_idle()
        again = json.loads(aws.asked[-1].body)
        answered = environment.invoke(again)

    assert killed.error_type is not None
    assert len(aws.asked) == 1
    assert "/invocations" in aws.asked[-1].target
    assert again["body"] == post("itself")["body"]
    assert answered.json()["body"] == expected("itself")
    assert [each.step for each in model.of("itself")] == [*ASKING]


def test_a_model_that_takes_too_long_is_asked_by_the_next_invocation(
    start: Callable[..., Any], model: HangingModel, aws: ApiServer
) -> None:
    model.freed.set()
    freed = hang_once(model, "draft")
    with start("self", AWS_ENDPOINT_URL_LAMBDA=aws.url) as environment:
        first = environment.invoke(post("slow"))
        freed.set()
        environment.wait_until_idle()
        answered = environment.invoke(json.loads(aws.asked[-1].body))

    assert first.json()["statusCode"] == 202
    assert answered.json()["body"] == expected("slow")
    assert [each.step for each in model.of("slow")] == ["plan", "draft", *ASKING[1:]]


@pytest.mark.slow  # tests/extension/services/test_resuming.py and aws/test_resumers.py hold it too
def test_attempts_that_come_to_nothing_end(start: Callable[..., Any], aws: ApiServer) -> None:
    with start("self", AWS_ENDPOINT_URL_LAMBDA=aws.url) as environment:
        event: Any = post("endless")
        for _ in range(3):
            environment.invoke(event)
            environment.wait_until_idle()
            event = json.loads(aws.asked[-1].body)

    assert len(aws.asked) == 2, "the third attempt was the last one that is allowed"


@pytest.mark.slow  # tests/extension/services/test_resuming.py and aws/test_resumers.py hold it too
def test_a_message_in_a_queue_goes_on_with_it(
    start: Callable[..., Any], model: HangingModel, ministack: str
) -> None:
    queues = boto3.client(
        "sqs", endpoint_url=ministack, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    queue = queues.create_queue(QueueName="resume-e2e")["QueueUrl"]
    model.freed.set()
    freed = hang_once(model, "check")
    with start("sqs", AWS_ENDPOINT_URL_SQS=ministack, LAMBDALLM_RESUME_QUEUE=queue) as environment:
        environment.invoke(post("queued"))
        freed.set()
        environment.wait_until_idle()
        message = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]
        arn = f"arn:aws:sqs:us-east-1:{':'.join(queue.split('/')[-2:])}"
        record = {"eventSource": "aws:sqs", "messageId": "m-1", "body": message["Body"]}
        record["eventSourceARN"] = arn
        answered = environment.invoke({"Records": [record]})

    assert answered.json()["body"] == expected("queued")
    assert [each.step for each in model.of("queued")] == [*ASKING[:3], "check", "check", "close"]


def test_a_schedule_waits_while_an_attempt_runs_and_is_taken_back_at_its_end(
    start: Callable[..., Any], model: HangingModel, moto: str
) -> None:
    schedules = boto3.client(
        "scheduler", endpoint_url=moto, region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    seen: list[Any] = []
    model.freed.set()

    def before(billed: Any) -> None:
        seen.append([each["Name"] for each in schedules.list_schedules()["Schedules"]])

    model.before = before
    role = "arn:aws:iam::123456789012:role/scheduler"
    with start(
        "schedule", AWS_ENDPOINT_URL_SCHEDULER=moto, LAMBDALLM_RESUME_ROLE=role
    ) as environment:
        answered = environment.invoke(post("scheduled"))

    assert answered.json()["body"] == expected("scheduled")
    assert [len(names) for names in seen] == [1] * len(ASKING)
    assert schedules.list_schedules()["Schedules"] == []
