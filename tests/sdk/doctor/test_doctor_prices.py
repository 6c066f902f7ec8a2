"""What prices need under the doctor's eyes: the model behind a profile, a newer price book."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from fakes.aws_account import AwsAccount

    Diagnose = Callable[..., Any]

TEMPLATE = Path(__file__).parents[3] / "template.yaml"

PROFILE = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
BOOK = "s3://books/lambdallm/prices.json"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prices-AbCdEf"


def variables(account: AwsAccount) -> dict[str, str]:
    found: dict[str, str] = account.functions["chat"]["Environment"]["Variables"]
    return found


@pytest.fixture
def profiled(account: AwsAccount) -> AwsAccount:
    arn = "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-lite-v1:0"
    account.profiles[PROFILE] = {"inferenceProfileArn": PROFILE, "models": [{"modelArn": arn}]}
    variables(account)["LAMBDALLM_MODEL"] = f"bedrock/{PROFILE}"
    return account


@pytest.mark.usefixtures("profiled")
def test_a_role_that_may_read_its_profile_knows_its_price(diagnose: Diagnose) -> None:
    diagnosis = diagnose("--function", "chat")

    assert (diagnosis.code, diagnosis.state("profile's price")) == (0, "ok")


def test_a_role_that_may_not_is_told_what_follows(diagnose: Diagnose, profiled: AwsAccount) -> None:
    profiled.denied = {"bedrock:GetInferenceProfile": "implicitDeny"}

    diagnosis = diagnose("--function", "chat")

    assert (diagnosis.code, diagnosis.state("profile's price")) == (1, "fail")
    words = diagnosis.words("profile's price")
    assert "unpriced" in words
    assert "a budget that blocks refuses them all" in words
    assert "cost.prices" in words
    (statement,) = diagnosis.policy["Statement"]
    assert statement["Action"] == ["bedrock:GetInferenceProfile"]
    assert statement["Resource"] == [PROFILE]


def test_a_model_that_is_no_such_profile_needs_it_not(
    diagnose: Diagnose, account: AwsAccount
) -> None:
    account.denied = {"bedrock:GetInferenceProfile": "implicitDeny"}

    assert "profile's price" not in diagnose("--function", "chat").findings


def test_a_newer_price_book_and_its_key_have_to_be_readable(
    diagnose: Diagnose, account: AwsAccount
) -> None:
    variables(account).update(LAMBDALLM_PRICES=BOOK, LAMBDALLM_PRICES_KEY=SECRET)
    account.denied = {
        "s3:GetObject": "implicitDeny", "secretsmanager:GetSecretValue": "implicitDeny",
    }  # fmt: skip

    diagnosis = diagnose("--function", "chat")

    assert diagnosis.code == 0
    for check in ("price book", "price book's key"):
        assert diagnosis.state(check) == "warn"
        assert "the layer's own prices hold" in diagnosis.words(check)
    assert [each["Resource"] for each in diagnosis.policy["Statement"]] == [
        ["arn:aws:s3:::books/lambdallm/prices.json"], [SECRET],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("book", "key", "words"),
    [
        (BOOK, "", "no newer book is used"),
        ("https://books/prices.json", "a key of 16 bytes", "s3://BUCKET/KEY"),
        ("s3://books", "a key of 16 bytes", "s3://BUCKET/KEY"),
    ],
)
def test_a_book_that_would_never_be_used_is_a_mistake(
    diagnose: Diagnose, account: AwsAccount, book: str, key: str, words: str
) -> None:
    variables(account).update(LAMBDALLM_PRICES=book, LAMBDALLM_PRICES_KEY=key)

    diagnosis = diagnose("--function", "chat")

    assert (diagnosis.code, diagnosis.state("price book")) == (1, "fail")
    assert words in diagnosis.words("price book")


def test_this_machine_looks_whether_the_book_is_there(
    diagnose: Diagnose, environ: dict[str, str | None], moto: str
) -> None:
    environ.update(
        AWS_ENDPOINT_URL_S3=moto, LAMBDALLM_PRICES=BOOK, LAMBDALLM_PRICES_KEY="a key of 16 bytes"
    )
    missing = diagnose()
    client = boto3.client(
        "s3", endpoint_url=moto, region_name="us-east-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip
    client.create_bucket(Bucket="books")
    client.put_object(Bucket="books", Key="lambdallm/prices.json", Body=b"{}")
    there = diagnose()

    assert (missing.state("price book"), there.state("price book")) == ("warn", "ok")
    assert "the layer's own prices hold" in missing.words("price book")


def test_it_asks_for_what_the_template_grants() -> None:
    text = re.sub(r"!(\w+)", "", TEMPLATE.read_text(encoding="utf-8"))
    policies = yaml.safe_load(text)["Resources"]["ChatFunction"]["Properties"]["Policies"]
    found = [each for each in policies[0]["Statement"] if isinstance(each, list)]
    granted = {each[1]["Sid"]: each[1]["Action"] for each in found}

    assert "bedrock:GetInferenceProfile" in granted["AskByOwnProfile"]
    assert granted["NewerPrices"] == "s3:GetObject"
    assert granted["KeyOfNewerPrices"] == "secretsmanager:GetSecretValue"
