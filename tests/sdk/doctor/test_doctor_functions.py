"""A deployed function under the doctor's eyes: all well, then each thing wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from lambdallm_cli.doctor.permissions import TABLE_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.aws_account import AwsAccount

    Diagnose = Callable[..., Any]

TEMPLATE = Path(__file__).parents[3] / "template.yaml"


def test_a_function_that_is_well(diagnose: Diagnose) -> None:
    diagnosis = diagnose("--function", "chat")

    assert {finding["state"] for finding in diagnosis.findings.values()} == {"ok"}
    assert list(diagnosis.findings) == [
        "credentials", "clock", "region", "function", "runtime", "layer", "wrapper", "memory",
        "timeout", "table", "ttl", "billing", "dynamodb access", "bedrock access", "model",
        "model access",
    ]  # fmt: skip
    assert (diagnosis.code, diagnosis.policy) == (0, None)


@pytest.mark.parametrize(
    ("changes", "check", "state", "words"),
    [
        ({"Runtime": "python3.9"}, "runtime", "fail", "python3.10 or newer"),
        ({"Runtime": "nodejs22.x"}, "runtime", "fail", "no Python"),
        ({"PackageType": "Image"}, "runtime", "warn", "/opt in the Dockerfile"),
        ({"Runtime": "python3.11"}, "layer", "fail", "made for python3.12, python3.13"),
        ({"Layers": []}, "layer", "fail", "Add its ARN"),
        ({"MemorySize": 128}, "memory", "warn", "256 MB or more"),
        ({"Timeout": 3}, "timeout", "warn", "15 s or more"),
        ({"State": "Failed", "StateReason": "No role."}, "function", "fail", "No role."),
        ({"LastUpdateStatus": "InProgress"}, "function", "warn", "being deployed"),
    ],
)
def test_what_it_is_made_of(
    diagnose: Diagnose,
    account: AwsAccount,
    changes: dict[str, Any],
    check: str,
    state: str,
    words: str,
) -> None:
    account.functions["chat"].update(changes)

    diagnosis = diagnose("--function", "chat")

    assert diagnosis.state(check) == state
    assert words in diagnosis.words(check)
    assert diagnosis.code == (1 if state == "fail" else 0)


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"CompatibleArchitectures": ["x86_64"]}, "fail", "the function runs arm64"),
        ({"Description": "lambdallm 9.9.9"}, "warn", "9.9.9"),
        ({"Description": "The sidecar"}, "warn", "lambdallm: started sidecar="),
    ],
)
def test_the_layer(
    diagnose: Diagnose, account: AwsAccount, changes: dict[str, Any], state: str, words: str
) -> None:
    (layer,) = account.layers.values()
    layer.update(changes)

    diagnosis = diagnose("--function", "chat")

    assert diagnosis.state("layer") == state
    assert words in diagnosis.words("layer")


def test_a_layer_of_another_account_may_be_out_of_sight(
    diagnose: Diagnose, account: AwsAccount
) -> None:
    account.refusals["GetLayerVersion"] = (403, "AccessDeniedException")

    assert "lambda:GetLayerVersion" in diagnose("--function", "chat").words("layer")


@pytest.mark.parametrize(
    ("variables", "layers", "check", "state", "words"),
    [
        ({"AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper"}, True, "wrapper", "ok", "Ours"),
        (
            {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper"},
            False,
            "wrapper",
            "fail",
            "cannot start",
        ),
        (
            {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/otel"},
            True,
            "wrapper",
            "ok",
            "LAMBDALLM_NEXT_WRAPPER=/opt/otel",
        ),
        ({"LAMBDALLM_STORE": ""}, True, "store", "warn", "dynamodb://TABLE"),
        ({"LAMBDALLM_STORE": "memory:"}, True, "store", "warn", "forgets"),
        ({"LAMBDALLM_STORE": "sqlite:////tmp/x"}, True, "store", "warn", "one environment"),
        ({"LAMBDALLM_STORE": "floppy:"}, True, "store", "fail", "dynamodb://TABLE"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://x"}, True, "endpoints", "warn", "somebody else"),
    ],
)
def test_its_variables(  # noqa: PLR0917
    diagnose: Diagnose,
    account: AwsAccount,
    variables: dict[str, str],
    layers: bool,
    check: str,
    state: str,
    words: str,
) -> None:
    configuration = account.functions["chat"]
    configuration["Environment"]["Variables"].update(variables)
    configuration["Layers"] = configuration["Layers"] if layers else []

    diagnosis = diagnose("--function", "chat")

    assert diagnosis.state(check) == state
    assert words in diagnosis.words(check)


def test_missing_permissions_come_as_a_policy(diagnose: Diagnose, account: AwsAccount) -> None:
    account.denied = {"dynamodb:PutItem": "implicitDeny", "bedrock:InvokeModel": "explicitDeny"}

    diagnosis = diagnose("--function", "chat")

    assert diagnosis.code == 1
    assert "Attach the policy" in diagnosis.words("dynamodb access")
    assert "explicit Deny" in diagnosis.words("bedrock access")
    assert diagnosis.policy == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "SessionsAndCallRecords",
                "Effect": "Allow",
                "Action": ["dynamodb:PutItem"],
                "Resource": ["arn:aws:dynamodb:eu-west-1:123456789012:table/sessions"],
            },
            {
                "Sid": "AskTheModel",
                "Effect": "Allow",
                "Action": ["bedrock:InvokeModel"],
                "Resource": ["arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0"],
            },
        ],
    }


def test_who_may_not_simulate_gets_the_whole_policy(
    diagnose: Diagnose, account: AwsAccount
) -> None:
    account.refusals["SimulatePrincipalPolicy"] = (403, "AccessDenied")

    diagnosis = diagnose("--function", "chat")

    assert (diagnosis.code, diagnosis.state("dynamodb access")) == (0, "warn")
    assert "iam:SimulatePrincipalPolicy" in diagnosis.words("dynamodb access")
    assert diagnosis.policy["Statement"][0]["Action"] == list(TABLE_ACTIONS)


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_policies_name_the_partition(
    diagnose: Diagnose, account: AwsAccount, region: str, partition: str
) -> None:
    account.denied = {"dynamodb:PutItem": "implicitDeny"}

    policy = diagnose("--function", "chat", "--region", region).policy

    assert policy["Statement"][0]["Resource"][0].startswith(f"arn:{partition}:dynamodb:{region}:")


def test_it_asks_for_what_the_template_grants() -> None:
    text = TEMPLATE.read_text(encoding="utf-8").split("SessionsAndCallRecords")[1]
    granted = yaml.safe_load(text[text.index("Action:") : text.index("Resource:")])["Action"]

    assert tuple(granted) == TABLE_ACTIONS


def test_a_function_that_is_not_there(diagnose: Diagnose) -> None:
    diagnosis = diagnose("--function", "nobody")

    assert diagnosis.code == 1
    assert "no function 'nobody' in eu-west-1" in diagnosis.words("function")
    assert "is empty" in diagnose("--function", "").words("function")


def test_a_function_that_may_not_be_read(diagnose: Diagnose, account: AwsAccount) -> None:
    account.refusals["GetFunctionConfiguration"] = (403, "AccessDeniedException")

    diagnosis = diagnose("--function", "chat")

    assert diagnosis.code == 1
    assert "lambda:GetFunctionConfiguration" in diagnosis.words("function")


def test_aws_that_does_not_answer_is_nobodys_fault(diagnose: Diagnose, account: AwsAccount) -> None:
    account.refusals["GetFunctionConfiguration"] = (503, "ServiceUnavailable")

    diagnosis = diagnose("--function", "chat")

    assert (diagnosis.code, diagnosis.state("function")) == (3, "outside")


def test_an_arn_names_the_region(diagnose: Diagnose, account: AwsAccount) -> None:
    arn = "arn:aws:lambda:ap-south-1:123456789012:function:chat"
    account.functions[arn] = account.functions["chat"]

    assert "ap-south-1" in diagnose("--function", arn).words("region")
