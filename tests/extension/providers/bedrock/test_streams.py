"""Streamed answers of Bedrock: read as boto3 reads them, and as they break in others' hands."""

import contextlib
import json

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from fakes.api_server import ApiServer, Reply, load
from fakes.microburst import serve_microburst
from lambdallm_extension.aws.eventstream import encode
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers import find_dialect

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
ASK = {"messages": [{"role": "user", "content": "Say something long about bridges."}]}


def event(name, content):
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return encode(headers, json.dumps(content).encode())


USAGE = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}
END = [event("messageStop", {"stopReason": "end_turn"}), event("metadata", {"usage": USAGE})]


@contextlib.contextmanager
def boto_client(url):
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def converse_messages():
    return [{"role": "user", "content": [{"text": ASK["messages"][0]["content"]}]}]


def read_all(stream):
    pieces = []
    while (read := stream.read()) is not None:
        pieces += read
    return pieces


def texts(pieces):
    return "".join(piece.get("text", "") for piece in pieces)


@pytest.fixture
def read_stream():
    """Read a stream's bytes by the dialect of a name."""

    def read(data, name="bedrock.converse", model_id=CLAUDE):
        reader = find_dialect(name, model_id).read_stream(model_id, [])
        pieces = reader.feed(data)
        reader.end()
        return pieces, reader.answer

    return read


@pytest.mark.parametrize("name", ["text_stream", "tools_stream"])
def test_boto3_reads_the_recorded_frames_as_we_do(open_named, deadline_ms, name):
    recording = load("bedrock_converse.json")
    with ApiServer(recording.replies[name]) as server, boto_client(server.url) as client:
        reply = client.converse_stream(modelId=recording.model_id, messages=converse_messages())
        events = [*reply["stream"]]
        provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
        stream = provider.stream(recording.model_id, ASK, deadline_ms=deadline_ms)
        pieces = read_all(stream)

    deltas = [each["contentBlockDelta"]["delta"] for each in events if "contentBlockDelta" in each]
    assert texts(pieces) == "".join(delta.get("text", "") for delta in deltas)
    inputs = [delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta]
    assert [each["tool_input"]["json"] for each in pieces if "tool_input" in each] == inputs
    (metadata,) = [each["metadata"] for each in events if "metadata" in each]
    counted = stream.answer.raw_usage
    assert {key: counted[key] for key in metadata["usage"]} == metadata["usage"]


def test_boto3_reads_the_recorded_chunks_too(open_named):
    recording = load("bedrock_invoke_claude.json")
    with ApiServer(recording.replies["text_stream"]) as server, boto_client(server.url) as client:
        reply = client.invoke_model_with_response_stream(modelId=recording.model_id, body=b"{}")
        chunks = [json.loads(each["chunk"]["bytes"]) for each in reply["body"]]

    deltas = [chunk["delta"] for chunk in chunks if chunk["type"] == "content_block_delta"]
    expected = recording.expected["text_stream"]["text"]
    assert "".join(delta.get("text", "") for delta in deltas) == expected
    assert chunks[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 57


@pytest.mark.parametrize("file", ["bedrock_converse.json", "bedrock_invoke_claude.json"])
def test_boto3_fails_where_the_recorded_stream_fails(file):
    recording = load(file)
    with ApiServer(recording.replies["failed_stream"]) as server, boto_client(server.url) as client:
        if "invoke" in file:
            reply = client.invoke_model_with_response_stream(modelId="m", body=b"{}")["body"]
        else:
            reply = client.converse_stream(modelId="m", messages=converse_messages())["stream"]
        with contextlib.closing(reply), pytest.raises(EventStreamError) as raised:
            list(reply)

    code = raised.value.response["Error"]["Code"]
    assert code.lower() == recording.expected["failed_stream"]["kind"].lower()


def test_somebody_elses_bedrock_streams(ministack, open_named, deadline_ms):
    provider = open_named("bedrock", AWS_ENDPOINT_URL=ministack)

    stream = provider.stream(CLAUDE, ASK, deadline_ms=deadline_ms)
    pieces = read_all(stream)

    with boto_client(ministack) as client:
        reply = client.converse_stream(modelId=CLAUDE, messages=converse_messages())
        events = [*reply["stream"]]
    theirs = [each["contentBlockDelta"]["delta"] for each in events if "contentBlockDelta" in each]
    assert texts(pieces) == "".join(delta["text"] for delta in theirs)
    (metadata,) = [each["metadata"] for each in events if "metadata" in each]
    usage, estimated = stream.answer.spent()
    assert not estimated
    assert usage["output_tokens"] == metadata["usage"]["outputTokens"]
    assert stream.answer.finish_reason == "stop"


@pytest.fixture(scope="module")
def burst(tmp_path_factory, ministack):
    with serve_microburst(tmp_path_factory.mktemp("microburst"), ministack) as proxy:
        yield proxy


@pytest.fixture
def troubled(burst, open_named):
    """Bedrock behind a proxy with these rules."""

    def make(*rules):
        burst.rules(*rules)
        return open_named("bedrock", AWS_ENDPOINT_URL=burst.url)

    yield make
    burst.rules()


@pytest.mark.parametrize(
    ("code", "status", "retryable", "sent"),
    [
        ("ThrottlingException", 429, True, False),
        ("ModelTimeoutException", 408, True, True),
        ("ServiceUnavailableException", 503, True, True),
        ("ModelNotReadyException", 429, True, False),
        ("AccessDeniedException", 403, False, False),
        ("ServiceQuotaExceededException", 400, False, False),
    ],
)
@pytest.mark.parametrize("method", ["chat", "stream"])
def test_refusals_before_the_answer(  # noqa: PLR0917 - a table
    troubled, deadline_ms, method, code, status, retryable, sent
):
    provider = troubled({"error": {"code": code, "status": status}})

    with pytest.raises(ProviderError) as raised:
        getattr(provider, method)(CLAUDE, ASK, deadline_ms=deadline_ms)
    error = raised.value
    assert (error.kind, error.status) == (code, status)
    assert (error.retryable, error.sent) == (retryable, sent)


FRAMES = 3
"""Of the stream that come whole before something happens."""


@pytest.mark.parametrize(
    ("response", "kind", "retryable"),
    [
        (
            {"event_error": {"code": "throttlingException", "after_frames": FRAMES}},
            "ThrottlingException",
            True,
        ),
        (
            {"event_error": {"code": "modelStreamErrorException", "after_frames": FRAMES}},
            "ModelStreamErrorException",
            False,
        ),
        ({"event_frames": [{"at": FRAMES, "bad_crc": True}]}, "MalformedReply", False),
        ({"event_frames": [{"at": FRAMES, "payload": "{"}]}, "MalformedReply", False),
        ({"event_frames": [{"at": FRAMES, "cut": 0.5}]}, "CutStream", False),
        ({"abort_frac": 0.5}, "AnswerLost", False),
    ],
    ids=["throttled", "model failed", "wrong checksum", "no JSON", "cut frame", "aborted"],
)
def test_failures_within_the_answer(troubled, deadline_ms, response, kind, retryable):
    stream = troubled({"response": response}).stream(CLAUDE, ASK, deadline_ms=deadline_ms)

    with pytest.raises(ProviderError) as raised:
        read_all(stream)
    error = raised.value
    assert (error.kind, error.retryable, error.sent) == (kind, retryable, True)
    assert stream.answer.text
    usage, estimated = stream.answer.spent()
    assert estimated
    assert usage["output_tokens"] > 0


def test_frames_that_nobody_knows_are_passed_over(troubled, deadline_ms):
    plain = read_all(troubled().stream(CLAUDE, ASK, deadline_ms=deadline_ms))
    unknown = {"at": 2, "inject": {"event_type": "somethingNew", "payload": '{"x": 1}'}}

    stream = troubled({"response": {"event_frames": [unknown]}}).stream(
        CLAUDE, ASK, deadline_ms=deadline_ms
    )

    assert read_all(stream) == plain
    assert stream.answer.ended


def test_boto3_takes_a_cut_frame_for_the_end_and_we_do_not(burst, troubled, deadline_ms):
    troubled({"response": {"event_frames": [{"at": FRAMES, "cut": 0.5}]}})

    with boto_client(burst.url) as client:
        theirs = client.converse_stream(modelId=CLAUDE, messages=converse_messages())
        assert not any("metadata" in each for each in theirs["stream"])

    stream = troubled({"response": {"event_frames": [{"at": FRAMES, "cut": 0.5}]}}).stream(
        CLAUDE, ASK, deadline_ms=deadline_ms
    )
    with pytest.raises(ProviderError, match="ended before the answer was whole"):
        read_all(stream)


def test_text_is_not_lost_to_the_error_that_came_with_it():
    reader = find_dialect("bedrock.converse", CLAUDE).read_stream(CLAUDE, [])
    failed = encode(
        {":message-type": "exception", ":exception-type": "validationException"},
        b'{"message": "Too long"}',
    )
    delta = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}})

    assert reader.feed(delta + failed + delta) == [{"text": "Hi"}]
    for ask in (lambda: reader.feed(delta), reader.end):
        with pytest.raises(ProviderError, match="Too long") as raised:
            ask()
        assert (raised.value.status, raised.value.sent) == (400, True)
    assert reader.answer.text == "Hi"


def test_an_exception_before_any_text_was_not_generated():
    reader = find_dialect("bedrock.converse", CLAUDE).read_stream(CLAUDE, [])
    failed = encode(
        {":message-type": "exception", ":exception-type": "throttlingException"},
        b'{"message": "Too many tokens"}',
    )

    with pytest.raises(ProviderError) as raised:
        reader.feed(failed)
    error = raised.value
    assert (error.status, error.retryable, error.sent) == (429, True, False)


def test_an_error_outside_the_model_says_what_it_says():
    reader = find_dialect("bedrock.converse", CLAUDE).read_stream(CLAUDE, [])

    with pytest.raises(ProviderError, match=r"Something broke.*InternalFailure") as raised:
        reader.feed(
            encode(
                {
                    ":message-type": "error",
                    ":error-code": "InternalFailure",
                    ":error-message": "Something broke",
                },
                b"",
            )
        )
    assert (raised.value.status, raised.value.retryable, raised.value.sent) == (500, True, True)


@pytest.mark.parametrize(
    "content",
    [
        event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": 5}}),
        event("contentBlockDelta", {"contentBlockIndex": "0", "delta": {"text": "x"}}),
        event("contentBlockDelta", {"contentBlockIndex": 0}),
        event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {}}}),
        event("messageStop", {"stopReason": []}),
        event("metadata", {"usage": {"inputTokens": 1}}),
        event("metadata", {}),
        event("metadata", []),
        encode({":event-type": "metadata", ":message-type": "event"}, b"[" * 100_000),
        b"\0" * 12,
    ],
)
def test_what_is_not_as_it_should_be_is_billed_and_not_asked_again(read_stream, content):
    with pytest.raises(ProviderError) as raised:
        read_stream(content)
    error = raised.value
    assert (error.kind, error.status) == ("MalformedReply", 200)
    assert (error.retryable, error.sent) == (False, True)


def test_a_stream_without_its_usage_is_cut(read_stream):
    with pytest.raises(ProviderError) as raised:
        read_stream(b"".join(END[:1]))
    assert raised.value.kind == "CutStream"


def test_what_a_router_chose_and_what_is_billed_are_read(read_stream):
    metadata = {
        "usage": USAGE,
        "serviceTier": {"type": "flex"},
        "trace": {"promptRouter": {"invokedModelId": "arn:aws:bedrock:us-east-1::x"}},
    }
    _, answer = read_stream(END[0] + event("metadata", metadata))

    assert (answer.model, answer.service_tier) == ("arn:aws:bedrock:us-east-1::x", "flex")


@pytest.mark.parametrize(("latency", "tier"), [("optimized", "optimized"), ("standard", "flex")])
def test_an_optimized_latency_is_billed_by_itself(read_stream, latency, tier):
    billed = {"serviceTier": {"type": "flex"}, "performanceConfig": {"latency": latency}}

    _, answer = read_stream(END[0] + event("metadata", {"usage": USAGE, **billed}))

    assert answer.service_tier == tier


def test_halves_of_characters_become_readable(read_stream):
    payload = b'{"contentBlockIndex": 0, "delta": {"text": "\\ud83d"}}'
    delta = encode({":event-type": "contentBlockDelta", ":message-type": "event"}, payload)

    pieces, _ = read_stream(delta + b"".join(END))

    assert pieces[0]["text"].encode() == "\N{REPLACEMENT CHARACTER}".encode()


def test_boto3_and_we_agree_on_a_refusal(deadline_ms, open_named):
    reply = load("bedrock_converse.json").replies["throttled"]
    with ApiServer(reply) as server, boto_client(server.url) as client:
        with pytest.raises(ClientError) as theirs:
            client.converse(modelId="m", messages=converse_messages())
        provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
        with pytest.raises(ProviderError) as ours:
            provider.chat("m", ASK, deadline_ms=deadline_ms)

    assert ours.value.kind == theirs.value.response["Error"]["Code"]


def test_a_page_of_somebody_in_between_is_no_stream(open_named, deadline_ms):
    page = Reply(200, {"content-type": "text/html"}, (b"<html>Sign in to the network</html>",))
    with ApiServer(page) as server:
        provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
        stream = provider.stream(CLAUDE, ASK, deadline_ms=deadline_ms)
        with pytest.raises(ProviderError) as raised:
            read_all(stream)

    assert raised.value.kind == "MalformedReply"
