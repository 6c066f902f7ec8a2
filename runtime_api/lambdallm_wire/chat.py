"""One model call: what is asked, what comes back, what it used.

Token counts are disjoint: a request's whole input is the sum of `uncached_input_tokens`,
`cache_read_tokens` and both `cache_write_*` counts. Money is whole pico-USD (1e-12 USD).
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from lambdallm_wire.tokens import input_tokens  # noqa: F401 - older layers look for it here

Role = Literal["user", "assistant"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "other"]


class ChatMessage(TypedDict):
    """One message: text, or blocks in the form of Bedrock's Converse content blocks.

    Shape:
        {"role": "user", "content": "text"}
        {"role": "user", "content": [{"text": "text"}, {"image": {…}}]}

    A role `system` is allowed here too; the sidecar moves such messages into the system prompt.
    """

    role: str
    content: str | list[dict[str, Any]]


class Usage(TypedDict):
    """Tokens of one call, in disjoint counts."""

    uncached_input_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int


class ChatRequest(TypedDict, total=False):
    """What to ask. `work_id`, `call_id`, `model` and `messages` are always there.

    Args:
        work_id: The unit of work that pays for it.
        call_id: Made by the caller before the first attempt; the key of the call's record.
        model: `provider/model`, for example `bedrock/us.amazon.nova-micro-v1:0`.
        messages: The conversation, oldest first.
        system: System prompt, or absent.
        max_tokens, temperature, top_p, stop_sequences: Sent only when present.
        region: Where to ask, when not in the environment's own region.
        max_retries: Further attempts after the first one failed retryably.
        fallback_model: Asked once after `model` has failed for good.
        deadline_epoch_ms: The caller has no use for an answer after this instant.
    """

    work_id: str
    call_id: str
    model: str
    messages: list[ChatMessage]
    system: str
    max_tokens: int
    temperature: float
    top_p: float
    stop_sequences: list[str]
    region: str
    max_retries: int
    fallback_model: str
    deadline_epoch_ms: int


class ChatResponse(TypedDict):
    """What came back.

    `cost_pico_usd` is None when the price book has no price for the model: unknown, never 0.
    `total_*` count the whole unit of work up to and including this call.
    """

    call_id: str
    model: str
    text: str
    content: list[dict[str, Any]]
    finish_reason: FinishReason
    usage: Usage
    cost_pico_usd: int | None
    latency_ms: int
    attempts: int
    total_cost_pico_usd: int
    total_unpriced_calls: int
