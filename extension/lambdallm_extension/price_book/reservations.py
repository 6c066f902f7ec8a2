"""The most that a call can cost, by a price and by what its request bounds."""

from __future__ import annotations

from lambdallm_extension.domain.call_bounds import TOOL_USE_PICO_USD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.domain.call_bounds import Bound
    from lambdallm_extension.price_book import Price

INPUT_TOKENS_MAX = 2_097_152
OUTPUT_TOKENS_MAX = 131_072
"""Of any model of today but for those below, where a request does not say less.

Source: the models' pages of Bedrock, OpenAI, Anthropic and Google; litellm's
`max_input_tokens` and `max_output_tokens`, 2026-11.
"""

_LONGER_INPUTS = {"llama4-scout": 10_000_000}
_LONGER_OUTPUTS = {
    "gemini-4": 1_048_576, "grok-4": 524_288, "gpt-5-pro": 272_000, "gemma-4": 262_144,
    "deepseek": 163_840,
}  # fmt: skip
"""By what stands in a model's id."""

_INPUTS = (
    "input", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "input_image",
    "cache_read_audio", "cache_read_image",
)  # fmt: skip
_OUTPUTS = ("output", "output_audio", "output_image")


def most_pico_usd(price: Price, bound: Bound) -> int | None:
    """Return the most that a call can cost; None where a kind has no price.

    Each kind at its dearest: that of a long call, of what is written into a cache, of audio.
    """
    steps = [price.rates, *([price.above] if price.above else [])]
    inputs: list[int] = [
        rate for step in steps for kind in _INPUTS if (rate := getattr(step, kind)) is not None
    ]
    outputs: list[int] = [
        rate for step in steps for kind in _OUTPUTS if (rate := getattr(step, kind)) is not None
    ]
    if not inputs:
        return None
    longest = _of(price.key, _LONGER_INPUTS, INPUT_TOKENS_MAX)
    reads = longest if bound.input_tokens is None else min(bound.input_tokens, longest)
    reads = reads * bound.answers + bound.tool_uses * longest
    most = _of(price.key, _LONGER_OUTPUTS, OUTPUT_TOKENS_MAX)
    writes = bound.output_tokens or most * bound.answers
    return (
        max(inputs) * reads + max(outputs, default=0) * writes + bound.tool_uses * TOOL_USE_PICO_USD
    )


def _of(key: str, known: dict[str, int], otherwise: int) -> int:
    return max((most for part, most in known.items() if part in key), default=otherwise)
