"""The doctor, run as the command runs it, before an account that tests can break."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
import requests
from click.testing import CliRunner

from fakes.aws_account import AwsAccount
from lambdallm import __version__
from lambdallm_cli.commands import lambdallm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:lambdallm:7"
MODEL = "amazon.nova-lite-v1:0"
REGION = "eu-west-1"

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


class Diagnosis(NamedTuple):
    code: int
    findings: dict[str, dict[str, Any]]
    policy: dict[str, Any] | None

    def state(self, check: str) -> str:
        return str(self.findings[check]["state"])

    def words(self, check: str) -> str:
        """What is said, advised and to be typed."""
        found = self.findings[check]
        return " ".join([found["said"], found["advice"], *found["commands"]])


Diagnose = "Callable[..., Diagnosis]"


@pytest.fixture
def account() -> Iterator[AwsAccount]:
    account = AwsAccount()
    account.functions["chat"] = {
        "FunctionName": "chat",
        "FunctionArn": f"arn:aws:lambda:{REGION}:123456789012:function:chat",
        "Runtime": "python3.13",
        "Role": "arn:aws:iam::123456789012:role/chat-role",
        "MemorySize": 512,
        "Timeout": 60,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": ["arm64"],
        "Layers": [{"Arn": LAYER}],
        "Environment": {
            "Variables": {
                "LAMBDALLM_STORE": "dynamodb://sessions",
                "LAMBDALLM_MODEL": f"bedrock/{MODEL}",
            }
        },
    }
    account.layers[LAYER] = {
        "LayerVersionArn": LAYER,
        "Description": f"lambdallm {__version__}",
        "CompatibleRuntimes": ["python3.12", "python3.13"],
        "CompatibleArchitectures": ["arm64", "x86_64"],
    }
    account.models[MODEL] = {
        "inferenceTypesSupported": ["ON_DEMAND"],
        "modelLifecycle": {"status": "ACTIVE"},
    }
    yield account
    account.close()


@pytest.fixture
def tables(moto: str) -> Iterator[Any]:
    """A client of that DynamoDB, in which the table is as it should be."""
    requests.post(f"{moto}/moto-api/reset", timeout=10).raise_for_status()
    client = boto3.client("dynamodb", endpoint_url=moto, region_name=REGION, **KEYS)
    make_table(client)
    yield client
    requests.post(f"{moto}/moto-api/reset-auth", data=b"Infinity", timeout=10).raise_for_status()


def make_table(
    client: Any,
    name: str = "sessions",
    *,
    keys: tuple[str, str] = ("pk", "sk"),
    kind: str = "S",
    ttl: str = "expires_at",
    billing: str = "PAY_PER_REQUEST",
) -> None:
    units = {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4}
    client.create_table(
        TableName=name,
        BillingMode=billing,
        KeySchema=[
            {"AttributeName": key, "KeyType": role}
            for key, role in zip(keys, ("HASH", "RANGE"), strict=True)
        ],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key in keys],
        **({"ProvisionedThroughput": units} if billing == "PROVISIONED" else {}),
    )
    if ttl:
        specification = {"Enabled": True, "AttributeName": ttl}
        client.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)


@pytest.fixture
def environ(account: AwsAccount, moto: str) -> dict[str, str | None]:
    """This machine's environment, for a test to change."""
    return {
        "AWS_ENDPOINT_URL": account.url,
        "AWS_ENDPOINT_URL_DYNAMODB": moto,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": None,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": None,
        "AWS_PROFILE": None,
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        "AWS_EC2_METADATA_DISABLED": "true",
        "LAMBDALLM_STORE": "dynamodb://sessions",
        "LAMBDALLM_MODEL": f"bedrock/{MODEL}",
    }


@pytest.fixture
def diagnose(environ: dict[str, str | None], tables: Any) -> Callable[..., Diagnosis]:
    del tables

    def run(*arguments: str) -> Diagnosis:
        result = CliRunner().invoke(lambdallm, ["doctor", "--json", *arguments], env=environ)
        assert result.exception is None or isinstance(result.exception, SystemExit), result
        said = json.loads(result.stdout)
        assert said["exit_code"] == result.exit_code
        findings = {finding["check"]: finding for finding in said["findings"]}
        return Diagnosis(result.exit_code, findings, said["policy"])

    return run
