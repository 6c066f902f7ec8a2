"""The template against the code that it deploys."""

import ast
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.api_server import ApiServer, Asked, Reply
from lambdallm import _resumption, _settings
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.resumers import AwsResumer
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import InvocationReport
from lambdallm_extension.run_ports import Resumption
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores.bucket_place import expiry_class
from lambdallm_extension.telemetry import emf
from lambdallm_wire import names

ROOT = Path(__file__).parents[2]
STORES = ROOT / "extension" / "lambdallm_extension" / "stores"

TRANSACTION_PERMISSIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
"""A transaction needs the permission of each thing it does, and none of its own.

Source: Amazon DynamoDB developer guide, "IAM with transactions", 2026-11.
"""


OF_PEOPLE = {"DeleteItem", "Scan"}
"""What `lambdallm sessions` asks for, with the permissions of whoever calls it; no handler does."""


READING_A_QUEUE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
"""What Lambda does as the function, to hand it messages.

Source: Lambda developer guide, "Using Lambda with Amazon SQS", 2026-11.
"""


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short functions as plain values."""


def _function(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)
    return {suffix: loader.construct_sequence(node)}


_Loader.add_multi_constructor("!", _function)

TEMPLATE = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), Loader=_Loader)
RESOURCES = TEMPLATE["Resources"]
FUNCTION = RESOURCES["ChatFunction"]["Properties"]


def statements() -> dict[str, dict[str, Any]]:
    (policy,) = FUNCTION["Policies"]
    found = [each["If"][1] if "If" in each else each for each in policy["Statement"]]
    return {statement["Sid"]: statement for statement in found}


def operations_of_the_store() -> set[str]:
    """What `stores/dynamodb*.py` sends: the operations, and what its transactions do."""
    sources = [path.read_text(encoding="utf-8") for path in STORES.glob("dynamodb*.py")]
    operations = {
        name for source in sources for name in re.findall(r'_Call\(\s*"([A-Z]\w+)"', source)
    }
    assert "TransactWriteItems" in operations
    in_transactions = {
        key.value
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Dict) and len(node.keys) == 1
        for key in node.keys
        if isinstance(key, ast.Constant) and key.value in TRANSACTION_PERMISSIONS
    }
    assert in_transactions
    permissions = {TRANSACTION_PERMISSIONS[kind] for kind in in_transactions}
    return operations - {"TransactWriteItems"} | permissions


def test_the_function_may_do_what_the_store_does_and_no_more() -> None:
    statement = statements()["SessionsAndCallRecords"]

    assert statement["Resource"] == {"GetAtt": "Table.Arn"}
    assert len(statement["Action"]) == len(set(statement["Action"]))
    operations = operations_of_the_store()
    assert operations > OF_PEOPLE
    assert set(statement["Action"]) == {f"dynamodb:{name}" for name in operations - OF_PEOPLE}


def test_the_function_cannot_change_its_own_budgets() -> None:
    denied = statements()["BudgetsAreNotItsOwn"]
    allowed = set(statements()["SessionsAndCallRecords"]["Action"])

    assert denied["Effect"] == "Deny"
    reading = {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:ConditionCheckItem"}
    others = {  # which a role may have by a further policy
        "dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:PartiQLInsert",
        "dynamodb:PartiQLUpdate", "dynamodb:PartiQLDelete",
    }  # fmt: skip
    assert set(denied["Action"]) == (allowed - reading) | others
    assert denied["Resource"] == {"GetAtt": "Table.Arn"}
    (condition,) = denied["Condition"].values()
    assert condition == {"dynamodb:LeadingKeys": [keys.BUDGETS]}


def test_no_permission_is_a_wildcard() -> None:
    for statement in statements().values():
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action
        assert statement["Resource"] != "*"


def test_the_function_may_ask_the_default_model() -> None:
    parameters = {name: each.get("Default") for name, each in TEMPLATE["Parameters"].items()}
    profile = names.DEFAULT_MODEL.removeprefix("bedrock/")

    assert parameters["ModelId"] == profile
    assert parameters["FoundationModelId"] == re.sub(r"^(global|us|eu|apac|jp|au)\.", "", profile)
    statement = statements()["AskTheModel"]
    assert statement["Action"] == [
        "bedrock:InvokeModel",
        "bedrock:InvokeModelWithResponseStream",
    ]
    arns = [resource["Sub"] for resource in statement["Resource"]]
    assert [arn.partition(":bedrock:")[2] for arn in arns] == [
        "${AWS::Region}:${AWS::AccountId}:inference-profile/${ModelId}",
        "*::foundation-model/${FoundationModelId}",
        "::foundation-model/${FoundationModelId}",
    ]


def test_the_table_is_the_one_that_the_store_expects() -> None:
    table = RESOURCES["Table"]["Properties"]

    keys = {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]}
    assert keys == {"pk": "HASH", "sk": "RANGE"}
    assert {each["AttributeType"] for each in table["AttributeDefinitions"]} == {"S"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert FUNCTION["Environment"]["Variables"]["LAMBDALLM_STORE"] == {"Sub": "dynamodb://${Table}"}


def test_the_bucket_deletes_what_each_class_promises() -> None:
    bucket = RESOURCES["PayloadBucket"]["Properties"]
    rules = bucket["LifecycleConfiguration"]["Rules"]
    (_, url, _) = FUNCTION["Environment"]["Variables"]["LAMBDALLM_PAYLOADS"]["If"]
    prefix = url["Sub"].rpartition("/")[2]

    assert {rule["Status"] for rule in rules} == {"Enabled"}
    assert [(rule["Prefix"], rule["ExpirationInDays"]) for rule in rules] == [
        (f"{prefix}/{expiry_class(days * 86_400)}/", days) for days in names.PAYLOAD_CLASSES_DAYS
    ]
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4


def test_the_function_may_read_and_write_objects_and_no_more() -> None:
    statement = statements()["LargeTurns"]

    assert statement["Action"] == ["s3:PutObject", "s3:GetObject"]
    assert statement["Resource"] == {"Sub": "${PayloadBucket.Arn}/lambdallm/*"}


def test_nobody_without_an_identity_reaches_the_function_by_default() -> None:
    assert FUNCTION["FunctionUrlConfig"]["AuthType"] == {"Ref": "FunctionUrlAuthType"}
    assert TEMPLATE["Parameters"]["FunctionUrlAuthType"]["Default"] == "AWS_IAM"


def actions_of_resumers() -> dict[str, set[str]]:
    """What the engine asks AWS for, by how runs are gone on with, in the names of IAM."""
    asked: dict[str, set[str]] = {}
    clock = SystemClock()
    for way in _resumption.VIA:
        there_is_one = Reply(409, {"x-amzn-errortype": "ConflictException"})
        with ApiServer(Reply(202), there_is_one, Reply(200)) as server:
            settings = Settings.from_environ(
                {
                    "AWS_ACCESS_KEY_ID": "testing",
                    "AWS_SECRET_ACCESS_KEY": "testing",
                    "AWS_REGION": "us-east-1",
                    "AWS_ENDPOINT_URL": server.url,
                }
            )
            resumer = AwsResumer(settings, CredentialSource(settings, clock), clock)
            resumption = Resumption(way, "chat", "https://queue", "role", "{}", "lambdallm-0")
            until_ms = clock.epoch_ms() + 10_000
            with closing(resumer):
                resumer.resume(resumption, delay_seconds=0, deadline_ms=until_ms)
                if way == "schedule":
                    resumer.resume(resumption, delay_seconds=0, deadline_ms=until_ms)
                    resumer.unwatch(resumption, deadline_ms=until_ms)
        asked[way] = {_ACTIONS[_operation(each)] for each in server.asked}
    return asked


def _operation(asked: Asked) -> tuple[str, str]:
    target = asked.headers.get("x-amz-target")
    return asked.method, target or re.sub(r"[^/]+$", "NAME", asked.target.rstrip("/"))


_ACTIONS = {
    ("POST", "/2015-03-31/functions/chat/NAME"): "lambda:InvokeFunction",
    ("POST", "AmazonSQS.SendMessage"): "sqs:SendMessage",
    ("POST", "/schedules/NAME"): "scheduler:CreateSchedule",
    ("PUT", "/schedules/NAME"): "scheduler:UpdateSchedule",
    ("DELETE", "/schedules/NAME"): "scheduler:DeleteSchedule",
}


def test_who_goes_on_with_runs_may_do_what_the_engine_asks_for_and_no_more() -> None:
    found = statements()
    sids = {"self": "ResumeItself", "sqs": "ResumeByQueue", "schedule": "ResumeBySchedule"}
    allowed = {
        way: {actions} if isinstance(actions := found[sid]["Action"], str) else {*actions}
        for way, sid in sids.items()
    }

    assert allowed.pop("sqs") == {"sqs:SendMessage", *READING_A_QUEUE}
    asked = actions_of_resumers()
    assert asked.pop("sqs") == {"sqs:SendMessage"}
    assert allowed == asked
    assert found["ScheduleAsThatRole"]["Resource"] == {"GetAtt": "ResumptionRole.Arn"}


def test_who_goes_on_with_runs_is_named_as_the_sdk_looks_for_it() -> None:
    variables = FUNCTION["Environment"]["Variables"]

    queue, role = variables[_settings.RESUME_QUEUE]["If"], variables[_settings.RESUME_ROLE]["If"]
    assert queue[:2] == ["ResumesByQueue", {"Ref": "ResumptionQueue"}]
    assert role[:2] == ["ResumesBySchedule", {"GetAtt": "ResumptionRole.Arn"}]
    assert {*TEMPLATE["Parameters"]["ResumeRunsBy"]["AllowedValues"]} == {
        "nobody",
        *_resumption.VIA,
    }
    assert RESOURCES["ResumptionMapping"]["Properties"]["BatchSize"] == 1
    timeout = RESOURCES["ResumptionQueue"]["Properties"]["VisibilityTimeout"]
    assert timeout >= 6 * FUNCTION["Timeout"]


def test_nobody_goes_on_with_runs_unless_somebody_wants_it() -> None:
    assert TEMPLATE["Parameters"]["ResumeRunsBy"]["Default"] == "nobody"
    (policy,) = FUNCTION["Policies"]
    optional = {each["If"][1]["Sid"]: each["If"][0] for each in policy["Statement"] if "If" in each}
    for sid, condition in (
        ("ResumeItself", "ResumesBySelf"),
        ("ResumeByQueue", "ResumesByQueue"),
        ("ResumeBySchedule", "ResumesBySchedule"),
        ("ScheduleAsThatRole", "ResumesBySchedule"),
    ):
        assert optional[sid] == condition


@pytest.mark.parametrize("name", ["UnpricedCallsAlarm", "RunsStalledAlarm"])
def test_an_alarm_watches_a_metric_that_is_written(name: str) -> None:
    alarm = RESOURCES[name]["Properties"]
    settings = Settings.from_environ({"AWS_LAMBDA_FUNCTION_NAME": "chat"})
    report = InvocationReport(
        work_id="1", request_id="1", environment_id="1", outcome="ok", error_code="",
        cold_start=True, models=("bedrock/new",), calls=1, errors=0, throttles=0,
        usage={
            "uncached_input_tokens": 1, "cache_read_tokens": 0, "cache_write_5m_tokens": 0,
            "cache_write_1h_tokens": 0, "output_tokens": 1,
        },
        cost_pico_usd=0, unpriced_calls=1, model_latency_ms=1, handler_ms=1, session_read_ms=None,
        session_save_ms=None, records_dropped=0, epoch_ms=1_790_000_000_000,
        runs_stalled=1,
    )  # fmt: skip

    line = json.loads(
        emf.to_line(
            report, namespace=settings.metrics_namespace, function_name="chat", host="sidecar"
        )
    )

    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == alarm["Namespace"]
    assert alarm["MetricName"] in {metric["Name"] for metric in directive["Metrics"]}
    assert [each["Name"] for each in alarm["Dimensions"]] in directive["Dimensions"]
    assert line[alarm["MetricName"]] > alarm["Threshold"]


def test_the_handler_exists() -> None:
    module, _, name = FUNCTION["Handler"].partition(".")
    source = (ROOT / FUNCTION["CodeUri"] / f"{module}.py").read_text(encoding="utf-8")

    assert name in {
        node.name
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
