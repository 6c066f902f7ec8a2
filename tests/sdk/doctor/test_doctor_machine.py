"""This machine under the doctor's eyes: its settings, its store, its permissions, its model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from click.testing import CliRunner

from lambdallm.testing.model_server import Failure, ModelServer
from lambdallm_cli.commands import lambdallm
from lambdallm_cli.doctor.permissions import TABLE_ACTIONS
from lambdallm_extension.errors import SettingError
from lambdallm_extension.settings import Settings, SystemClock
from lambdallm_extension.stores import open_store
from sdk.doctor.conftest import KEYS, MODEL, REGION, make_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.aws_account import AwsAccount

    Diagnose = Callable[..., Any]
    Environ = dict[str, str | None]


def test_a_machine_that_is_well(diagnose: Diagnose, tables: Any) -> None:
    diagnosis = diagnose()

    assert {finding["state"] for finding in diagnosis.findings.values()} == {"ok"}
    assert diagnosis.code == 0
    assert "arn:aws:iam::123456789012:user/ada (env)" in diagnosis.words("credentials")
    assert tables.scan(TableName="sessions")["Items"] == [], "it writes nothing"


# Region, credentials, clock


@pytest.mark.parametrize(
    ("variables", "arguments", "state", "words"),
    [
        ({"AWS_REGION": None}, (), "fail", "Set AWS_REGION"),
        ({"AWS_REGION": None}, ("--region", REGION), "fail", f"Set AWS_REGION={REGION}"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, (), "warn", "Set both alike"),
        ({}, ("--region", "us-east-1"), "warn", "us-east-1 is examined"),
    ],
)
def test_the_region(
    diagnose: Diagnose,
    environ: Environ,
    variables: Environ,
    arguments: tuple[str, ...],
    state: str,
    words: str,
) -> None:
    environ.update(variables)

    diagnosis = diagnose(*arguments)

    assert diagnosis.state("region") == state
    assert words in diagnosis.words("region")


def test_credentials_that_are_missing(diagnose: Diagnose, environ: Environ) -> None:
    environ.update(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)

    diagnosis = diagnose()

    assert (diagnosis.code, diagnosis.state("credentials")) == (1, "fail")
    assert "AWS_ACCESS_KEY_ID" in diagnosis.words("credentials")
    assert list(diagnosis.findings) == ["region", "credentials"], "nothing else can be asked"


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "ExpiredToken", "have expired"),
        (403, "InvalidClientTokenId", "Check the keys"),
        (403, "SignatureDoesNotMatch", "and the clock"),
    ],
)
def test_credentials_that_are_refused(
    diagnose: Diagnose, account: AwsAccount, status: int, code: str, words: str
) -> None:
    account.refusals["GetCallerIdentity"] = (status, code)

    diagnosis = diagnose()

    assert (diagnosis.code, diagnosis.state("credentials")) == (1, "fail")
    assert words in diagnosis.words("credentials")


@pytest.mark.parametrize("arguments", [[], ["--function", "chat"]], ids=["machine", "function"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_REGION", "us east/1\n"), ("AWS_ENDPOINT_URL", "nonsense"), ("AWS_REGION", "x" * 300)],
)
def test_a_region_or_an_endpoint_that_cannot_be_is_a_finding(
    diagnose: Diagnose, environ: Environ, name: str, value: str, arguments: list[str]
) -> None:
    environ[name] = value
    if name == "AWS_ENDPOINT_URL":
        environ |= {each: None for each in environ if each.startswith("AWS_ENDPOINT_URL_")}
    diagnosis = diagnose(*arguments)

    assert diagnosis.code != 0
    assert any("AWS_REGION" in diagnosis.words(check) for check in diagnosis.findings)


def test_a_file_that_aws_cannot_read_is_named(
    diagnose: Diagnose, environ: Environ, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("[default\nregion = ")
    environ["AWS_CONFIG_FILE"] = str(broken)

    assert "Mend that file" in diagnose().words("credentials")


def test_a_profile_that_is_not_there(diagnose: Diagnose, environ: Environ) -> None:
    environ["AWS_PROFILE"] = "nobody"

    diagnosis = diagnose()

    assert (diagnosis.code, diagnosis.state("credentials")) == (1, "fail")
    assert "nobody" in diagnosis.words("credentials")


def test_credentials_that_lambdallm_does_not_read(
    diagnose: Diagnose, environ: Environ, tmp_path: Path
) -> None:
    """boto3 runs a program for them; the sidecar does not."""
    made = {"Version": 1, "AccessKeyId": "testing", "SecretAccessKey": "testing"}
    (tmp_path / "made.json").write_text(json.dumps(made))
    config = f"[default]\ncredential_process = cat {tmp_path / 'made.json'}\n"
    (tmp_path / "config").write_text(config)
    environ.update(
        AWS_ACCESS_KEY_ID=None,
        AWS_SECRET_ACCESS_KEY=None,
        AWS_CONFIG_FILE=str(tmp_path / "config"),
    )

    diagnosis = diagnose()

    assert diagnosis.state("credentials") == "warn"
    assert "aws configure export-credentials" in diagnosis.words("credentials")


def test_a_sign_in_that_has_ended(diagnose: Diagnose, environ: Environ, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = false\n")
    environ.update(
        AWS_ACCESS_KEY_ID=None,
        AWS_SECRET_ACCESS_KEY=None,
        AWS_CONFIG_FILE=str(tmp_path / "config"),
    )

    diagnosis = diagnose()

    assert (diagnosis.code, diagnosis.state("credentials")) == (1, "fail")
    assert "aws sso login" in diagnosis.words("credentials")


@pytest.mark.parametrize(("seconds", "state"), [(-120, "warn"), (900, "fail")])
def test_a_clock_that_is_wrong(
    diagnose: Diagnose, account: AwsAccount, seconds: int, state: str
) -> None:
    account.ahead_seconds = seconds

    diagnosis = diagnose()

    assert diagnosis.state("clock") == state
    assert ("behind" if seconds > 0 else "ahead of") in diagnosis.words("clock")


def test_nobody_there(diagnose: Diagnose, environ: Environ) -> None:
    environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"

    diagnosis = diagnose()

    assert (diagnosis.code, diagnosis.state("credentials")) == (3, "outside")


# The store


@pytest.mark.parametrize(
    ("table", "check", "state", "words"),
    [
        ({"keys": ("id", "sort")}, "table", "fail", "id (S, HASH)"),
        ({"kind": "N"}, "table", "fail", "pk (N, HASH)"),
        ({"ttl": ""}, "ttl", "warn", "--time-to-live-specification Enabled=true"),
        ({"ttl": "other"}, "ttl", "warn", "It is on 'other'"),
        ({"billing": "PROVISIONED"}, "billing", "warn", "3 read, 4 write"),
    ],
)
def test_a_table_of_another_shape(  # noqa: PLR0917
    diagnose: Diagnose,
    environ: Environ,
    tables: Any,
    table: dict[str, Any],
    check: str,
    state: str,
    words: str,
) -> None:
    make_table(tables, "strange", **table)
    environ["LAMBDALLM_STORE"] = "dynamodb://strange"

    diagnosis = diagnose()

    assert diagnosis.state(check) == state
    assert words in diagnosis.words(check)
    assert diagnosis.code == (1 if state == "fail" else 0)


def test_no_table_comes_with_the_commands_that_make_it(
    diagnose: Diagnose, environ: Environ, tables: Any
) -> None:
    environ["LAMBDALLM_STORE"] = "dynamodb://missing"

    diagnosis = diagnose()

    create, _, ttl = diagnosis.findings["table"]["commands"]
    assert diagnosis.code == 1
    make_table(tables, "missing", ttl="")
    assert "--table-name missing" in create
    assert "AttributeName=expires_at" in ttl
    assert diagnose().code == 0, "made so, it is well"


def test_a_store_in_another_region(diagnose: Diagnose, environ: Environ) -> None:
    environ["LAMBDALLM_STORE"] = "dynamodb://sessions?region=us-west-2"

    diagnosis = diagnose()

    assert diagnosis.state("store region") == "warn"
    assert "no table 'sessions' in us-west-2" in diagnosis.words("table")


def test_a_file_that_cannot_be_written(
    diagnose: Diagnose, environ: Environ, tmp_path: Path
) -> None:
    environ["LAMBDALLM_STORE"] = f"sqlite:///{tmp_path / 'new' / 'here.db'}"
    assert "here.db, which is made at the first use" in diagnose().words("store")

    environ["LAMBDALLM_STORE"] = f"sqlite:///{tmp_path}"
    assert (diagnose().code, diagnose().state("store")) == (1, "fail")


@pytest.mark.parametrize(
    "url", ["dynamodb://x!", "dynamodb:x", "dynamodb://", "sqlite:", "sqlite:///", "floppy:", "x"]
)
def test_it_refuses_what_the_sidecar_refuses(
    diagnose: Diagnose, environ: Environ, url: str
) -> None:
    environ["LAMBDALLM_STORE"] = url
    settings = Settings.from_environ({"LAMBDALLM_STORE": url, "AWS_REGION": REGION})
    with pytest.raises(SettingError):
        open_store(settings, SystemClock(), None)  # type: ignore[arg-type]  # never asked

    diagnosis = diagnose()

    assert diagnosis.code == 1
    assert "fail" in {diagnosis.findings.get(name, {}).get("state") for name in ("store", "table")}


# Permissions: real ones, of a server that holds policies


def test_what_these_credentials_may_not_do(
    diagnose: Diagnose, environ: Environ, moto: str, tables: Any
) -> None:
    iam = boto3.client("iam", endpoint_url=moto, region_name=REGION, **KEYS)
    iam.create_user(UserName="reader")
    allowed = ["dynamodb:GetItem", "dynamodb:Query", "dynamodb:DescribeT*"]
    statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    environ["AWS_ACCESS_KEY_ID"] = key["AccessKeyId"]
    environ["AWS_SECRET_ACCESS_KEY"] = key["SecretAccessKey"]
    requests.post(f"{moto}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()

    diagnosis = diagnose()

    assert (diagnosis.code, diagnosis.state("dynamodb access")) == (1, "fail")
    (missing,) = diagnosis.policy["Statement"]
    assert {"dynamodb:PutItem", "dynamodb:UpdateItem"} <= set(missing["Action"])
    assert set(missing["Action"]) <= set(TABLE_ACTIONS) - {"dynamodb:GetItem", "dynamodb:Query"}


# The model


@pytest.mark.parametrize(
    ("model", "state", "words"),
    [
        ("bedrock/amazon.nova-9-v1:0", "fail", "aws bedrock list-inference-profiles"),
        ("bedrock/anthropic.new", "fail", "LAMBDALLM_MODEL=bedrock/eu.anthropic.new"),
        ("bedrock/us.anthropic.new", "fail", "LAMBDALLM_MODEL=bedrock/eu.anthropic.new"),
        ("bedrock/eu.anthropic.new", "ok", "answers from eu-north-1, eu-west-1"),
        ("bedrock/amazon.old", "warn", "Choose a current one"),
        ("acme/big", "fail", "bedrock/MODEL_ID"),
        ("scripted/any", "ok", "no model is asked"),
    ],
)
def test_the_model(
    diagnose: Diagnose,
    environ: Environ,
    account: AwsAccount,
    model: str,
    state: str,
    words: str,
) -> None:
    account.models["anthropic.new"] = {"inferenceTypesSupported": ["INFERENCE_PROFILE"]}
    account.models["amazon.old"] = {
        "inferenceTypesSupported": ["ON_DEMAND"],
        "modelLifecycle": {"status": "LEGACY"},
    }
    account.profiles["eu.anthropic.new"] = {
        "models": [
            {"modelArn": f"arn:aws:bedrock:{region}::foundation-model/anthropic.new"}
            for region in ("eu-west-1", "eu-north-1")
        ]
    }
    environ["LAMBDALLM_MODEL"] = model

    diagnosis = diagnose()

    assert diagnosis.state("model") == state
    assert words in diagnosis.words("model")


def test_a_model_whose_access_is_not_granted(diagnose: Diagnose, account: AwsAccount) -> None:
    account.availability["agreementAvailability"] = {"status": "NOT_AVAILABLE"}

    diagnosis = diagnose()

    assert (diagnosis.code, diagnosis.state("model access")) == (1, "fail")
    assert "Model access" in diagnosis.words("model access")


def test_call_really_asks_for_one_token(diagnose: Diagnose, environ: Environ) -> None:
    with ModelServer(["Hi", Failure(403, "AccessDeniedException", "No access.")]) as model:
        environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] = model.url
        answered, refused = diagnose("--call"), diagnose("--call")

    assert answered.state("model call") == "ok"
    assert model.requests[0].model_id == MODEL
    assert model.requests[0].body["inferenceConfig"] == {"maxTokens": 1}
    assert (refused.code, refused.state("model call")) == (1, "fail")
    assert "bedrock:InvokeModel" in refused.words("model call")


# What people see


def test_people_read_sentences_and_may_paste_commands(
    diagnose: Diagnose, environ: Environ, account: AwsAccount
) -> None:
    account.denied = {"dynamodb:PutItem": "implicitDeny"}
    account.functions["chat"]["Environment"]["Variables"]["LAMBDALLM_STORE"] = "dynamodb://missing"

    result = CliRunner().invoke(lambdallm, ["doctor", "--function", "chat"], env=environ)

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "lambdallm doctor  function chat, eu-west-1"
    assert any(re.match(r"FAIL +table +There is no table 'missing'", line) for line in lines)
    assert any(line.startswith("aws dynamodb create-table ") for line in lines)
    policy = json.loads(result.stdout[result.stdout.index("{") : result.stdout.rindex("}") + 1])
    assert policy["Statement"][0]["Action"] == ["dynamodb:PutItem"]
    assert "2 wrong." in lines[-1]


def test_help_has_an_example_and_wrong_use_is_two() -> None:
    shown = CliRunner().invoke(lambdallm, ["doctor", "--help"])

    assert "lambdallm doctor --function chat" in " ".join(shown.stdout.split())
    assert CliRunner().invoke(lambdallm, ["doctor", "chat"]).exit_code == 2


def test_without_boto3_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "boto3.py").write_text("raise ModuleNotFoundError('No boto3', name='boto3')")
    paths = [str(tmp_path), *filter(None, sys.path)]
    code = f"import sys; sys.path[:0] = {paths!r}; from lambdallm_cli.__main__ import main; main()"

    run = subprocess.run(
        [sys.executable, "-c", code, "doctor"], capture_output=True, text=True, check=False
    )

    assert run.returncode == 2
    assert "pip install 'lambdallm[cli]'" in run.stderr
