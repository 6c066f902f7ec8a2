"""How Bedrock fails, and what the caller is told."""

import json
import socket

import pytest

from lambdallm.testing.model_server import Failure
from lambdallm_extension.errors import DeadlineError, ProviderError

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
ASK = {"messages": [{"role": "user", "content": "Hi"}]}

NOT_AUTHORIZED = (
    "User: arn:aws:sts::1:assumed-role/r/f is not authorized to perform: bedrock:InvokeModel on "
    "resource: arn:aws:bedrock:us-east-1:1:inference-profile/us.x because no identity-based "
    "policy allows the bedrock:InvokeModel action"
)
ON_DEMAND = (
    "Invocation of model ID anthropic.claude-haiku-4-5-20251001-v1:0 with on-demand throughput "
    "isn\N{RIGHT SINGLE QUOTATION MARK}t supported. Retry your request with the ID or ARN of an "
    "inference profile that contains this model."
)


@pytest.fixture
def fail(bedrock, deadline_ms):
    """Ask, be refused, and return the error."""

    def make(failure, model_id=MODEL):
        provider = bedrock(failure)
        with pytest.raises(ProviderError) as raised:
            provider.chat(model_id, ASK, deadline_ms=deadline_ms)
        return raised.value

    return make


@pytest.mark.parametrize(
    ("failure", "retryable", "sent", "words"),
    [
        (
            Failure(403, "AccessDeniedException", "You don't have access to the model."),
            False,
            False,
            "Model access",
        ),
        (Failure(403, "AccessDeniedException", NOT_AUTHORIZED), False, False, "statement"),
        (
            Failure(403, "UnrecognizedClientException", "The token is invalid."),
            False,
            False,
            "role",
        ),
        (Failure(403, "ExpiredTokenException", "expired"), True, False, "credentials"),
        (Failure(400, "ValidationException", ON_DEMAND), False, False, "global.anthropic.claude"),
        (
            Failure(400, "ValidationException", "The provided model identifier is invalid."),
            False,
            False,
            "list-inference-profiles",
        ),
        (
            Failure(
                404,
                "ResourceNotFoundException",
                "This model version has reached the end of its life.",
            ),
            False,
            False,
            "list-foundation-models",
        ),
        (
            Failure(400, "ServiceQuotaExceededException", "Quota"),
            False,
            False,
            "Service Quotas",
        ),
        (Failure(429, "ThrottlingException", "Too many requests"), True, False, "little later"),
        (
            Failure(429, "ThrottlingException", "Too many tokens per day, please wait."),
            False,
            False,
            "quota of a day",
        ),
        (Failure(429, "ModelNotReadyException", "Loading"), True, False, "few seconds"),
        (Failure(408, "ModelTimeoutException", "Too long"), True, True, "max_tokens"),
        (Failure(424, "ModelErrorException", "Broken"), False, True, "model itself"),
        (Failure(500, "InternalServerException", "Oops"), True, True, "Oops"),
        (Failure(503, "ServiceUnavailableException", "Busy"), True, True, "capacity"),
        (Failure(502, "", "", body=b"<html>bad gateway</html>"), True, True, "HTTP 502"),
    ],
)
def test_every_refusal_says_whether_to_ask_again_and_what_to_do(
    fail, failure, retryable, sent, words
):
    error = fail(failure)

    assert (error.status, error.kind) == (failure.status, failure.error)
    assert (error.retryable, error.sent) == (retryable, sent)
    assert words in error.detail
    assert MODEL in error.detail
    assert error.source == "bedrock"


def test_a_missing_permission_comes_with_the_statement_that_grants_it(fail):
    detail = fail(Failure(403, "AccessDeniedException", NOT_AUTHORIZED)).detail

    statement = json.loads(detail[detail.index("{") :])
    assert statement == {
        "Effect": "Allow",
        "Action": "bedrock:InvokeModel",
        "Resource": [
            f"arn:aws:bedrock:*:*:inference-profile/{MODEL}",
            "arn:aws:bedrock:*::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
        ],
    }


def test_the_statement_names_what_a_stream_needs(fail):
    refusal = NOT_AUTHORIZED.replace("InvokeModel", "InvokeModelWithResponseStream")
    detail = fail(Failure(403, "AccessDeniedException", refusal)).detail

    statement = json.loads(detail[detail.index("{") :])
    assert statement["Action"] == "bedrock:InvokeModelWithResponseStream"


def test_the_statement_names_the_partition_of_the_region_that_was_asked(bedrock, deadline_ms):
    provider = bedrock(
        Failure(403, "AccessDeniedException", NOT_AUTHORIZED), AWS_REGION="us-gov-west-1"
    )

    with pytest.raises(ProviderError) as caught:
        provider.chat("us-gov.amazon.nova-pro-v1:0", ASK, deadline_ms=deadline_ms)

    assert "arn:aws-us-gov:bedrock:*:*:inference-profile/us-gov.amazon" in caught.value.detail
    assert "in us-gov-west-1" in caught.value.detail


def test_the_models_own_status_decides_about_its_error(fail):
    body = json.dumps({"message": "Broken", "originalStatusCode": 503}).encode()

    assert fail(Failure(424, "ModelErrorException", body=body)).retryable


def test_the_kind_is_found_wherever_bedrock_puts_it(fail):
    long = "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/"
    assert fail(Failure(429, long)).kind == "ThrottlingException"
    body = b'{"__type": "com.amazon.coral#ThrottlingException", "Message": "Slow down"}'
    error = fail(Failure(429, body=body))
    assert error.kind == "ThrottlingException"
    assert "Slow down" in error.detail


@pytest.mark.parametrize(("asked", "told"), [(2, 2.0), (0, 0.0), (None, None)])
def test_the_wait_that_bedrock_asks_for_is_told(fail, asked, told):
    assert fail(Failure(429, "ThrottlingException", retry_after=asked)).retry_after_seconds == told


@pytest.mark.parametrize("failure", [Failure(0), Failure(200, body=b"x" * 100, cut_after_bytes=10)])
def test_a_lost_answer_may_be_billed_and_is_not_asked_again(fail, failure):
    error = fail(failure)

    assert (error.status, error.sent, error.retryable) == (0, True, False)
    assert "may be billed" in error.detail


def test_nobody_there_means_nothing_was_sent(open_named, free_port, deadline_ms):
    url = f"http://127.0.0.1:{free_port}"
    provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=url)

    with pytest.raises(ProviderError, match="not reached") as raised:
        provider.chat(MODEL, ASK, deadline_ms=deadline_ms)

    assert (raised.value.sent, raised.value.retryable) == (False, True)


def test_no_time_left_means_nothing_was_sent(bedrock):
    provider = bedrock("ok")

    with pytest.raises(DeadlineError):
        provider.chat(MODEL, ASK, deadline_ms=1)

    assert provider.server.requests == []


def test_a_model_that_is_silent_until_the_deadline_may_be_billed(open_named):
    from lambdallm_extension.settings import SystemClock

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=url)
        with pytest.raises(ProviderError) as raised:
            provider.chat(MODEL, ASK, deadline_ms=SystemClock().epoch_ms() + 200)

    assert (raised.value.sent, raised.value.retryable) == (True, False)


def test_no_word_of_the_prompt_stands_in_an_error(bedrock, deadline_ms):
    provider = bedrock(Failure(200, body=b'{"output": "nothing"}'), Failure(500, "X"))
    secret = {"messages": [{"role": "user", "content": "my secret is 4711"}]}
    for _ in range(2):
        with pytest.raises(ProviderError) as raised:
            provider.chat(MODEL, secret, deadline_ms=deadline_ms)
        assert "4711" not in raised.value.detail


def test_after_expired_credentials_the_next_attempt_brings_fresh_ones(
    serve, open_named, deadline_ms
):
    keys = iter(["OLDKEY", "NEWKEY"])

    credentials = _CredentialServer(lambda: next(keys))
    server = serve([Failure(403, "ExpiredTokenException", "expired"), "ok"])
    provider = open_named(
        "bedrock",
        AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url,
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
        AWS_CONTAINER_CREDENTIALS_FULL_URI=credentials.url,
    )
    try:
        with pytest.raises(ProviderError):
            provider.chat(MODEL, ASK, deadline_ms=deadline_ms)
        answer = provider.chat(MODEL, ASK, deadline_ms=deadline_ms)
    finally:
        credentials.close()

    assert answer.text == "ok"
    used = [request.headers["authorization"] for request in server.requests]
    assert "OLDKEY" in used[0]
    assert "NEWKEY" in used[1]


class _CredentialServer:
    """A container credentials endpoint."""

    def __init__(self, next_key) -> None:
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(
                    {
                        "AccessKeyId": next_key(),
                        "SecretAccessKey": "s",
                        "Token": "t",
                        "Expiration": "2099-01-01T00:00:00Z",
                    }
                ).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/credentials"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
