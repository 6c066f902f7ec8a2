"""A reply of Bedrock's Converse as a canonical answer.

Source: Bedrock API Reference, "Converse" and "TokenUsage", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.domain.answers import ChatAnswer
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.bedrock.models import counts_cache_in_input
from lambdallm_extension.providers.counts import count
from lambdallm_extension.providers.readings import UNREADABLE, load_reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import FinishReason, Usage

_FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}
"""`malformed_model_output`, `malformed_tool_use` and whatever comes later are `other`."""


def decode(model_id: str, body: bytes, request_id: str) -> ChatAnswer:
    """Read a 200.

    Raises:
        ProviderError: It is not what Converse answers. The generation was made all the same, so
            it is not retryable.
    """
    try:
        reply = load_reply(body)
        content = reply["output"]["message"]["content"]
        texts = [block["text"] for block in content if "text" in block]
        usage = reply["usage"]
        return ChatAnswer(
            text="".join(texts),
            content=content,
            finish_reason=finish_reason(reply.get("stopReason")),
            usage=decode_usage(model_id, usage),
            model=answering_model(reply) or model_id,
            provider_request_id=request_id,
            raw_usage=usage,
            service_tier=service_tier(reply),
        )
    except UNREADABLE as error:
        detail = (
            f"Bedrock answered for {model_id} with something that is not a Converse reply "
            f"({type(error).__name__}: {error}; {len(body)} bytes, request {request_id or '?'}). "
            "The generation may be billed; it is not asked for again."
        )
        raise ProviderError(detail, status=200, kind="MalformedReply") from error


def finish_reason(stop_reason: Any) -> FinishReason:
    """Return why an answer ends, in the terms of `lambdallm_wire.chat`.

    Raises:
        TypeError: It is no text.
    """
    return _FINISH_REASONS.get(stop_reason, "other")


def decode_usage(model_id: str, usage: dict[str, Any]) -> Usage:
    """Make disjoint counts of what Bedrock reports.

    The older names of the cache's counts are read where the newer ones are missing, never beside
    them. Cache writes are split by `cacheDetails`; what it does not name is of five minutes.

    Raises:
        KeyError, TypeError, ValueError: A count is missing, or is not one.
    """
    read = count(usage, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = count(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    details = usage.get("cacheDetails") or ()
    hour = sum(count(detail, "inputTokens") for detail in details if detail.get("ttl") == "1h")
    written = max(written, sum(count(detail, "inputTokens") for detail in details))
    uncached = _required(usage, "inputTokens")
    if counts_cache_in_input(model_id) and uncached >= read + written:
        uncached -= read + written
    return {
        "uncached_input_tokens": uncached,
        "cache_read_tokens": read,
        "cache_write_5m_tokens": written - hour,
        "cache_write_1h_tokens": hour,
        "output_tokens": _required(usage, "outputTokens"),
    }


def _required(counts: dict[str, Any], name: str) -> int:
    if counts[name] is None:
        message = f"{name} is None, which is not a count"
        raise ValueError(message)
    return count(counts, name)


def answering_model(reply: dict[str, Any]) -> str:
    """Return the model that a prompt router chose, "" where nothing chose."""
    router = (reply.get("trace") or {}).get("promptRouter") or {}
    return str(router.get("invokedModelId") or "")


_OPTIMIZED = "optimized"
"""Of `performanceConfig`: faster, and at prices of its own, which no catalogue has.

Source: Bedrock user guide, "Optimize model inference for latency", 2026-11.
"""


def service_tier(reply: dict[str, Any]) -> str:
    """Return what is billed, "" where Bedrock does not say."""
    if (reply.get("performanceConfig") or {}).get("latency") == _OPTIMIZED:
        return _OPTIMIZED
    return str((reply.get("serviceTier") or {}).get("type") or "")
