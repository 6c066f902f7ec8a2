"""Recorded shapes of Bedrock's usage and stop reasons, each with where it was seen."""

import json

import pytest

from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.bedrock.reply import decode, decode_usage

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def counts(uncached=0, read=0, write_5m=0, write_1h=0, output=0):
    return {
        "uncached_input_tokens": uncached,
        "cache_read_tokens": read,
        "cache_write_5m_tokens": write_5m,
        "cache_write_1h_tokens": write_1h,
        "output_tokens": output,
    }


@pytest.mark.parametrize(
    ("model_id", "usage", "expected"),
    [
        pytest.param(
            MODEL,
            {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658},
            counts(30, output=628),
            id="the example of the Converse page in the Bedrock API reference",
        ),
        pytest.param(
            MODEL,
            {
                "inputTokens": 4,
                "outputTokens": 100,
                "totalTokens": 4104,
                "cacheReadInputTokens": 3000,
                "cacheWriteInputTokens": 1000,
                "cacheReadInputTokenCount": 3000,
                "cacheWriteInputTokenCount": 1000,
                "serverToolUsage": {},
            },
            counts(4, 3000, 1000, output=100),
            id="both names of one count, as in tensorzero issue 5688",
        ),
        pytest.param(
            MODEL,
            {
                "inputTokens": 4,
                "outputTokens": 1,
                "totalTokens": 35,
                "cacheReadInputTokenCount": 10,
                "cacheWriteInputTokenCount": 20,
            },
            counts(4, 10, 20, output=1),
            id="the older names alone",
        ),
        pytest.param(
            MODEL,
            {
                "inputTokens": 4,
                "outputTokens": 1,
                "totalTokens": 5,
                "cacheReadInputTokens": 0,
                "cacheReadInputTokenCount": 10,
            },
            counts(4, 0, output=1),
            id="an explicit zero is a count, as in litellm issue 37992",
        ),
        pytest.param(
            MODEL,
            {
                "inputTokens": 4,
                "outputTokens": 1,
                "totalTokens": 1505,
                "cacheReadInputTokens": 0,
                "cacheWriteInputTokens": 1500,
                "cacheDetails": [
                    {"ttl": "1h", "inputTokens": 1200},
                    {"ttl": "5m", "inputTokens": 300},
                ],
            },
            counts(4, 0, 300, 1200, output=1),
            id="cacheDetails of the service model, botocore 1.43",
        ),
        pytest.param(
            "global.openai.gpt-5.6-sol",
            {
                "inputTokens": 4995,
                "outputTokens": 19,
                "totalTokens": 10007,
                "cacheWriteInputTokens": 4993,
            },
            counts(2, 0, 4993, output=19),
            id="cached tokens counted twice, as in bifrost pull request 6942",
        ),
        pytest.param(
            "us.openai.gpt-5.6-sol",
            {
                "inputTokens": 2,
                "outputTokens": 19,
                "totalTokens": 5014,
                "cacheWriteInputTokens": 4993,
            },
            counts(2, 0, 4993, output=19),
            id="the same model, the same prompt, counted once",
        ),
    ],
)
def test_usage(model_id, usage, expected):
    assert decode_usage(model_id, usage) == expected


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_model_output", "other"),
        ("malformed_tool_use", "other"),
        ("invented_tomorrow", "other"),
    ],
)
def test_every_stop_reason_has_its_word(stop_reason, finish_reason):
    assert decode(MODEL, reply(stopReason=stop_reason), "r").finish_reason == finish_reason


def reply(**changed):
    whole = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
    }
    return json.dumps({**whole, **changed}).encode()


def test_reasoning_is_content_and_not_text():
    content = [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "x"}}},
        {"text": "Hello"},
        {"text": "."},
    ]
    answer = decode(MODEL, reply(output={"message": {"content": content}}), "r")

    assert answer.text == "Hello."
    assert answer.content == content


def test_an_answer_without_words_is_an_answer():
    assert decode(MODEL, reply(output={"message": {"content": []}}), "r").text == ""


def test_a_prompt_router_names_the_model_that_answered():
    invoked = "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0"
    body = reply(trace={"promptRouter": {"invokedModelId": invoked}})

    assert decode("arn:aws:bedrock:us-east-1:1:prompt-router/x", body, "r").model == invoked
    assert decode(MODEL, reply(), "r").model == MODEL


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"output": {}}',
        reply(output={"message": {"content": None}}),
        reply(output={"message": {"content": [{"text": 5}]}}),
        reply(usage=None),
        reply(usage={"inputTokens": 1}),
        reply(usage={"inputTokens": -1, "outputTokens": 1}),
        reply(usage={"inputTokens": "1", "outputTokens": 1}),
        reply(usage={"inputTokens": 1, "outputTokens": 1, "cacheDetails": 5}),
        reply(stopReason=[]),
        reply(trace=[1]),
        b"[" * 100_000,
    ],
)
def test_a_malformed_200_was_sent_and_is_not_asked_again(body):
    with pytest.raises(ProviderError, match="not a Converse reply") as raised:
        decode(MODEL, body, "request-1")

    assert raised.value.sent
    assert not raised.value.retryable
    assert raised.value.status == 200
    assert "request-1" in raised.value.detail
