"""How much of a model's context a conversation may take where nobody said it."""

from __future__ import annotations

CONTEXT_TOKENS = {
    "claude": 200_000,
    "nova-micro": 128_000,
    "nova-lite": 300_000,
    "nova-pro": 300_000,
    "nova-premier": 1_000_000,
    "nova-2": 1_000_000,
    "titan-text-lite": 4_000,
    "titan-text-express": 8_000,
    "titan-text-premier": 32_000,
    "llama3-8b": 8_000,
    "llama3-70b": 8_000,
    "llama3-": 128_000,
    "llama4": 128_000,
    "mistral-7b": 32_000,
    "mixtral": 32_000,
    "mistral-large-2402": 32_000,
    "mistral": 128_000,
    "command-r": 128_000,
    "deepseek": 128_000,
    "qwen3": 128_000,
    "gpt-3.5": 16_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_000_000,
    "gpt-4": 8_000,
    "gpt-5": 400_000,
    "gpt-oss": 128_000,
    "o1": 200_000,
    "o3": 200_000,
    "o4": 200_000,
}
"""Context of a family, by what stands in its ids; the first one that fits. Rounded down.

Source: the models' pages of Bedrock's, OpenAI's and Anthropic's documentation, 2026-11. Where a
family's sizes differ, the smaller one.
"""

UNKNOWN_TOKENS = 16_000
"""Of a model that is in no family here: few have less."""

SHARE = 4
"""A conversation gets a quarter: the rest is for the system prompt, tools, and the answer."""

SHARE_TOKENS_MAX = 64_000
"""More is paid for with each question, and is to be asked for by its number."""


def share(model_id: str) -> int:
    """Return the tokens that a conversation with this model may take."""
    name = model_id.rpartition("/")[2].lower()
    context = next(
        (tokens for family, tokens in CONTEXT_TOKENS.items() if family in name), UNKNOWN_TOKENS
    )
    return min(context // SHARE, SHARE_TOKENS_MAX)
