"""How Bedrock is reached: a client's own request, keys, regions, roles."""

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from fakes.api_server import ApiServer, Reply, load
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.configuration import ProviderSettings
from lambdallm_extension.errors import ProviderError, SettingError
from lambdallm_extension.model_ports import RawRequest
from lambdallm_extension.providers.bedrock.converse import BedrockConverse
from lambdallm_extension.providers.bedrock.opening import open_api
from lambdallm_extension.settings import Settings, SystemClock

MODEL = "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0"
PATH = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.amazon.nova/invoke"
HEADERS = [
    ("content-type", "application/json"),
    ("x-amzn-bedrock-accept", "*/*"),
    ("user-agent", "Boto3/1.43 md/Botocore"),
    ("amz-sdk-invocation-id", "5d2a"),
]
ASK = {"messages": [{"role": "user", "content": "Hi"}]}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI"}


@pytest.fixture
def server():
    with ApiServer(load("bedrock_converse.json").replies["text"]) as running:
        yield running


@pytest.fixture
def forward(open_named, server, deadline_ms):
    """Pass a client's own request on and return the reply, read whole."""

    def send(request, **environ):
        provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url, **environ)
        reply = provider.forward(request, deadline_ms=deadline_ms)
        body = b""
        while piece := reply.read():
            body += piece
        reply.close()
        return reply, body

    return send


def test_a_clients_request_goes_on_as_it_is_with_a_signature_that_botocore_makes_too(
    forward, server
):
    body = b'{ "spaces":  "stay" }'
    reply, received = forward(RawRequest("POST", PATH, "a=1&b=%20", HEADERS, body))

    (asked,) = server.asked
    assert (reply.status, received) == (
        200,
        load("bedrock_converse.json").replies["text"].pieces[0],
    )
    assert (asked.method, asked.target, asked.body) == ("POST", f"{PATH}?a=1&b=%20", body)
    assert {name: asked.headers[name] for name, _ in HEADERS} == dict(HEADERS)

    again = AWSRequest("POST", f"{server.url}{PATH}?a=1&b=%20", data=body)
    names = asked.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    for name in names:
        again.headers[name] = asked.headers[name]
    again.context["timestamp"] = asked.headers["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI"), "bedrock", "us-east-1")
    canonical = signer.canonical_request(again)
    signature = signer.signature(signer.string_to_sign(again, canonical), again)
    assert asked.headers["authorization"].endswith(f"Signature={signature}")
    assert {"content-type", "x-amzn-bedrock-accept"} <= set(names)
    assert "user-agent" not in names


def test_a_read_has_no_body(forward, server):
    forward(RawRequest("GET", "/foundation-models", "", [], b""))

    (asked,) = server.asked
    assert (asked.method, asked.body) == ("GET", b"")
    assert "content-length" not in asked.headers


def test_a_refusal_is_passed_on_too(forward, server):
    server.replies[:] = [load("bedrock_converse.json").replies["throttled"]]

    reply, body = forward(RawRequest("POST", PATH, "", HEADERS, b"{}"))

    assert reply.status == 429
    assert b"Too many requests" in body
    assert ("x-amzn-errortype", "ThrottlingException:http://internal.amazon.com/coral/") in (
        reply.headers
    )


def test_the_region_that_the_client_would_have_asked_is_asked(forward, server):
    forward(RawRequest("POST", PATH, "", HEADERS, b"{}", region="eu-west-1"))

    assert "/eu-west-1/bedrock/aws4_request" in server.asked[0].headers["authorization"]


def test_a_region_cannot_lead_to_another_host(open_named, deadline_ms):
    request = RawRequest("POST", PATH, "", HEADERS, b"{}", region="evil.example/")

    with pytest.raises(SettingError):
        open_named("bedrock").forward(request, deadline_ms=deadline_ms)


def test_a_key_of_the_clients_own_goes_on_in_the_place_of_a_signature(forward, server):
    key = (("authorization", "Bearer of-the-client"),)

    forward(
        RawRequest("POST", PATH, "", HEADERS, b"{}", key=key),
        AWS_BEARER_TOKEN_BEDROCK="of-the-environment",
    )

    assert server.asked[0].headers["authorization"] == "Bearer of-the-client"
    assert "x-amz-date" not in server.asked[0].headers


@pytest.mark.parametrize("name", ["bedrock", "bedrock-invoke"])
def test_bedrocks_api_key_is_sent_where_boto3_sends_it(
    open_named, server, deadline_ms, monkeypatch, name
):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-x")
    provider = open_named(
        name,
        AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url,
        AWS_BEARER_TOKEN_BEDROCK="bedrock-api-key-x",
    )
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=server.url,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )

    server.replies[:] = [Reply(403, {}, (b"{}",))]
    with pytest.raises(ProviderError):
        provider.chat("us.amazon.nova-lite-v1:0", ASK, deadline_ms=deadline_ms)
    server.replies[:] = [load("bedrock_converse.json").replies["text"]]
    client.converse(modelId=MODEL, messages=[{"role": "user", "content": [{"text": "Hi"}]}])
    client.close()

    ours, theirs = server.asked
    assert ours.headers["authorization"] == "Bearer bedrock-api-key-x"
    assert theirs.headers["authorization"] == ours.headers["authorization"]
    assert "x-amz-date" not in ours.headers


def test_an_api_key_with_a_line_break_is_named_and_not_shown(open_named):
    with pytest.raises(SettingError, match="AWS_BEARER_TOKEN_BEDROCK") as raised:
        open_named("bedrock", AWS_BEARER_TOKEN_BEDROCK="secret\r\nx: y")
    assert "secret" not in str(raised.value)


ASSUMED = b"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>of-the-role</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""


def test_another_region_address_and_role(server, deadline_ms):
    with ApiServer(Reply(200, {}, (ASSUMED,))) as sts:
        settings = Settings.from_environ(
            {
                **KEYS,
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL_STS": sts.url,
                "AWS_BEARER_TOKEN_BEDROCK": "not-of-the-role",
            }
        )
        clock = SystemClock()
        configured = ProviderSettings(
            "bedrock",
            base_url=f"{server.url}/elsewhere",
            region="eu-west-1",
            role_arn="arn:aws:iam::2:role/models",
        )
        credentials = CredentialSource(settings, clock)
        api = open_api("bedrock-eu", settings, credentials, clock, configured)
        provider = BedrockConverse(api)
        for _ in range(2):
            provider.chat("us.amazon.nova-lite-v1:0", ASK, deadline_ms=deadline_ms)
        provider.close()

    assert len(sts.asked) == 1
    assert "Credential=AKIDEXAMPLE/" in sts.asked[0].headers["authorization"]
    assert "/eu-west-1/sts/" in sts.asked[0].headers["authorization"]
    asked = server.asked[0]
    assert asked.target.startswith("/elsewhere/model/")
    assert "Credential=ASIAROLE/" in asked.headers["authorization"]
    assert "/eu-west-1/bedrock/" in asked.headers["authorization"]
    assert asked.headers["x-amz-security-token"] == "of-the-role"
    assert provider.name == "bedrock-eu"


def test_errors_name_the_provider_as_it_was_configured(server, deadline_ms):
    settings = Settings.from_environ({**KEYS, "AWS_REGION": "us-east-1"})
    clock = SystemClock()
    server.replies[:] = [load("bedrock_converse.json").replies["throttled"]]
    api = open_api(
        "bedrock-eu",
        settings,
        CredentialSource(settings, clock),
        clock,
        ProviderSettings("bedrock", base_url=server.url),
    )

    with pytest.raises(ProviderError) as raised:
        BedrockConverse(api).stream("m", ASK, deadline_ms=deadline_ms)
    api.close()
    assert raised.value.source == "bedrock-eu"
