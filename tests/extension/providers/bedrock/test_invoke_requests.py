"""Models through InvokeModel: what each family is asked, and what it cannot be asked."""

import pytest

from fakes.api_server import Reply
from lambdallm_extension.errors import InvalidRequestError, ProviderError

HEADERS = {"content-type": "application/json"}

TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "Who are you?"},
]
ASK = {
    "system": "Be kind.",
    "messages": TURNS,
    "max_tokens": 50,
    "temperature": 0.5,
    "stop_sequences": ["X"],
}

TITAN = "amazon.titan-text-express-v1"
LLAMA_3 = "us.meta.llama3-3-70b-instruct-v1:0"
LLAMA_4 = "us.meta.llama4-scout-17b-instruct-v1:0"
MISTRAL_7B = "mistral.mistral-7b-instruct-v0:2"
MISTRAL = "mistral.mistral-large-2407-v1:0"
COHERE = "cohere.command-r-v1:0"
COHERE_OLD = "cohere.command-text-v14"
NOVA = "us.amazon.nova-lite-v1:0"
CLAUDE = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"

PROMPT_LLAMA_3 = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWho are you?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)


@pytest.mark.parametrize(
    ("model_id", "expected"),
    [
        (
            TITAN,
            {
                "inputText": "Be kind.\n\nUser: Hi\nBot: Hello.\nUser: Who are you?\nBot:",
                "textGenerationConfig": {
                    "maxTokenCount": 50,
                    "temperature": 0.5,
                    "stopSequences": ["X"],
                },
            },
        ),
        (LLAMA_3, {"prompt": PROMPT_LLAMA_3, "max_gen_len": 50, "temperature": 0.5}),
        (
            MISTRAL_7B,
            {
                "prompt": "<s>[INST] Be kind.\n\nHi [/INST] Hello.</s>[INST] Who are you? [/INST]",
                "max_tokens": 50,
                "temperature": 0.5,
                "stop": ["X"],
            },
        ),
        (
            MISTRAL,
            {
                "messages": [{"role": "system", "content": "Be kind."}, *TURNS],
                "max_tokens": 50,
                "temperature": 0.5,
                "stop": ["X"],
            },
        ),
        (
            COHERE,
            {
                "message": "Who are you?",
                "chat_history": [
                    {"role": "USER", "message": "Hi"},
                    {"role": "CHATBOT", "message": "Hello."},
                ],
                "preamble": "Be kind.",
                "max_tokens": 50,
                "temperature": 0.5,
                "stop_sequences": ["X"],
            },
        ),
        (
            COHERE_OLD,
            {
                "prompt": "Be kind.\nHi\nHello.\nWho are you?",
                "max_tokens": 50,
                "temperature": 0.5,
                "stop_sequences": ["X"],
            },
        ),
        (
            NOVA,
            {
                "schemaVersion": "messages-v1",
                "system": [{"text": "Be kind."}],
                "messages": [
                    {"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in TURNS
                ],
                "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "stopSequences": ["X"]},
            },
        ),
        (
            CLAUDE,
            {
                "anthropic_version": "bedrock-2023-05-31",
                "system": "Be kind.",
                "messages": [
                    {"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]}
                    for turn in TURNS
                ],
                "max_tokens": 50,
                "temperature": 0.5,
                "stop_sequences": ["X"],
            },
        ),
    ],
)
def test_a_familys_requests(invoke, deadline_ms, model_id, expected):
    provider, server = invoke(Reply(500, HEADERS, (b"{}",)))

    with pytest.raises(ProviderError):
        provider.chat(model_id, {**ASK, "service_tier": "flex"}, deadline_ms=deadline_ms)

    (asked,) = server.asked
    assert asked.json == expected
    assert asked.headers["x-amzn-bedrock-service-tier"] == "flex"


def test_llama_4_has_marks_of_its_own(invoke, deadline_ms):
    provider, server = invoke(Reply(500, HEADERS, (b"{}",)))

    with pytest.raises(ProviderError):
        provider.chat(LLAMA_4, {"messages": TURNS[:1]}, deadline_ms=deadline_ms)

    assert server.asked[0].json["prompt"] == (
        "<|begin_of_text|><|header_start|>user<|header_end|>\n\nHi<|eot|>"
        "<|header_start|>assistant<|header_end|>\n\n"
    )


def test_additional_fields_go_into_the_body(invoke, deadline_ms):
    provider, server = invoke(Reply(500, HEADERS, (b"{}",)))

    with pytest.raises(ProviderError):
        provider.chat(COHERE, {**ASK, "additional_fields": {"k": 3}}, deadline_ms=deadline_ms)

    assert server.asked[0].json["k"] == 3


@pytest.mark.parametrize(
    ("model_id", "request_", "words"),
    [
        (LLAMA_3, {"tools": [{"name": "clock"}]}, "no tools through InvokeModel"),
        (TITAN, {"output_schema": {}, "reasoning": {"effort": "low"}}, "no reasoning"),
        (COHERE, {"messages": TURNS[:2]}, "ends with a user message"),
        (
            MISTRAL,
            {"messages": [{"role": "user", "content": [{"image": {}}]}]},
            "content that is no text",
        ),
        ("ai21.jamba-1-5-mini-v1:0", {}, "ask bedrock/ai21"),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc", {}, "Converse"),
    ],
)
def test_what_a_family_has_no_form_for(invoke, deadline_ms, model_id, request_, words):
    provider, server = invoke(Reply(200, HEADERS, (b"{}",)))

    with pytest.raises(InvalidRequestError, match=words):
        provider.chat(model_id, {"messages": TURNS[:1], **request_}, deadline_ms=deadline_ms)
    assert server.asked == []


def test_somebody_elses_bedrock_streams_a_claude(ministack, open_named, deadline_ms):
    provider = open_named("bedrock-invoke", AWS_ENDPOINT_URL=ministack)
    model_id = "anthropic.claude-3-haiku-20240307-v1:0"
    request = {"messages": TURNS[:1], "max_tokens": 50}

    answer = provider.chat(model_id, request, deadline_ms=deadline_ms)
    stream = provider.stream(model_id, request, deadline_ms=deadline_ms)
    while stream.read() is not None:
        pass

    assert answer.text == stream.answer.text
    assert answer.usage["output_tokens"] == stream.answer.spent()[0]["output_tokens"] > 0
