"""Clients that never heard of budgets, before a nearly empty one: nothing slips past it."""

from __future__ import annotations

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
    lambda gateway: converse(gateway, {"text": "Hello"}, inferenceConfig={}),
    lambda gateway: converse(
        gateway, {"text": "Hello"}, additionalModelRequestFields={"max_tokens": 600_000}
    ),
    lambda gateway: gateway.bedrock().invoke_model(modelId=NOVA, body=b"no JSON"),
    lambda gateway: gateway.openai(max_retries=0).audio.speech.create(
        model="tts-1", voice="alloy", input="Hello"
    ),
    lambda gateway: gateway.openai(max_retries=0).batches.create(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id="file-1"
    ),
]  # fmt: skip


@pytest.mark.parametrize("ask", UNBOUNDED)
def test_what_the_body_does_not_bound_is_refused_before_a_nearly_empty_budget(
    limited: Callable[..., Gateway], api: ApiServer, ask: Callable[[Gateway], object]
) -> None:
    """The same budget has room for the same question as text; see the next test."""
    with pytest.raises(REFUSALS) as refused:
        ask(limited("0.02"))

    assert "budget" in str(refused.value).lower()
    assert not api.asked, "nothing was sent"


def test_what_it_bounds_is_let_through(limited: Callable[..., Gateway], api: ApiServer) -> None:
    gateway = limited("0.02")
    chat(gateway)
    chat(gateway, n=2)

    assert len(api.asked) == 2


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
