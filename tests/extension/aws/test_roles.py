"""Roles that are assumed through STS: somebody else's, and one that fails."""

import threading
from urllib.parse import parse_qs

import boto3
import pytest
from botocore.config import Config

from fakes.api_server import ApiServer, Reply
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.roles import AssumedRole
from lambdallm_extension.errors import SettingError
from lambdallm_extension.http_client.failures import NotSentError
from lambdallm_extension.settings import Settings

ROLE = "arn:aws:iam::123456789012:role/team/models+x"
NOW_MS = 1_795_267_110_000
HOUR_MS = 3_600_000


class Clock:
    """A clock that stands until it is set; deadlines are those of the machine's own time."""

    def __init__(self):
        self.now_ms = NOW_MS

    def epoch_ms(self):
        return self.now_ms

    def monotonic(self):
        return self.now_ms / 1_000

    boottime = monotonic


def given(key_id="ASIAROLE", expiration="2026-11-21T14:18:30Z"):
    """What STS answers: credentials for an hour after NOW_MS."""
    text = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleResult><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/models/x</Arn>
      </AssumedRoleUser><Credentials><AccessKeyId>{key_id}</AccessKeyId>
      <SecretAccessKey>a/b+c&amp;d</SecretAccessKey><SessionToken>token==</SessionToken>
      <Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult>
      <ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></AssumeRoleResponse>"""
    return Reply(200, {"content-type": "text/xml"}, (text.encode(),))


def refused(status, code, message="Because."):
    text = f"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
      <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
      <RequestId>id-1</RequestId></ErrorResponse>"""
    return Reply(status, {"content-type": "text/xml"}, (text.encode(),))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sts():
    with ApiServer(given()) as server:
        yield server


@pytest.fixture
def role(sts, clock):
    return make_role(sts.url, clock)


def make_role(url, clock, **environ):
    settings = Settings.from_environ(
        {
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_LAMBDA_FUNCTION_NAME": "chat",
            "AWS_ENDPOINT_URL_STS": url,
            **environ,
        }
    )
    return AssumedRole(ROLE, settings, CredentialSource(settings, clock), clock)


def test_the_roles_credentials_are_handed_out_for_their_time(role, sts, clock):
    first = role.current()

    assert first.access_key_id == "ASIAROLE"
    assert (first.secret_access_key, first.session_token) == ("a/b+c&d", "token==")
    assert first.expires_at_ms == NOW_MS + HOUR_MS
    clock.now_ms += HOUR_MS - 301_000
    assert role.current() is first
    assert len(sts.asked) == 1


def test_boto3_asks_the_same(role, sts):
    role.current()
    client = boto3.client(
        "sts",
        endpoint_url=sts.url,
        region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )
    theirs = client.assume_role(RoleArn=ROLE, RoleSessionName="lambdallm-chat")
    client.close()

    ours, boto = (parse_qs(asked.body.decode()) for asked in sts.asked)
    assert ours == boto
    assert theirs["Credentials"]["SecretAccessKey"] == role.current().secret_access_key
    assert sts.asked[0].target == sts.asked[1].target


def test_somebody_elses_sts_gives_credentials(ministack, clock):
    credentials = make_role(ministack, clock).current()

    assert credentials.access_key_id.startswith("ASIA")
    assert credentials.session_token
    assert credentials.expires_at_ms > NOW_MS


def test_they_are_renewed_before_they_expire(role, sts, clock):
    sts.replies[:] = [given(), given("ASIANEXT", "2026-11-21T15:18:30Z")]
    role.current()

    clock.now_ms += HOUR_MS - 299_000

    assert role.current().access_key_id == "ASIANEXT"


def test_a_renewal_that_fails_is_no_failure_while_the_old_ones_last(role, sts, clock):
    sts.replies[:] = [given(), refused(503, "ServiceUnavailable")]
    first = role.current()

    clock.now_ms += HOUR_MS - 299_000
    assert role.current() is first
    assert role.current() is first
    assert len(sts.asked) == 2, "STS is left alone for a while"
    clock.now_ms += 299_000
    with pytest.raises(NotSentError, match="does not give"):
        role.current()


def test_what_was_refused_as_expired_is_asked_for_anew(role, sts):
    sts.replies[:] = [given(), given("ASIANEXT")]
    role.current()

    role.forget()

    assert role.current().access_key_id == "ASIANEXT"


def test_many_threads_ask_once(role, sts):
    threads = [threading.Thread(target=role.current) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(sts.asked) == 1


@pytest.mark.parametrize(
    "code", ["AccessDenied", "ValidationError", "InvalidClientTokenId", "SignatureDoesNotMatch"]
)
def test_a_role_that_cannot_be_assumed_says_what_to_change(role, sts, code):
    sts.replies[:] = [refused(403, code, "User &lt;x&gt; is not authorized")]

    with pytest.raises(SettingError) as raised:
        role.current()
    detail = raised.value.detail
    for words in (ROLE, code, "User <x> is not authorized", "sts:AssumeRole", "trust policy"):
        assert words in detail


@pytest.mark.parametrize(
    "reply",
    [
        refused(500, "InternalFailure"),
        refused(400, "Throttling"),
        refused(403, "ExpiredToken"),
        Reply(502, {}, (b"<html>",)),
        Reply(200, {}, (b"<html>",)),
        Reply(0, end="reset"),
        given(expiration="soon"),
        given(key_id=""),
    ],
)
def test_what_passes_may_be_asked_again(role, sts, reply):
    sts.replies[:] = [reply]

    with pytest.raises(NotSentError):
        role.current()
    sts.replies[:] = [given()]
    assert role.current().access_key_id == "ASIAROLE"


def test_the_secret_of_a_broken_answer_is_not_told(role, sts):
    sts.replies[:] = [given(expiration="")]

    with pytest.raises(NotSentError) as raised:
        role.current()
    assert "a/b+c" not in str(raised.value)


def test_a_sessions_name_is_one_that_sts_takes(sts, clock):
    make_role(sts.url, clock, AWS_LAMBDA_FUNCTION_NAME="my func:é" + "x" * 80).current()

    name = parse_qs(sts.asked[0].body.decode())["RoleSessionName"][0]
    assert name.startswith("lambdallm-my-func--x")
    assert len(name) == 64
