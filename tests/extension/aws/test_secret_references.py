"""Where keys are kept: secrets and parameters of servers that others wrote, variables, literals."""

import json
from typing import Any

import boto3
import pytest

from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.secrets import Secrets
from lambdallm_extension.errors import SettingError
from lambdallm_extension.settings import Settings, SystemClock

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
}
KEY = "sk-Zm9vYmFy0123456789"
REGION = "eu-west-1"


@pytest.fixture(params=["moto", "ministack"])
def aws(request: pytest.FixtureRequest) -> str:
    endpoint: str = request.getfixturevalue(request.param)
    return endpoint


def client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def open_secrets(endpoint: str, **variables: str) -> Secrets:
    settings = Settings.from_environ({**KEYS, "AWS_ENDPOINT_URL": endpoint, **variables})
    clock = SystemClock()
    return Secrets(settings, CredentialSource(settings, clock), clock)


def soon() -> int:
    return SystemClock().epoch_ms() + 10_000


def make_secret(endpoint: str, name: str, **content: Any) -> str:
    made = client("secretsmanager", endpoint).create_secret(Name=name, **content)
    arn: str = made["ARN"]
    return arn


# Real servers


def test_secrets_of_every_form_are_read(aws: str) -> None:
    secrets = open_secrets(aws)
    name = f"forms-{id(secrets)}"
    one = json.dumps({"api_key": KEY})
    two = json.dumps({"api_key": KEY, "organisation": "org-1"})
    plain = make_secret(aws, f"{name}-plain", SecretString=f"{KEY}\n")
    single = make_secret(aws, f"{name}-single", SecretString=one)
    several = make_secret(aws, f"{name}-several", SecretString=two)
    binary = make_secret(aws, f"{name}-binary", SecretBinary=KEY.encode())

    for reference in (plain, single, f"{single}#api_key", f"{several}#api_key", binary):
        assert secrets.resolve(reference, soon()) == KEY
    assert secrets.resolve(f"{several}#organisation", soon()) == "org-1"
    with pytest.raises(SettingError, match="holds 2 values"):
        secrets.resolve(several, soon())
    with pytest.raises(SettingError, match="no text under 'nothing'"):
        secrets.resolve(f"{several}#nothing", soon())
    with pytest.raises(SettingError, match="no JSON object"):
        secrets.resolve(f"{plain}#api_key", soon())


def test_a_parameter_is_read_decrypted(moto: str) -> None:  # ministack takes no ARN
    secrets = open_secrets(moto)
    name = f"/models/key-{id(secrets)}"
    client("ssm", moto).put_parameter(Name=name, Value=KEY, Type="SecureString")

    assert secrets.resolve(f"arn:aws:ssm:{REGION}:123456789012:parameter{name}", soon()) == KEY


@pytest.mark.parametrize(
    ("arn", "action"),
    [
        (f"arn:aws:secretsmanager:{REGION}:123456789012:secret:absent-AbCdEf", "GetSecretValue"),
        (f"arn:aws:ssm:{REGION}:123456789012:parameter/absent", "GetParameter"),
    ],
)
def test_what_is_not_there_is_a_setting_to_mend(aws: str, arn: str, action: str) -> None:
    with pytest.raises(SettingError, match=action) as raised:
        open_secrets(aws).resolve(arn, soon())

    assert arn in str(raised.value)


# Without a server


def test_literals_and_variables_are_no_calls() -> None:
    secrets = open_secrets("http://127.0.0.1:1", OPENAI_API_KEY=KEY)

    assert secrets.resolve(KEY, 0) == KEY
    assert secrets.resolve("env:OPENAI_API_KEY", 0) == KEY
    assert not secrets.forget(KEY)
    assert not secrets.forget("env:OPENAI_API_KEY")
    with pytest.raises(SettingError, match="NO_SUCH is not set"):
        secrets.resolve("env:NO_SUCH", 0)


@pytest.mark.parametrize(
    "reference",
    ["arn:aws:s3:::bucket", "arn:aws:secretsmanager", "arn:aws:ssm:eu-west-1:1:document/x"],
)
def test_another_arn_is_refused(reference: str) -> None:
    with pytest.raises(SettingError, match="ARN of no secret"):
        open_secrets("http://127.0.0.1:1").resolve(reference, soon())
