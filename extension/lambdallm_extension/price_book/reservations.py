"""The most that a call can cost, by a price and by what its request bounds."""

from __future__ import annotations

from lambdallm_extension.domain.call_bounds import TOOL_USE_PICO_USD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.domain.call_bounds import Bound
    from lambdallm_extension.price_book import Price

INPUT_TOKENS_MAX = 2_000_000
OUTPUT_TOKENS_MAX = 128_000
"""Of any model of today, where a request does not say less.

Source: the models' pages of Bedrock, OpenAI, Anthropic and Google, 2026-11.
"""

_INPUTS = ("input", "cache_write_5m", "cache_write_1h", "input_audio", "input_image")
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
    reads = INPUT_TOKENS_MAX if bound.input_tokens is None else bound.input_tokens
    reads = min(reads, INPUT_TOKENS_MAX) * bound.answers + bound.tool_uses * INPUT_TOKENS_MAX
    writes = bound.output_tokens or OUTPUT_TOKENS_MAX * bound.answers
    return (
        max(inputs) * reads + max(outputs, default=0) * writes + bound.tool_uses * TOOL_USE_PICO_USD
    )
