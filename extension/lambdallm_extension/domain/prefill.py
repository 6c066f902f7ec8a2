"""Models that go on with an answer that somebody else has begun, given as the last message. No I/O.

Only those of which their makers say so: another model would answer the beginning instead of going
on with it. Claude from 4.6 on refuses it.
Source: Anthropic, "Prefill Claude's response", and Amazon Nova user guide, "Prefilling the
assistant content", 2026-11.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_GOING_ON = (
    "claude-3-",
    "claude-sonnet-4-20",
    "claude-opus-4-20",
    "claude-opus-4-1-",
    "claude-sonnet-4-5-",
    "claude-haiku-4-5-",
    "claude-opus-4-5-",
    "amazon.nova-micro-v1",
    "amazon.nova-lite-v1",
    "amazon.nova-pro-v1",
    "scripted/",
)
"""Parts of `provider/model`."""

_THINKING = ("reasoning", "thinking", "additional_fields")
"""Fields of a question by which a model may think first: it goes on with nothing then."""


def goes_on(model: str, request: Mapping[str, Any]) -> bool:
    """Say whether a model goes on with the beginning of its own answer to this question."""
    if any(request.get(field) for field in _THINKING) or request.get("tools"):
        return False
    return any(part in model for part in _GOING_ON)


def with_beginning(request: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a question whose answer goes on with a text. It must not end in white space."""
    messages = [*request["messages"], {"role": "assistant", "content": text}]
    return {**request, "messages": messages}
