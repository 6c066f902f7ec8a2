"""The bucket for large texts under the doctor's eyes."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lambdallm_wire import names
from sdk.doctor.conftest import KEYS, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.aws_account import AwsAccount

    Diagnose = Callable[..., Any]
    Environ = dict[str, str | None]

NAME = "large-texts"


@pytest.fixture
def s3(moto: str, tables: Any, environ: Environ) -> Any:
    """A client of moto's S3, in which the bucket is as it should be."""
    client = boto3.client("s3", endpoint_url=moto, region_name=REGION, **KEYS)
    client.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    client.put_public_access_block(
        Bucket=NAME, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True)
    )
    set_rules(client, [rule(days) for days in names.PAYLOAD_CLASSES_DAYS])
    environ["AWS_ENDPOINT_URL_S3"] = moto
    environ["LAMBDALLM_PAYLOADS"] = f"s3://{NAME}/chats"
    return client


def rule(days: int, prefix: str = "", **more: Any) -> dict[str, Any]:
    return {
        "ID": f"r{days}{prefix}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix or f"chats/d{days}/"},
        "Expiration": {"Days": days},
        **more,
    }


def set_rules(client: Any, rules: list[Any]) -> None:
    client.put_bucket_lifecycle_configuration(Bucket=NAME, LifecycleConfiguration={"Rules": rules})


def test_a_bucket_that_is_well(diagnose: Diagnose, s3: Any) -> None:
    diagnosis = diagnose()

    checks = ("bucket", "bucket lifecycle", "bucket access", "s3 access")
    assert [diagnosis.state(check) for check in checks] == ["ok"] * 4, diagnosis
    assert "Contents" not in s3.list_objects_v2(Bucket=NAME), "what it tried is gone again"


def test_without_a_bucket_nothing_is_said_of_one(diagnose: Diagnose) -> None:
    assert not [check for check in diagnose().findings if "bucket" in check or "s3" in check]


@pytest.mark.parametrize("url", ["large-texts", "s3://", "s3://a b", "s3://large-texts?zone=x"])
def test_a_wrong_place_is_told_the_form(diagnose: Diagnose, environ: Environ, url: str) -> None:
    environ["LAMBDALLM_PAYLOADS"] = url
    diagnosis = diagnose()

    assert (diagnosis.state("bucket"), diagnosis.code) == ("fail", 1)
    assert "s3://BUCKET[/PREFIX][?region=REGION]" in diagnosis.words("bucket")


def test_a_bucket_that_is_not_there(diagnose: Diagnose, s3: Any, environ: Environ) -> None:
    environ["LAMBDALLM_PAYLOADS"] = "s3://nobodys-bucket"
    diagnosis = diagnose()

    assert diagnosis.state("bucket") == "fail"
    assert f"aws s3 mb s3://nobodys-bucket --region {REGION}" in diagnosis.words("bucket")


def test_a_bucket_of_another_region(diagnose: Diagnose, s3: Any, environ: Environ) -> None:
    environ["LAMBDALLM_PAYLOADS"] = f"s3://{NAME}/chats?region=us-west-2"
    diagnosis = diagnose()

    assert diagnosis.state("bucket") == "fail"
    assert f"?region={REGION}" in diagnosis.words("bucket")


def test_rules_that_are_missing_come_as_a_command_that_keeps_the_others(
    diagnose: Diagnose, s3: Any
) -> None:
    set_rules(s3, [rule(2), rule(9, "elsewhere/")])
    diagnosis = diagnose()

    assert diagnosis.state("bucket lifecycle") == "warn"
    (command,) = diagnosis.findings["bucket lifecycle"]["commands"]
    configuration = json.loads(shlex.split(command)[-1])
    s3.put_bucket_lifecycle_configuration(Bucket=NAME, LifecycleConfiguration=configuration)
    assert diagnose().state("bucket lifecycle") == "ok"
    kept = s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"]
    assert {"r2", "r9elsewhere/"} < {each["ID"] for each in kept}


def test_a_bucket_without_rules_and_block(diagnose: Diagnose, s3: Any) -> None:
    s3.delete_bucket_lifecycle(Bucket=NAME)
    s3.delete_public_access_block(Bucket=NAME)
    diagnosis = diagnose()

    assert diagnosis.state("bucket lifecycle") == "warn"
    assert "chats/d1024/" in diagnosis.words("bucket lifecycle")
    assert diagnosis.state("bucket access") == "warn"
    assert "aws s3api put-public-access-block" in diagnosis.words("bucket access")
    assert diagnosis.code == 0


@pytest.mark.parametrize("early", [rule(1, "chats/"), rule(7, "chats/d8/")])
def test_a_rule_that_deletes_too_early_is_wrong(
    diagnose: Diagnose, s3: Any, early: dict[str, Any]
) -> None:
    right = [rule(days) for days in names.PAYLOAD_CLASSES_DAYS if days != 8]
    set_rules(s3, [*right, early])
    diagnosis = diagnose()

    assert diagnosis.state("bucket lifecycle") == "fail"
    assert early["ID"] in diagnosis.words("bucket lifecycle")


def test_a_functions_role_is_simulated_on_the_objects(
    diagnose: Diagnose, s3: Any, account: AwsAccount, environ: Environ
) -> None:
    variables = account.functions["chat"]["Environment"]["Variables"]
    variables["LAMBDALLM_PAYLOADS"] = f"s3://{NAME}/chats"
    environ["LAMBDALLM_PAYLOADS"] = None
    account.denied = {"s3:GetObject": "implicitDeny"}
    diagnosis = diagnose("--function", "chat")

    assert diagnosis.state("bucket") == "ok"
    assert diagnosis.state("s3 access") == "fail"
    (statement,) = [each for each in diagnosis.policy["Statement"] if each["Sid"] == "LargeTurns"]
    assert statement["Action"] == ["s3:GetObject"]
    assert statement["Resource"] == [f"arn:aws:s3:::{NAME}/chats/*"]
