"""Going on with runs: what AWS's services are asked, read back by boto3 from servers of others."""

from __future__ import annotations

import json
import time

import boto3
import pytest

from fakes.api_server import ApiServer, Reply
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.resumers import AwsResumer
from lambdallm_extension.errors import SettingError, StoreUnavailableError
from lambdallm_extension.run_ports import Resumption
from lambdallm_extension.settings import Settings, SystemClock

REGION = "us-east-1"
ACCOUNT = "123456789012"
TARGET = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:chat:live"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/scheduler"
EVENT = json.dumps({"body": "grüße", "lambdallm_resume": {"run_id": "report/1"}})


def client(service, endpoint):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


@pytest.fixture
def resumer(moto, resumer_at):
    return resumer_at(moto)


@pytest.fixture
def resumer_at():
    resumers = []

    def make(endpoint):
        resumers.append(open_resumer(endpoint))
        return resumers[-1]

    yield make
    for resumer in resumers:
        resumer.close()


def open_resumer(endpoint):
    settings = Settings.from_environ(
        {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint,
        }
    )
    clock = SystemClock()
    return AwsResumer(settings, CredentialSource(settings, clock), clock)


def resumption(via, **fields):
    return Resumption(via, TARGET, "", ROLE, EVENT, "lambdallm-0123")._replace(**fields)


def soon(seconds=10.0):
    return SystemClock().epoch_ms() + round(seconds * 1_000)


@pytest.mark.parametrize("endpoint", ["moto", "ministack"])
def test_a_message_holds_the_event(request, resumer_at, endpoint):
    url = request.getfixturevalue(endpoint)
    queues = client("sqs", url)
    queue = queues.create_queue(QueueName=f"resume-{time.monotonic_ns()}")["QueueUrl"]

    resumer_at(url).resume(resumption("sqs", queue_url=queue), delay_seconds=0, deadline_ms=soon())

    found = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=2)["Messages"]
    assert [json.loads(each["Body"]) for each in found] == [json.loads(EVENT)]


def test_a_message_is_delayed_and_never_for_longer_than_sqs_takes(moto, resumer):
    queues = client("sqs", moto)
    queue = queues.create_queue(QueueName=f"delayed-{time.monotonic_ns()}")["QueueUrl"]

    resumer.resume(resumption("sqs", queue_url=queue), delay_seconds=5_000, deadline_ms=soon())

    assert "Messages" not in queues.receive_message(QueueUrl=queue)
    names = ["ApproximateNumberOfMessagesDelayed"]
    waiting = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    assert waiting == {names[0]: "1"}


def test_a_fifo_queue_gets_a_group(moto, resumer):
    queues = client("sqs", moto)
    queue = queues.create_queue(
        QueueName=f"resume-{time.monotonic_ns()}.fifo", Attributes={"FifoQueue": "true"}
    )["QueueUrl"]

    resumer.resume(resumption("sqs", queue_url=queue), delay_seconds=60, deadline_ms=soon())

    found = queues.receive_message(QueueUrl=queue, AttributeNames=["All"])["Messages"]
    assert [each["Attributes"]["MessageGroupId"] for each in found] == ["lambdallm-0123"]


def test_a_schedule_invokes_the_function_once(moto, resumer):
    schedules = client("scheduler", moto)
    at_ms = (int(time.time()) + 3_600) * 1_000

    resumer.watch(resumption("schedule"), at_epoch_ms=at_ms, deadline_ms=soon())

    found = schedules.get_schedule(Name="lambdallm-0123")
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms // 1_000 + 1))
    assert found["ScheduleExpression"] == f"at({at})"
    assert found["ActionAfterCompletion"] == "DELETE"
    target = found["Target"]
    assert (target["Arn"], target["RoleArn"], target["Input"]) == (TARGET, ROLE, EVENT)
    resumer.unwatch(resumption("schedule"), deadline_ms=soon())


def test_a_schedule_that_is_there_is_moved(moto, resumer):
    schedules = client("scheduler", moto)
    resumer.watch(resumption("schedule"), at_epoch_ms=soon(3_600), deadline_ms=soon())
    before = schedules.get_schedule(Name="lambdallm-0123")["ScheduleExpression"]

    resumer.resume(resumption("schedule"), delay_seconds=60, deadline_ms=soon())

    assert schedules.get_schedule(Name="lambdallm-0123")["ScheduleExpression"] < before
    resumer.unwatch(resumption("schedule"), deadline_ms=soon())


def test_a_schedule_is_taken_back_twice_without_harm(moto, resumer):
    schedules = client("scheduler", moto)
    resumer.watch(resumption("schedule"), at_epoch_ms=soon(3_600), deadline_ms=soon())

    resumer.unwatch(resumption("schedule"), deadline_ms=soon())
    resumer.unwatch(resumption("schedule"), deadline_ms=soon())

    assert schedules.list_schedules()["Schedules"] == []


def test_an_invocation_is_asynchronous_and_of_the_very_alias(resumer_at):
    with ApiServer(Reply(202)) as server:
        resumer_at(server.url).resume(resumption("self"), delay_seconds=0, deadline_ms=soon())
        expected = serialized(
            client("lambda", server.url),
            "Invoke",
            {"FunctionName": TARGET, "InvocationType": "Event", "Payload": EVENT.encode()},
        )

    asked = server.asked[-1]
    assert asked.target == expected["url_path"]
    assert asked.headers["x-amz-invocation-type"] == expected["headers"]["X-Amz-Invocation-Type"]
    assert asked.body == EVENT.encode()


def test_a_permission_that_is_missing_is_named(resumer_at):
    refusal = Reply(403, pieces=(b'{"Message": "not authorized: lambda:InvokeFunction"}',))
    with (
        ApiServer(refusal) as server,
        pytest.raises(SettingError, match="lambda:InvokeFunction on itself"),
    ):
        resumer_at(server.url).resume(resumption("self"), delay_seconds=0, deadline_ms=soon())

    assert len(server.asked) == 1


def test_a_throttled_service_is_asked_again(resumer_at):
    with ApiServer(Reply(429), Reply(500), Reply(202)) as server:
        resumer_at(server.url).resume(resumption("self"), delay_seconds=0, deadline_ms=soon())

    assert len(server.asked) == 3


def test_nobody_there_is_said(resumer_at, free_port):
    resumer = resumer_at(f"http://127.0.0.1:{free_port}")

    with pytest.raises(StoreUnavailableError, match="lambda did not take"):
        resumer.resume(resumption("self"), delay_seconds=0, deadline_ms=soon())


def serialized(prepared, operation, parameters):
    """Return the request that botocore makes of an operation."""
    from botocore.serialize import create_serializer

    model = prepared.meta.service_model
    serializer = create_serializer(model.metadata["protocol"])
    return serializer.serialize_to_request(parameters, model.operation_model(operation))
