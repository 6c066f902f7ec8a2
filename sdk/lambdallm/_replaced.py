"""Models that tests of the earlier package put in place of `lambdallm.providers.get_provider`."""

from __future__ import annotations

from lambdallm import _errors
from lambdallm._messages import PICO_USD, ChatResponse
from lambdallm._models import ModelConfig, resolve
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def ask(
    get_provider: Any, text: str, config: ModelConfig, request: Mapping[str, Any]
) -> ChatResponse:
    """Ask what a test has put there, as often as the engine would."""
    attempts = 1 + max(0, request["max_retries"])
    try:
        answer = _try(get_provider(config), text, config, attempts)
    except _errors.ModelInvocationError:
        if "fallback_model" not in request:
            raise
        config = resolve(request["fallback_model"])
        answer = get_provider(config).invoke(text, config)
    return ChatResponse(
        {
            "text": answer.content,
            "model": answer.model_id,
            "usage": {
                **NO_USAGE,
                "uncached_input_tokens": answer.tokens_in,
                "output_tokens": answer.tokens_out,
            },
            "cost_pico_usd": round(float(answer.cost_usd) * PICO_USD),
            "finish_reason": "stop",
            "latency_ms": answer.latency_ms,
            "content": [{"text": answer.content}],
            "attempts": 1,
            "call_id": request["call_id"],
        }
    )


def _try(provider: Any, text: str, config: ModelConfig, attempts: int) -> Any:
    for attempt in range(1, attempts + 1):
        try:
            return provider.invoke(text, config)
        except _errors.ModelInvocationError as error:
            if not error.retryable or attempt == attempts:
                raise
    raise AssertionError  # there is at least one attempt
