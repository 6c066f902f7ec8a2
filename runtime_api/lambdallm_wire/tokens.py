"""Sums of token counts. Apart from the messages, whose types cost a cold start milliseconds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_wire.chat import Usage


def input_tokens(usage: Usage) -> int:
    """All tokens read by the model, cached ones included (OpenTelemetry's `input_tokens`)."""
    return (
        usage["uncached_input_tokens"]
        + usage["cache_read_tokens"]
        + usage["cache_write_5m_tokens"]
        + usage["cache_write_1h_tokens"]
    )


NO_USAGE: Usage = {
    "uncached_input_tokens": 0,
    "cache_read_tokens": 0,
    "cache_write_5m_tokens": 0,
    "cache_write_1h_tokens": 0,
    "output_tokens": 0,
}
