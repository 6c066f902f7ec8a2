"""Clients that never heard of budgets, before a nearly empty one: nothing slips past it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import anthropic
import botocore.exceptions
import openai
import pytest

from fakes.api_server import ApiServer, Reply
from fakes.served_engine import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fakes.served_engine import Gateway


OPENAI, CLAUDE = "gpt-5-mini", "claude-haiku-4-5"
NOVA = "us.amazon.nova-lite-v1:0"
BEDROCK_CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"

NEARLY_EMPTY_USD = "0.006"

REFUSALS = (openai.RateLimitError, anthropic.RateLimitError, botocore.exceptions.ClientError)

ANSWER = {
    "id": "x", "object": "chat.completion", "created": 1, "model": OPENAI,
    "choices": [{"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "Yes."}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}  # fmt: skip


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer(reply(ANSWER)) as server:
        yield server


def reply(body: Any) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, (json.dumps(body).encode(),))


@pytest.fixture
def limited(
    gateway: Callable[..., Gateway], api: ApiServer, tmp_path: Path
) -> Callable[..., Gateway]:
    """Open a gateway whose day has so many dollars."""

    def make(usd: str, more: str = "") -> Gateway:
        path = tmp_path / "lambdallm.yaml"
        path.write_text(f"cost:\n  budget: {{daily: '{usd}'}}\n{more}", encoding="utf-8")
        return gateway(api.url, LAMBDALLM_CONFIG=str(path))

    return make


def chat(gateway: Gateway, content: Any = "Hello", **more: Any) -> object:
    client = gateway.openai(max_retries=0)
    options = {"model": OPENAI, "max_completion_tokens": 16, **more}
    return client.chat.completions.create(messages=said(content), **options)


def respond(gateway: Gateway, **more: Any) -> object:
    options = {"model": OPENAI, "max_output_tokens": 16, "input": "Hello", **more}
    return gateway.openai(max_retries=0).responses.create(**options)


def message(gateway: Gateway, content: Any = "Hello", **more: Any) -> object:
    options = {"model": CLAUDE, "max_tokens": 16, **more}
    return gateway.anthropic(max_retries=0).messages.create(messages=said(content), **options)


def converse(gateway: Gateway, *content: Any, **more: Any) -> object:
    options = {"modelId": NOVA, "inferenceConfig": {"maxTokens": 16}, **more}
    messages = [{"role": "user", "content": [*content]}]
    return gateway.bedrock().converse(messages=messages, **options)


def converse_raw(gateway: Gateway, **body: Any) -> object:
    """Send what boto3 itself would not: fields that Converse has no use for."""

    def replace(params: dict[str, Any], **_: Any) -> None:
        params["body"] = json.dumps(body).encode()

    client = gateway.bedrock()
    client.meta.events.register("before-call.bedrock-runtime.Converse", replace)
    return client.converse(modelId=BEDROCK_CLAUDE)


def invoke(gateway: Gateway, model_id: str, **body: Any) -> object:
    return gateway.bedrock().invoke_model(modelId=model_id, body=json.dumps(body))


def let_through(gateway: Gateway, ask: Callable[[Gateway], object]) -> int:
    """Return how many of fifty are."""
    for number in range(50):
        try:
            ask(gateway)
        except REFUSALS:
            return number
    return 50


BUCKET = {"s3Location": {"uri": "s3://bucket/key"}}
PDF = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
PICTURE = "https://example.com/a.png"

UNBOUNDED: list[Callable[[Gateway], object]] = [
    lambda gateway: chat(gateway, [{"type": "image_url", "image_url": {"url": PICTURE}}]),
    lambda gateway: chat(gateway, [{"type": "file", "file": {"file_id": "file-1"}}]),
    lambda gateway: chat(gateway, n=100, max_completion_tokens=16_000),
    lambda gateway: chat(gateway, max_completion_tokens=None),
    lambda gateway: chat(gateway, model="gpt-4o-search-preview"),
    lambda gateway: respond(gateway, previous_response_id="resp_1"),
    lambda gateway: respond(gateway, conversation="conv_1"),
    lambda gateway: respond(gateway, prompt={"id": "pmpt_1"}),
    lambda gateway: respond(gateway, input=[{"type": "item_reference", "id": "msg_1"}]),
    lambda gateway: respond(gateway, tools=[{"type": "web_search"}]),
    lambda gateway: message(
        gateway, [{"type": "image", "source": {"type": "url", "url": PICTURE}}]
    ),
    lambda gateway: message(gateway, [PDF]),
    lambda gateway: message(gateway, tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    lambda gateway: gateway.anthropic(max_retries=0).beta.messages.create(
        model=CLAUDE, max_tokens=16, betas=["files-api-2025-04-14"],
        messages=said([{"type": "document", "source": {"type": "file", "file_id": "f"}}]),
    ),
    lambda gateway: converse(gateway, {"image": {"format": "png", "source": BUCKET}}),
    lambda gateway: converse(gateway, {"video": {"format": "mp4", "source": BUCKET}}),
    lambda gateway: converse(
        gateway, {"text": "Hello"}, modelId=BEDROCK_CLAUDE, inferenceConfig={}
    ),
    lambda gateway: converse(
        gateway, {"text": "Hello"}, additionalModelRequestFields={"max_tokens": 600_000}
    ),
    lambda gateway: converse_raw(
        gateway, messages=said([{"type": "text", "text": "Hello"}]), max_tokens=16
    ),
    lambda gateway: converse_raw(gateway, promptVariables={}, max_tokens=16),
    lambda gateway: gateway.bedrock().invoke_model(modelId=NOVA, body=b"no JSON"),
    lambda gateway: gateway.openai(max_retries=0).audio.speech.create(
        model="tts-1", voice="alloy", input="Hello"
    ),
    lambda gateway: gateway.openai(max_retries=0).batches.create(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id="file-1"
    ),
    lambda gateway: chat(gateway, [{"type": "input_audio",
                                    "input_audio": {"data": "UklGR", "format": "wav"}}]),
    lambda gateway: chat(
        gateway, max_completion_tokens=None, extra_body={"max_output_tokens": 16}
    ),
    lambda gateway: chat(gateway, prediction={"type": "content", "content": "x" * 20_000}),
    lambda gateway: chat(gateway, web_search_options={}),
    lambda gateway: respond(gateway, input=[{"type": "reasoning", "id": "rs_1", "summary": []}]),
    lambda gateway: respond(
        gateway, input=[{"type": "image_generation_call", "id": "ig_1", "result": None,
                         "status": "completed"}]
    ),
    lambda gateway: respond(
        gateway, input=said([{"type": "input_file", "file_url": "https://example.com/a.pdf"}])
    ),
    lambda gateway: respond(
        gateway, input=said([{"type": "input_image", "file_id": "f", "detail": "low"}])
    ),
    lambda gateway: respond(gateway, tools=[{"type": "image_generation"}]),
    lambda gateway: respond(
        gateway, tools=[{"type": "mcp", "server_label": "s", "server_url": "https://example.com"}]
    ),
    lambda gateway: respond(
        gateway, tools=[{"type": "code_interpreter", "container": {"type": "auto"}}]
    ),
    lambda gateway: respond(
        gateway, tools=[{"type": "file_search", "vector_store_ids": ["vs_1"]}]
    ),
    lambda gateway: message(gateway, thinking={"type": "enabled", "budget_tokens": 60_000}),
    lambda gateway: message(gateway, extra_body={"mcp_servers": [{"url": "https://example.com"}]}),
    lambda gateway: message(
        gateway, tools=[{"type": "code_execution_20250825", "name": "code_execution"}]
    ),
    lambda gateway: message(
        gateway, extra_body={"tools": [{"type": "advisor_20260301", "name": "advisor",
                                        "model": "claude-opus-4-8", "max_uses": 1}]}
    ),
    lambda gateway: message(
        gateway, extra_body={"context_management": {"edits": [{"type": "compact_20260112"}]}}
    ),
    lambda gateway: gateway.anthropic(max_retries=0).messages.batches.create(
        requests=[{"custom_id": "1", "params": {"model": CLAUDE, "max_tokens": 16,
                                                "messages": said("Hello")}}]
    ),
    lambda gateway: converse(
        gateway, {"document": {"format": "pdf", "name": "a", "source": {"bytes": b"%PDF"}}},
        modelId=BEDROCK_CLAUDE,
    ),
    lambda gateway: converse(
        gateway, {"text": "Hello"}, modelId=BEDROCK_CLAUDE,
        additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 60_000}},
    ),
    lambda gateway: gateway.bedrock().converse_stream(
        modelId=BEDROCK_CLAUDE, messages=[{"role": "user", "content": [{"text": "Hello"}]}]
    ),
    lambda gateway: converse(
        gateway, {"text": "Hello"}, performanceConfig={"latency": "optimized"}
    ),
    lambda gateway: gateway.bedrock().apply_guardrail(
        guardrailIdentifier="g", guardrailVersion="1", source="INPUT",
        content=[{"text": {"text": "Hello"}}],
    ),
    lambda gateway: gateway.bedrock().start_async_invoke(
        modelId="amazon.nova-reel-v1:0", modelInput={},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://b/k"}},
    ),
    lambda gateway: invoke(gateway, "us.meta.llama3-3-70b-instruct-v1:0", prompt="Hello"),
    lambda gateway: invoke(gateway, "us.amazon.nova-premier-v1:0", schemaVersion="messages-v1",
                           messages=said([{"text": "Hello"}]), max_tokens=16),
    lambda gateway: invoke(gateway, "cohere.command-r-plus-v1:0", message="Hello",
                           max_tokens=1_000, num_generations=5),
    lambda gateway: invoke(gateway, "mistral.mistral-large-2407-v1:0", prompt="Hello"),
    lambda gateway: invoke(gateway, BEDROCK_CLAUDE, anthropic_version="bedrock-2023-05-31",
                           max_tokens=16, messages=said([PDF])),
    lambda gateway: invoke(gateway, "amazon.titan-image-generator-v2:0", taskType="TEXT_IMAGE",
                           textToImageParams={"text": "A dog"}),
    lambda gateway: invoke(gateway, "amazon.titan-embed-image-v1", inputImage="iVBORw0KGgo"),
    lambda gateway: invoke(
        gateway, "amazon.nova-2-multimodal-embeddings-v1:0", taskType="SINGLE_EMBEDDING",
        singleEmbeddingParams={"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo"}}},
    ),
    lambda gateway: invoke(gateway, "cohere.rerank-v3-5:0", query="Who?", documents=["He."]),
    lambda gateway: gateway.openai(max_retries=0).images.generate(model="gpt-image-1", prompt="A"),
    lambda gateway: gateway.openai(max_retries=0).audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("a.wav", b"RIFF")
    ),
    lambda gateway: gateway.openai(max_retries=0).completions.create(
        model="gpt-3.5-turbo-instruct", prompt=["Hello"] * 100, max_tokens=16
    ),
]  # fmt: skip

BOUNDED: list[Callable[[Gateway], object]] = [
    chat,
    lambda gateway: chat(gateway, n=2),
    respond,
    message,
    lambda gateway: converse(gateway, {"text": "Hello"}),
    lambda gateway: invoke(gateway, NOVA, messages=said([{"text": "Hello"}]),
                           inferenceConfig={"maxTokens": 16}),
    lambda gateway: invoke(gateway, "us.meta.llama3-3-70b-instruct-v1:0", prompt="Hello",
                           max_gen_len=16),
    lambda gateway: invoke(gateway, "mistral.mistral-large-2407-v1:0", prompt="Hello",
                           max_tokens=16),
    lambda gateway: invoke(gateway, "cohere.command-r-v1:0", message="Hello", max_tokens=16),
    lambda gateway: invoke(gateway, "amazon.titan-text-express-v1", inputText="Hello",
                           textGenerationConfig={"maxTokenCount": 16}),
    lambda gateway: invoke(gateway, BEDROCK_CLAUDE, anthropic_version="bedrock-2023-05-31",
                           max_tokens=16, messages=said("Hello")),
    lambda gateway: invoke(gateway, "amazon.titan-embed-text-v2:0", inputText="Hello"),
    lambda gateway: gateway.openai(max_retries=0).embeddings.create(
        model="text-embedding-3-small", input=["Hello"] * 100, encoding_format="float"
    ),
]  # fmt: skip


@pytest.mark.parametrize("ask", UNBOUNDED)
def test_what_the_body_does_not_bound_is_refused_before_a_nearly_empty_budget(
    limited: Callable[..., Gateway], api: ApiServer, ask: Callable[[Gateway], object]
) -> None:
    """The same budget has room for the same questions as text; see the next test."""
    with pytest.raises(REFUSALS) as refused:
        ask(limited(NEARLY_EMPTY_USD))

    assert "budget" in str(refused.value).lower()
    assert not api.asked, "nothing was sent"


@pytest.mark.parametrize("ask", BOUNDED)
def test_what_it_bounds_is_let_through(
    limited: Callable[..., Gateway], api: ApiServer, ask: Callable[[Gateway], object]
) -> None:
    with contextlib.suppress(Exception):  # the answer is that of another API
        ask(limited(NEARLY_EMPTY_USD))

    assert len(api.asked) == 1


def test_a_call_without_a_limit_needs_what_its_model_can_write(
    limited: Callable[..., Gateway], api: ApiServer
) -> None:
    """Haiku 3 writes 4,096 tokens, at 1.25 dollars a million; Haiku 4.5 64,000 at 5."""
    gateway = limited("0.01")
    haiku_3 = "anthropic.claude-3-haiku-20240307-v1:0"

    with pytest.raises(REFUSALS):
        converse(gateway, {"text": "Hello"}, modelId=BEDROCK_CLAUDE, inferenceConfig={})
    with contextlib.suppress(Exception):
        converse(gateway, {"text": "Hello"}, modelId=haiku_3, inferenceConfig={})

    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda gateway: gateway.openai().models.list(),
        lambda gateway: gateway.openai().responses.retrieve("resp_1"),
        lambda gateway: gateway.anthropic().messages.count_tokens(
            model=CLAUDE, messages=said("Hello")
        ),
    ],
)
def test_what_generates_nothing_needs_no_budget(
    limited: Callable[..., Gateway], api: ApiServer, ask: Callable[[Gateway], object]
) -> None:
    ask(limited("0.000000001"))

    assert len(api.asked) == 1


@pytest.mark.parametrize(
    "said_of_it",
    [
        {key: value for key, value in ANSWER.items() if key != "usage"},
        {**ANSWER, "usage": None},
    ],
)
def test_an_answer_that_says_no_usage_counts_as_the_most(
    limited: Callable[..., Gateway], api: ApiServer, said_of_it: Any
) -> None:
    api.replies = [reply(said_of_it)]
    assert 0 < let_through(limited("0.02"), chat) < 50


def test_a_response_in_the_background_counts_as_the_most(
    limited: Callable[..., Gateway], api: ApiServer
) -> None:
    """Its usage is only told later, to whoever asks for it."""
    queued = {"id": "resp_1", "object": "response", "created_at": 1, "model": OPENAI,
              "status": "queued", "background": True, "output": [], "usage": None,
              "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip
    api.replies = [reply(queued)]
    assert 0 < let_through(limited("0.02"), lambda to: respond(to, background=True)) < 50
