"""SageMaker endpoints: asked as boto3 asks them, paid by the hour."""

import contextlib
import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from fakes.api_server import ApiServer, Reply, load
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.eventstream import encode
from lambdallm_extension.configuration import ProviderSettings
from lambdallm_extension.errors import InvalidRequestError, ProviderError, SettingError
from lambdallm_extension.model_ports import RawRequest
from lambdallm_extension.providers.sagemaker import SageMaker
from lambdallm_extension.settings import Settings, SystemClock

ENDPOINT = "llama-chat"
ASK = {"messages": [{"role": "user", "content": "Hi"}]}
RECORDING = load("sagemaker_chat.json")
DEADLINE_MS = SystemClock().epoch_ms() + 600_000


class Clock(SystemClock):
    """The machine's clock, on which so many seconds pass with each look."""

    def __init__(self, step=0.0):
        self._now = 0.0
        self._step = step

    def monotonic(self):
        self._now += self._step
        return self._now


@pytest.fixture
def sagemaker():
    """Open the provider before a server with these replies, as it may be configured."""
    with contextlib.ExitStack() as stack:

        def make(*replies, clock=None, **configured):
            server = stack.enter_context(ApiServer(*replies))
            settings = Settings.from_environ(
                {
                    "AWS_REGION": "us-east-1",
                    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
                    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
                    "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": server.url,
                }
            )
            clock = clock or SystemClock()
            provider = SageMaker(
                "sagemaker",
                settings,
                CredentialSource(settings, clock),
                clock,
                ProviderSettings("sagemaker", **configured),
            )
            stack.callback(provider.close)
            return provider, server

        yield make


@contextlib.contextmanager
def boto_client(url):
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def read_all(stream):
    pieces = []
    while (read := stream.read()) is not None:
        pieces += read
    return pieces


def part(text):
    return encode({":event-type": "PayloadPart", ":message-type": "event"}, text.encode())


@pytest.mark.parametrize("streamed", [False, True])
def test_boto3_asks_the_same(sagemaker, streamed):
    name = "text_stream" if streamed else "text"
    provider, server = sagemaker(RECORDING.replies[name])
    ask = provider.stream if streamed else provider.chat

    answer = ask(ENDPOINT, {**ASK, "additional_fields": {"top_k": 5}}, deadline_ms=DEADLINE_MS)
    if streamed:
        read_all(answer)
    body = server.asked[0].body
    with boto_client(server.url) as client:
        if streamed:
            theirs = client.invoke_endpoint_with_response_stream(
                EndpointName=ENDPOINT,
                Body=body,
                ContentType="application/json",
                Accept="text/event-stream",
            )
            received = b"".join(each["PayloadPart"]["Bytes"] for each in theirs["Body"])
            assert received.startswith(b"data: {")
        else:
            theirs = client.invoke_endpoint(
                EndpointName=ENDPOINT,
                Body=body,
                ContentType="application/json",
                Accept="application/json",
            )
            assert json.loads(theirs["Body"].read()) == RECORDING_JSON

    ours, boto = server.asked
    assert (ours.method, ours.target, ours.body) == (boto.method, boto.target, boto.body)
    accept = "x-amzn-sagemaker-accept" if streamed else "accept"
    for header in ("content-type", accept):
        assert ours.headers[header] == boto.headers[header]
    assert "/us-east-1/sagemaker/aws4_request" in ours.headers["authorization"]
    assert ours.json["messages"] == [{"role": "user", "content": "Hi"}]
    assert ours.json["top_k"] == 5


(RECORDED_BODY,) = RECORDING.replies["text"].pieces
RECORDING_JSON = json.loads(RECORDED_BODY)


def test_boto3_fails_where_the_recorded_replies_fail():
    for name in ("throttled", "failed", "forbidden"):
        with (
            ApiServer(RECORDING.replies[name]) as server,
            boto_client(server.url) as client,
            pytest.raises(ClientError) as raised,
        ):
            client.invoke_endpoint(EndpointName=ENDPOINT, Body=b"{}")
        assert raised.value.response["Error"]["Code"] == RECORDING.expected[name]["kind"]
    with ApiServer(RECORDING.replies["failed_stream"]) as server, boto_client(server.url) as client:
        reply = client.invoke_endpoint_with_response_stream(EndpointName=ENDPOINT, Body=b"{}")
        with contextlib.closing(reply["Body"]), pytest.raises(EventStreamError):
            list(reply["Body"])


def test_a_call_costs_its_share_of_the_declared_hour(sagemaker):
    clock = Clock()
    provider, server = sagemaker(RECORDING.replies["text"], clock=clock, hourly_usd="1.408")
    clock.monotonic = lambda: 2.5 * len(server.asked)

    answer = provider.chat(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)

    assert answer.cost_pico_usd == -(-1_408_000_000_000 * 2_500 // 3_600_000)
    assert answer.model == ENDPOINT


def test_a_streams_cost_grows_until_its_end_and_is_known_when_it_is_cut(sagemaker):
    whole = RECORDING.replies["text_stream"]
    provider, server = sagemaker(whole, clock=Clock(1), hourly_usd="3600")
    stream = provider.stream(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)
    costs = []
    while stream.read() is not None:
        costs.append(stream.answer.cost_pico_usd)
    server.replies[:] = [whole.cut_after(2)]
    cut = provider.stream(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)
    with pytest.raises(ProviderError):
        read_all(cut)

    assert costs == sorted(costs)
    assert costs[0] >= 10**12
    assert stream.answer.to_answer().cost_pico_usd >= costs[-1]
    assert cut.answer.to_answer().cost_pico_usd >= 10**12


def test_without_a_declared_rate_the_cost_is_unknown(sagemaker):
    provider, server = sagemaker(RECORDING.replies["text"])
    assert provider.chat(ENDPOINT, ASK, deadline_ms=DEADLINE_MS).cost_pico_usd is None

    server.replies[:] = [RECORDING.replies["text_stream"]]
    stream = provider.stream(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)
    read_all(stream)
    assert stream.answer.to_answer().cost_pico_usd is None


@pytest.mark.parametrize("rate", ["a lot", "-1", "1,40", "1e3", "."])
def test_a_rate_that_is_none_is_named(sagemaker, rate):
    with pytest.raises(SettingError, match="hourly_usd"):
        sagemaker(RECORDING.replies["text"], hourly_usd=rate)


def test_a_container_that_counts_nothing_is_used_for_no_tokens(sagemaker):
    body = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    provider, server = sagemaker(Reply(200, {}, (json.dumps(body).encode(),)))
    answer = provider.chat(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)
    delta = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
    pieces = (part(f"data: {json.dumps(delta)}\n\nda"), part("ta: [DONE]\n\n"))
    server.replies[:] = [Reply(200, {}, pieces)]
    stream = provider.stream(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)
    read_all(stream)

    assert (answer.text, set(answer.usage.values())) == ("Hi", {0})
    assert (stream.answer.text, set(stream.answer.spent()[0].values())) == ("Hi", {0})


def test_a_container_that_does_not_stream_is_read_all_the_same(sagemaker):
    headers = {"x-amzn-sagemaker-content-type": "application/json"}
    frames = tuple(part(RECORDED_BODY.decode()[at : at + 50]) for at in range(0, 2_000, 50))
    provider, _ = sagemaker(Reply(200, headers, frames))

    stream = provider.stream(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)
    read_all(stream)

    assert stream.answer.text == RECORDING.expected["text"]["text"]


def test_a_damaged_frame_is_not_asked_again(sagemaker):
    good = part('data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n')
    provider, _ = sagemaker(Reply(200, {}, (good, good[:-1] + b"\0")))
    stream = provider.stream(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)

    with pytest.raises(ProviderError, match="damaged") as raised:
        read_all(stream)
    assert (raised.value.retryable, raised.value.sent) == (False, True)
    assert stream.answer.text == "Hi"


@pytest.mark.parametrize(
    ("status", "kind", "body", "retryable", "sent"),
    [
        (400, "ValidationError", {"Message": "Endpoint x not found."}, False, False),
        (400, "ThrottlingException", {"Message": "Rate exceeded"}, True, False),
        (424, "ModelError", {"OriginalStatusCode": 400, "OriginalMessage": "bad"}, False, True),
        (424, "ModelError", {"OriginalStatusCode": 503, "OriginalMessage": "busy"}, True, True),
        (403, "ExpiredTokenException", {"message": "expired"}, True, False),
        (503, "ServiceUnavailable", {}, True, True),
        (500, "", {}, True, True),
    ],
)
def test_refusals(sagemaker, status, kind, body, retryable, sent):
    headers = {"x-amzn-errortype": kind} if kind else {}
    provider, _ = sagemaker(Reply(status, headers, (json.dumps(body).encode(),)))

    with pytest.raises(ProviderError) as raised:
        provider.chat(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)
    error = raised.value
    assert (error.kind, error.retryable, error.sent) == (kind, retryable, sent)


@pytest.mark.parametrize("name", ["a/b", "x" * 64, "a b", "../x"])
def test_what_is_no_endpoints_name_is_not_sent(sagemaker, name):
    provider, server = sagemaker(RECORDING.replies["text"])

    for ask in (provider.chat, provider.stream):
        with pytest.raises(InvalidRequestError, match="ENDPOINT"):
            ask(name, ASK, deadline_ms=DEADLINE_MS)
    assert server.asked == []


def test_there_are_no_vectors(sagemaker):
    provider, _ = sagemaker(RECORDING.replies["text"])

    with pytest.raises(InvalidRequestError, match="embeddings"):
        provider.embed(ENDPOINT, {"texts": ["a"]}, deadline_ms=DEADLINE_MS)


def test_another_region_is_asked_there(sagemaker):
    provider, server = sagemaker(RECORDING.replies["text"], region="eu-west-1")
    provider.chat(ENDPOINT, ASK, deadline_ms=DEADLINE_MS)
    provider.chat(ENDPOINT, {**ASK, "region": "eu-north-1"}, deadline_ms=DEADLINE_MS)
    provider.reopen()

    scopes = [asked.headers["authorization"].split("/")[2] for asked in server.asked]
    assert scopes == ["eu-west-1", "eu-north-1"]


def test_a_clients_own_request_goes_on(sagemaker):
    provider, server = sagemaker(RECORDING.replies["text"])
    headers = [("content-type", "application/json")]

    reply = provider.forward(
        RawRequest("POST", "/endpoints/x/invocations", "", headers, b'{"a": 1}'),
        deadline_ms=DEADLINE_MS,
    )

    assert b"".join(iter(reply.read, b"")) == RECORDED_BODY
    assert server.asked[0].body == b'{"a": 1}'
    assert "/sagemaker/aws4_request" in server.asked[0].headers["authorization"]
