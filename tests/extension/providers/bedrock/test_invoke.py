"""Models through InvokeModel: each family's own form, and tokens wherever they stand."""

import base64
import json

import boto3
import pytest
from botocore.config import Config

from fakes.api_server import Reply
from lambdallm_extension.aws.eventstream import encode
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers import find_dialect

METRICS = {
    "inputTokenCount": 7,
    "outputTokenCount": 5,
    "invocationLatency": 300,
    "firstByteLatency": 100,
    "cacheReadInputTokenCount": 11,
    "cacheWriteInputTokenCount": 13,
}
MEASURED = {"amazon-bedrock-invocationMetrics": METRICS}
HEADERS = {
    "content-type": "application/json",
    "x-amzn-requestid": "id-1",
    "x-amzn-bedrock-input-token-count": "7",
    "x-amzn-bedrock-output-token-count": "5",
    "x-amzn-bedrock-cache-read-input-token-count": "11",
    "x-amzn-bedrock-cache-write-input-token-count": "13",
    "x-amzn-bedrock-service-tier": "flex",
}
STREAMING = {"content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "id-1"}
ASK = {"messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 50}

TITAN = "amazon.titan-text-express-v1"
LLAMA_3 = "us.meta.llama3-3-70b-instruct-v1:0"
MISTRAL_7B = "mistral.mistral-7b-instruct-v0:2"
MISTRAL = "mistral.mistral-large-2407-v1:0"
COHERE = "cohere.command-r-v1:0"
COHERE_OLD = "cohere.command-text-v14"
NOVA = "us.amazon.nova-lite-v1:0"
CLAUDE = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"


def usage(uncached, output, read=0, write=0):
    return {
        "uncached_input_tokens": uncached,
        "cache_read_tokens": read,
        "cache_write_5m_tokens": write,
        "cache_write_1h_tokens": 0,
        "output_tokens": output,
    }


COUNTED = usage(7, 5, 11, 13)
"""What headers and metrics say."""


def chunk(content):
    body = {"bytes": base64.b64encode(json.dumps(content).encode()).decode(), "p": "abc"}
    headers = {":event-type": "chunk", ":content-type": "application/json"}
    return encode({**headers, ":message-type": "event"}, json.dumps(body).encode())


# Family, body, stream, text, finish reason, usage of the body, usage of the stream.
# Source of each shape: the module's docstring.
ANSWERS = [
    pytest.param(
        TITAN,
        {
            "inputTextTokenCount": 4,
            "results": [
                {"tokenCount": 9, "outputText": "I am.", "completionReason": "FINISH"},
            ],
        },
        [
            {
                "outputText": "I ",
                "index": 0,
                "totalOutputTextTokenCount": None,
                "completionReason": None,
                "inputTextTokenCount": 4,
            },
            {
                "outputText": "am.",
                "index": 0,
                "totalOutputTextTokenCount": 9,
                "completionReason": "FINISH",
                "inputTextTokenCount": None,
                **MEASURED,
            },
        ],
        "stop",
        (usage(4, 9), usage(4, 9)),
        id="titan",
    ),
    pytest.param(
        LLAMA_3,
        {
            "generation": "I am.",
            "prompt_token_count": 4,
            "generation_token_count": 9,
            "stop_reason": "length",
        },
        [
            {
                "generation": "I ",
                "prompt_token_count": 4,
                "generation_token_count": 1,
                "stop_reason": None,
            },
            {
                "generation": "am.",
                "prompt_token_count": None,
                "generation_token_count": 9,
                "stop_reason": "length",
                **MEASURED,
            },
        ],
        "length",
        (usage(4, 9), usage(4, 9)),
        id="llama",
    ),
    pytest.param(
        MISTRAL_7B,
        {"outputs": [{"text": "I am.", "stop_reason": "stop"}]},
        [
            {"outputs": [{"text": "I ", "stop_reason": None}]},
            {"outputs": [{"text": "am.", "stop_reason": "stop"}], **MEASURED},
        ],
        "stop",
        (COUNTED, COUNTED),
        id="mistral with a prompt",
    ),
    pytest.param(
        MISTRAL,
        {
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "I am.", "tool_calls": None},
                    "stop_reason": "stop",
                }
            ]
        },
        [
            {"choices": [{"index": 0, "message": {"content": "I "}, "stop_reason": None}]},
            {
                "choices": [{"index": 0, "message": {"content": "am."}, "stop_reason": "stop"}],
                **MEASURED,
            },
        ],
        "stop",
        (COUNTED, COUNTED),
        id="mistral with messages",
    ),
    pytest.param(
        "us.mistral.pixtral-large-2502-v1:0",
        {
            "choices": [{"index": 0, "message": {"content": "I am."}, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 13},
        },
        [
            {"choices": [{"index": 0, "delta": {"content": "I "}, "finish_reason": None}]},
            {
                "choices": [{"index": 0, "delta": {"content": "am."}, "finish_reason": "length"}],
                "usage": {"prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 13},
                **MEASURED,
            },
        ],
        "length",
        (usage(4, 9), usage(4, 9)),
        id="pixtral",
    ),
    pytest.param(
        COHERE,
        {"response_id": "1", "text": "I am.", "generation_id": "2", "finish_reason": "COMPLETE"},
        [
            {"is_finished": False, "event_type": "stream-start"},
            {"is_finished": False, "event_type": "text-generation", "text": "I "},
            {"is_finished": False, "event_type": "text-generation", "text": "am."},
            {
                "is_finished": True,
                "event_type": "stream-end",
                "finish_reason": "COMPLETE",
                "response": {"text": "I am."},
                **MEASURED,
            },
        ],
        "stop",
        (COUNTED, COUNTED),
        id="cohere's R",
    ),
    pytest.param(
        COHERE_OLD,
        {"generations": [{"finish_reason": "MAX_TOKENS", "id": "1", "text": "I am."}]},
        [
            {"text": "I ", "is_finished": False},
            {"text": "am.", "is_finished": False},
            {"is_finished": True, "finish_reason": "MAX_TOKENS", **MEASURED},
        ],
        "length",
        (COUNTED, COUNTED),
        id="cohere with a prompt",
    ),
    pytest.param(
        NOVA,
        {
            "output": {"message": {"content": [{"text": "I am."}], "role": "assistant"}},
            "stopReason": "end_turn",
            "usage": {
                "inputTokens": 4,
                "outputTokens": 9,
                "totalTokens": 13,
                "cacheReadInputTokenCount": 2,
                "cacheWriteInputTokenCount": 3,
            },
        },
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"text": "I "}, "contentBlockIndex": 0}},
            {"contentBlockDelta": {"delta": {"text": "am."}, "contentBlockIndex": 0}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {
                "metadata": {
                    "usage": {
                        "inputTokens": 4,
                        "outputTokens": 9,
                        "cacheReadInputTokenCount": 2,
                        "cacheWriteInputTokenCount": 3,
                    },
                    "metrics": {},
                    "trace": {},
                },
                **MEASURED,
            },
        ],
        "stop",
        (usage(4, 9, 2, 3), usage(4, 9, 2, 3)),
        id="nova",
    ),
]


def read_all(stream):
    pieces = []
    while (read := stream.read()) is not None:
        pieces += read
    return pieces


@pytest.mark.parametrize(("model_id", "body", "events", "reason", "expected"), ANSWERS)
def test_a_familys_answers(  # noqa: PLR0917 - a table
    invoke, deadline_ms, model_id, body, events, reason, expected
):
    whole, _ = invoke(Reply(200, HEADERS, (json.dumps(body).encode(),)))
    streamed, server = invoke(Reply(200, STREAMING, tuple(map(chunk, events))))

    answer = whole.chat(model_id, ASK, deadline_ms=deadline_ms)
    stream = streamed.stream(model_id, ASK, deadline_ms=deadline_ms)
    pieces = read_all(stream)

    assert (answer.text, answer.finish_reason) == ("I am.", reason)
    assert (answer.model, answer.service_tier) == (model_id, "flex")
    assert answer.usage == expected[0]
    assert answer.raw_usage
    assert pieces == [{"text": "I "}, {"text": "am."}]
    assert stream.answer.finish_reason == reason
    assert stream.answer.spent() == (expected[1], False)
    assert server.asked[0].target.endswith("/invoke-with-response-stream")


@pytest.mark.parametrize(("model_id", "body", "events", "reason", "expected"), ANSWERS)
def test_a_stream_without_its_last_chunk_is_cut(  # noqa: PLR0917 - a table
    invoke, deadline_ms, model_id, body, events, reason, expected
):
    del body, reason, expected
    provider, _ = invoke(Reply(200, STREAMING, tuple(map(chunk, events[:-1]))))
    stream = provider.stream(model_id, ASK, deadline_ms=deadline_ms)

    with pytest.raises(ProviderError) as raised:
        read_all(stream)
    assert raised.value.kind == "CutStream"


PROFILES = [
    (f"arn:aws:bedrock:us-east-1:1:inference-profile/{LLAMA_3}", "bedrock.llama"),
    ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2:1", "bedrock.claude"),
    (f"global.{CLAUDE[3:]}", "bedrock.claude"),
    (NOVA, "bedrock.nova"),
    (TITAN, "bedrock.titan"),
    (MISTRAL, "bedrock.mistral"),
    (COHERE, "bedrock.cohere"),
    ("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2", "bedrock.invoke"),
    ("arn:aws:bedrock:us-east-1:1:provisioned-model/a1b2", "bedrock.invoke"),
    ("ai21.jamba-1-5-mini-v1:0", "bedrock.invoke"),
]


@pytest.mark.parametrize(("model_id", "name"), PROFILES)
def test_the_family_is_told_by_the_id(model_id, name):
    assert find_dialect("bedrock.invoke", model_id).name == name


def test_of_an_unknown_family_the_tokens_are_read():
    dialect = find_dialect("bedrock.invoke", "ai21.jamba-1-5-mini-v1:0")

    answer = dialect.decode("m", list(HEADERS.items()), b'{"whatever": "it says"}')
    reader = dialect.read_stream("m", [])
    pieces = reader.feed(chunk({"x": 1}) + chunk({"y": 2, **MEASURED}))
    reader.end()

    assert (answer.usage, answer.raw_usage["inputTokenCount"]) == (COUNTED, 7)
    assert pieces == []
    assert reader.answer.spent() == (COUNTED, False)


@pytest.mark.parametrize(
    ("model_id", "body", "headers", "expected"),
    [
        (
            "amazon.titan-embed-text-v2:0",
            {"embedding": [0.1], "inputTextTokenCount": 3},
            HEADERS,
            usage(3, 0),
        ),
        ("cohere.embed-v4:0", {"embeddings": {"float": [[0.1]]}}, HEADERS, COUNTED),
        (MISTRAL, {"choices": []}, {}, usage(0, 0)),
    ],
)
def test_the_tokens_of_a_clients_own_answers(model_id, body, headers, expected):
    dialect = find_dialect("bedrock.invoke", model_id)

    answer = dialect.decode(model_id, list(headers.items()), json.dumps(body).encode())

    assert answer.usage == expected


@pytest.mark.parametrize(
    "content",
    [
        {"bytes": "not Base64!"},
        {"bytes": 5},
        {},
        {"bytes": base64.b64encode(b"[1]").decode()},
        {"bytes": base64.b64encode(b'{"amazon-bedrock-invocationMetrics": 5}').decode()},
    ],
)
def test_a_chunk_that_is_none(content):
    headers = {":event-type": "chunk", ":message-type": "event"}
    reader = find_dialect("bedrock.invoke", TITAN).read_stream(TITAN, [])

    with pytest.raises(ProviderError) as raised:
        reader.feed(encode(headers, json.dumps(content).encode()))
    assert (raised.value.kind, raised.value.sent) == ("MalformedReply", True)


def test_a_refusal_names_the_model():
    headers = [("x-amzn-errortype", "ThrottlingException")]
    for dialect in ("bedrock.invoke", "bedrock.converse"):
        error = find_dialect(dialect, CLAUDE).refusal(CLAUDE, 429, headers, b'{"message": "Slow"}')
        assert (error.kind, error.retryable, error.sent) == ("ThrottlingException", True, False)
        assert CLAUDE in error.detail


def test_somebody_elses_bedrock_answers_a_client_of_its_own(ministack):
    body = json.dumps(
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 20,
            "messages": [{"role": "user", "content": "Hi"}],
        }
    )
    model_id = "anthropic.claude-3-haiku-20240307-v1:0"
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=ministack,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI",
        config=Config(retries={"total_max_attempts": 1}),
    )
    theirs = json.loads(client.invoke_model(modelId=model_id, body=body)["body"].read())
    client.close()
    dialect = find_dialect("bedrock.invoke", model_id)

    answer = dialect.decode(model_id, [], json.dumps(theirs).encode())

    assert answer.text == theirs["content"][0]["text"]
    assert answer.usage["output_tokens"] == theirs["usage"]["output_tokens"]


def test_an_optimized_latency_is_billed_by_itself(invoke, deadline_ms):
    headers = {**HEADERS, "x-amzn-bedrock-performanceconfig-latency": "optimized"}
    body = {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 9}}
    provider, _ = invoke(Reply(200, headers, (json.dumps(body).encode(),)))
    answer = provider.chat("us.anthropic.claude-haiku-4-5", ASK, deadline_ms=deadline_ms)
    assert answer.service_tier == "optimized"
