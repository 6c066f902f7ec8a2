"""What is posted to a connection, held against botocore's client, and what becomes of answers."""

from __future__ import annotations

import _socket
import calendar
import time

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.serialize import create_serializer
from botocore.session import Session

from fakes.api_server import ApiServer, Reply
from fakes.clocks import START_MS
from lambdallm_extension import errors
from lambdallm_extension.aws.connections import ADDRESSES_MAX, ConnectionsApi
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.settings import Settings, SystemClock

ID = "R0oXAdfD0kwCH6w="
CLIENT = {
    "connection_id": ID,
    "api_id": "a1b2c3",
    "domain_name": "a1b2c3.execute-api.eu-central-1.amazonaws.com",
    "stage": "prod",
}


@pytest.fixture
def api_of():
    apis = []

    def make(**environ):
        settings = Settings.from_environ(
            {
                "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_SESSION_TOKEN": "token",
                "AWS_REGION": "us-east-1",
                **environ,
            }
        )
        clock = SystemClock()
        apis.append(ConnectionsApi(settings, CredentialSource(settings, clock), clock))
        return apis[-1]

    yield make
    for api in apis:
        api.close()


@pytest.fixture
def posted(api_of):
    """Post to a server that gives these replies; return what came of it and what it was asked."""

    def post(*replies, data=b"hello", connection_id=ID):
        with ApiServer(*replies) as server:
            api = api_of()
            try:
                came = api.post(f"{server.url}/prod", connection_id, data, deadline_ms=soon())
            except errors.ExtensionError as error:
                came = error
            api.close()
            return came, server.asked

    return post


def soon(seconds=10.0):
    return SystemClock().epoch_ms() + round(seconds * 1_000)


@pytest.mark.parametrize("connection_id", [ID, "abc", "a/b+c=~%"])
def test_the_request_is_the_one_that_botocore_makes(posted, connection_id):
    came, (asked,) = posted(Reply(200), connection_id=connection_id, data="grüße 🐍".encode())
    model = Session().get_service_model("apigatewaymanagementapi")
    theirs = create_serializer(model.metadata["protocol"]).serialize_to_request(
        {"ConnectionId": connection_id, "Data": "grüße 🐍".encode()},
        model.operation_model("PostToConnection"),
    )

    assert came is True
    assert (asked.method, asked.target) == (theirs["method"], f"/prod{theirs['url_path']}")
    assert asked.body == theirs["body"]


@pytest.mark.parametrize("connection_id", [ID, "a/b+c=~%"])
def test_the_signature_is_the_one_that_botocore_makes(posted, monkeypatch, connection_id):
    _, (asked,) = posted(Reply(200), connection_id=connection_id)
    signed = asked.headers["x-amz-date"]
    at = calendar.timegm(time.strptime(signed, "%Y%m%dT%H%M%SZ"))
    _freeze_botocore(monkeypatch, at)
    url = f"http://{asked.headers['host']}{asked.target}"
    theirs = AWSRequest(method="POST", url=url, data=asked.body)
    theirs.headers["content-type"] = asked.headers["content-type"]
    SigV4Auth(Credentials("AKIDEXAMPLE", "secret", "token"), "execute-api", "us-east-1").add_auth(
        theirs
    )

    assert asked.headers["authorization"] == theirs.headers["Authorization"]


def _freeze_botocore(monkeypatch, at):
    import datetime

    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: moment)


@pytest.mark.parametrize(
    ("replied", "error", "said"),
    [
        (Reply(429), errors.PushThrottledError, "no more messages now"),
        (Reply(500), errors.PushError, "failed"),
        (Reply(503), errors.PushError, "failed"),
        (Reply(413), errors.InvalidRequestError, "refused the message"),
        (Reply(400, pieces=(b'{"message":"Invalid connectionId"}',)), errors.InvalidRequestError,
         "Invalid connectionId"),
        (Reply(403), errors.SettingError, "execute-api:ManageConnections"),
        (Reply(403, {"x-amzn-errortype": "ExpiredTokenException"}), errors.PushError, "expired"),
        (Reply(404), errors.SettingError, "refused to write to"),
        (Reply(end="cut"), errors.PushError, "Nobody knows"),
        (Reply(0, end="reset"), errors.PushError, "Nobody knows"),
    ],
    ids=["429", "500", "503", "413", "400", "403", "expired", "404", "cut", "reset"],
)  # fmt: skip
def test_refusals_say_what_to_do(posted, replied, error, said):
    came, asked = posted(replied)

    assert type(came) is error
    assert said in came.detail
    assert len(asked) == 1
    assert getattr(came, "sent", False) == (replied.end != "whole")


def test_a_connection_that_is_gone_is_no_error(posted):
    came, _ = posted(Reply(410, pieces=(b'{"message":"GoneException"}',)))

    assert came is False


def test_nobody_there_is_nothing_sent(api_of, free_port):
    with pytest.raises(errors.PushError, match="NAT gateway") as raised:
        api_of().post(f"http://127.0.0.1:{free_port}/prod", ID, b"x", deadline_ms=soon())

    assert not raised.value.sent


def test_one_connection_is_kept_for_many_messages(api_of):
    with ApiServer(Reply(200)) as server:
        api = api_of()
        for _ in range(20):
            assert api.post(f"{server.url}/prod", ID, b"x", deadline_ms=soon())
        api.reopen()
        assert api.post(f"{server.url}/prod", ID, b"x", deadline_ms=soon())
        api.close()

    assert len(server.asked) == 21


@pytest.mark.parametrize(
    ("fields", "environ", "address"),
    [
        ({}, {}, "https://a1b2c3.execute-api.eu-central-1.amazonaws.com/prod"),
        ({"domain_name": "chat.example.com"}, {},
         "https://a1b2c3.execute-api.us-east-1.amazonaws.com/prod"),
        ({"domain_name": "a1b2c3.execute-api.cn-north-1.amazonaws.com.cn"}, {},
         "https://a1b2c3.execute-api.cn-north-1.amazonaws.com.cn/prod"),
        ({"domain_name": "chat.example.com"}, {"AWS_REGION": "us-gov-west-1"},
         "https://a1b2c3.execute-api.us-gov-west-1.amazonaws.com/prod"),
        ({"stage": "a b"}, {}, "https://a1b2c3.execute-api.eu-central-1.amazonaws.com/a%20b"),
        ({}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
         "https://a1b2c3.execute-api.eu-central-1.amazonaws.com/prod"),
        ({}, {"LAMBDALLM_CONNECTIONS_ENDPOINT": "http://127.0.0.1:1/x/"}, "http://127.0.0.1:1/x"),
        ({}, {"AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": "http://127.0.0.1:1/y"},
         "http://127.0.0.1:1/y"),
        ({"api_id": "", "stage": ""}, {"LAMBDALLM_CONNECTIONS_ENDPOINT": "http://127.0.0.1:1/x"},
         "http://127.0.0.1:1/x"),
    ],
)  # fmt: skip
def test_a_client_is_written_to_by_its_apis_own_address(api_of, fields, environ, address):
    assert api_of(**environ).address_of({**CLIENT, **fields}) == address


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"api_id": ""}, errors.SettingError),
        ({"stage": ""}, errors.SettingError),
        ({"api_id": "evil.example.com/"}, errors.InvalidRequestError),
        ({"domain_name": "a1b2c3.execute-api.evil@host.amazonaws.com"}, errors.SettingError),
    ],
)
def test_no_event_makes_requests_go_elsewhere(api_of, fields, error):
    with pytest.raises(error):
        api_of().address_of({**CLIENT, **fields})


def test_the_region_of_the_address_is_signed_for_and_named(api_of, monkeypatch):
    resolve = _socket.getaddrinfo
    monkeypatch.setattr("_socket.getaddrinfo", lambda _, *more: resolve("127.0.0.1", *more))
    with ApiServer(Reply(403)) as server:
        host = "a1b2c3.execute-api.eu-central-1.amazonaws.com"
        address = f"{server.url.replace('127.0.0.1', host)}/prod"
        api = api_of()
        with pytest.raises(errors.SettingError) as raised:
            api.post(address, ID, b"x", deadline_ms=soon())
        api.close()

    assert "/eu-central-1/execute-api/aws4_request" in server.asked[0].headers["authorization"]
    arn = "arn:aws:execute-api:eu-central-1:*:a1b2c3/prod/POST/@connections/*"
    assert arn in raised.value.detail


def test_few_addresses_are_kept(api_of):
    with ApiServer(Reply(200)) as server:
        api = api_of()
        for number in range(ADDRESSES_MAX * 3):
            assert api.post(f"{server.url}/{number}", ID, b"x", deadline_ms=soon())
        kept = len(api._clients)
        api.close()

    assert kept == ADDRESSES_MAX


def test_no_time_is_said_and_nothing_is_sent(api_of):
    with ApiServer(Reply(200)) as server, pytest.raises(errors.DeadlineError):
        api_of().post(f"{server.url}/prod", ID, b"x", deadline_ms=START_MS // 2)

    assert server.asked == []
