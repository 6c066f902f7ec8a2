"""Bedrock's clients are known by their signatures. They are the real ones, and sign themselves."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import pytest

from fakes.admission import CLIENT_KEY, ENVIRON, authenticator, request, signed_by_botocore
from fakes.clocks import HandClock
from lambda_runtime_api.http1 import Request
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.server.dropin.authentication import Admission, Authenticator, Refusal
from lambdallm_extension.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

NO_RETRIES = botocore.config.Config(retries={"total_max_attempts": 1})

MODELS = [
    "amazon.nova-micro-v1:0",
    "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.amazon.nova-micro-v1:0",
    "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2c3",
]


def bedrock(url: str, **more: Any) -> Any:
    keys = {
        "aws_access_key_id": "ASIAOURS",
        "aws_secret_access_key": "secret/+",
        "aws_session_token": "session==",
        "region_name": "eu-central-1",
        "config": NO_RETRIES,
        **more,
    }
    return boto3.client("bedrock-runtime", endpoint_url=f"{url}/bedrock", **keys)


MESSAGES: Any = [{"role": "user", "content": [{"text": "hello € ü"}]}]
BODY = json.dumps({"prompt": "€"})

CALLS: dict[str, Callable[[Any, str], object]] = {
    "converse": lambda client, model: client.converse(modelId=model, messages=MESSAGES),
    "converse_stream": lambda client, model: client.converse_stream(
        modelId=model, messages=MESSAGES
    ),
    "invoke_model": lambda client, model: client.invoke_model(modelId=model, body=BODY),
    "invoke_model_with_response_stream": lambda client, model: (
        client.invoke_model_with_response_stream(modelId=model, body=BODY)
    ),
    "list_async_invokes": lambda client, _: client.list_async_invokes(
        maxResults=3, sortBy="SubmissionTime", nextToken="a+b/c=="
    ),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("call", CALLS)
def test_what_boto3_signs_with_the_functions_credentials_is_admitted(
    sent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, call: str, model: str
) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)

    def ask(url: str) -> object:
        return CALLS[call](bedrock(url), model)

    head, body = sent(ask, botocore.exceptions.ClientError)

    assert head.header("authorization").startswith("AWS4-")
    assert authenticator().authenticate("bedrock", head, body) == Admission()


def test_a_request_that_was_changed_on_its_way_is_refused(sent: Callable[..., Any]) -> None:
    head, body = sent(
        lambda url: CALLS["converse"](bedrock(url), MODELS[0]), botocore.exceptions.ClientError
    )
    longer = Request(head.method, f"{head.target}?a=b", head.headers, keep_alive=True)
    date = [
        (name, "text/plain" if name == "content-type" else value) for name, value in head.headers
    ]
    elsewhere = Request(head.method, head.target, date, keep_alive=True)
    check = authenticator()

    for changed in [(head, body + b" "), (longer, body), (elsewhere, body)]:
        refusal = check.authenticate("bedrock", *changed)
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.kind) == (403, "InvalidSignatureException")


def test_another_secret_for_our_key_id_is_refused(sent: Callable[..., Any]) -> None:
    def ask(url: str) -> object:
        return CALLS["converse"](bedrock(url, aws_secret_access_key="guessed"), MODELS[0])

    refusal = authenticator().authenticate("bedrock", *sent(ask, botocore.exceptions.ClientError))

    assert isinstance(refusal, Refusal)
    assert refusal.kind == "InvalidSignatureException"


def test_another_key_id_is_named_and_told_what_to_do(sent: Callable[..., Any]) -> None:
    def ask(url: str) -> object:
        return CALLS["converse"](bedrock(url, aws_access_key_id="AKIAOFANOTHER"), MODELS[0])

    refusal = authenticator().authenticate("bedrock", *sent(ask, botocore.exceptions.ClientError))

    assert isinstance(refusal, Refusal)
    assert refusal.status == 403
    for word in ("AKIAOFANOTHER", "providers.bedrock.role_arn", "endpoint_url"):
        assert word in refusal.detail


def test_a_key_id_that_is_none_is_not_repeated() -> None:
    value = "AWS4-HMAC-SHA256 Credential=<b>\x80/20261121/r/s/aws4_request"
    value += ",SignedHeaders=host,Signature=0"
    head = request(("authorization", value), ("x-amz-date", "20261121T000000Z"))

    refusal = authenticator().authenticate("bedrock", head, b"")

    assert isinstance(refusal, Refusal)
    assert "<b>" not in refusal.detail


def test_an_unsigned_request_is_refused() -> None:
    refusal = authenticator().authenticate("bedrock", request(), b"{}")

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.kind) == (403, "UnrecognizedClientException")


@pytest.mark.parametrize(("seconds", "status"), [(0, None), (290, None), (310, 503), (86_000, 503)])
def test_a_request_that_was_frozen_is_to_be_signed_again(seconds: int, status: int | None) -> None:
    """boto3 and anthropic ask again after a 503, and sign each attempt."""
    clock = HandClock()
    head, body = signed_by_botocore("ASIAOURS", clock.now_ms)
    clock.now_ms += seconds * 1_000

    outcome = authenticator(clock=clock).authenticate("bedrock", head, body)

    assert (outcome.status if isinstance(outcome, Refusal) else None) == status


@pytest.fixture
def endpoint(serve: Callable[..., Any]) -> Any:
    """A container endpoint whose keys last an hour; `rotate` makes it hand out the next ones."""

    class Endpoint:
        clock = HandClock()
        number = 1
        asked = 0
        down = False

        def behave(self, line: Any) -> None:
            line.read()
            self.asked += 1
            if self.down:
                line.reply(b"{}", 500)
                return
            expires = time.gmtime(self.clock.now_ms / 1_000 + 3_600)
            answer = {
                "AccessKeyId": f"ASIA{self.number}",
                "SecretAccessKey": f"secret-{self.number}",
                "Token": "token",
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", expires),
            }
            line.reply(json.dumps(answer).encode())

        def source(self) -> CredentialSource:
            environ = {
                "AWS_LAMBDA_FUNCTION_NAME": "f",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self.port}/credentials",
            }
            return CredentialSource(Settings.from_environ(environ), self.clock)

        def asks_with(self, check: Authenticator, number: int) -> Admission | Refusal:
            """Let a client ask that holds the credentials of this number."""
            head, body = signed_by_botocore(f"ASIA{number}", self.clock.now_ms, f"secret-{number}")
            return check.authenticate("bedrock", head, body)

    endpoint: Any = Endpoint()
    endpoint.port = serve(endpoint.behave).port
    return endpoint


def test_a_client_that_still_has_the_credentials_before_a_renewal_is_admitted(
    endpoint: Any,
) -> None:
    check = authenticator(clock=endpoint.clock, source=endpoint.source())
    assert endpoint.asks_with(check, 1) == Admission()
    endpoint.number = 2
    endpoint.clock.now_ms += 3_400_000

    assert endpoint.asks_with(check, 1) == Admission()
    assert endpoint.asks_with(check, 2) == Admission()
    assert endpoint.asked == 2


def test_a_client_that_has_newer_credentials_than_we_is_admitted(endpoint: Any) -> None:
    check = authenticator(clock=endpoint.clock, source=endpoint.source())
    assert endpoint.asks_with(check, 1) == Admission()
    endpoint.number = 2

    assert endpoint.asks_with(check, 2) == Admission()
    assert endpoint.asks_with(check, 1) == Admission()


def test_a_wrong_key_id_makes_the_endpoint_be_asked_once_a_second(endpoint: Any) -> None:
    check = authenticator(clock=endpoint.clock, source=endpoint.source())
    for _ in range(5):
        assert isinstance(endpoint.asks_with(check, 9), Refusal)
    assert endpoint.asked == 2
    endpoint.clock.now_ms += 1_000

    assert isinstance(endpoint.asks_with(check, 9), Refusal)
    assert endpoint.asked == 3


def test_clients_made_before_a_snapshot_are_admitted_after_the_restore(endpoint: Any) -> None:
    sources = [endpoint.source()]
    check = Authenticator(CLIENT_KEY, list, {}, lambda: sources[-1], endpoint.clock)
    check.remember()
    endpoint.number = 2
    sources.append(endpoint.source())

    assert endpoint.asks_with(check, 1) == Admission()
    assert endpoint.asks_with(check, 2) == Admission()


def test_an_endpoint_without_credentials_is_told_as_passing(endpoint: Any) -> None:
    check = authenticator(clock=endpoint.clock, source=endpoint.source())
    endpoint.down = True

    refusal = endpoint.asks_with(check, 1)

    assert isinstance(refusal, Refusal)
    assert refusal.status == 503


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("streaming", [False, True])
def test_anthropics_bedrock_client_is_admitted(
    sent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, model: str, *, streaming: bool
) -> None:
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)

    def ask(url: str) -> object:
        client = anthropic.AnthropicBedrock(
            base_url=f"{url}/bedrock",
            aws_access_key="ASIAOURS",
            aws_secret_key="secret/+",
            aws_session_token="session==",
            aws_region="eu-central-1",
            max_retries=0,
        )
        return client.messages.create(
            model=model,
            max_tokens=9,
            stream=streaming,
            messages=[{"role": "user", "content": "hello €"}],
        )

    head, body = sent(ask, anthropic.APIStatusError)

    assert head.header("authorization").startswith("AWS4-")
    assert authenticator().authenticate("bedrock", head, body) == Admission()


def test_a_bedrock_api_key_admits_and_goes_on(
    sent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", ENVIRON["AWS_BEARER_TOKEN_BEDROCK"])

    def ask(url: str) -> object:
        client = boto3.client(
            "bedrock-runtime",
            endpoint_url=f"{url}/bedrock",
            region_name="eu-central-1",
            config=NO_RETRIES,
        )
        return CALLS["converse"](client, MODELS[0])

    head, body = sent(ask, botocore.exceptions.ClientError)

    own = (("authorization", f"Bearer {ENVIRON['AWS_BEARER_TOKEN_BEDROCK']}"),)
    assert authenticator().authenticate("bedrock", head, body) == Admission(own)
