"""The most that a call can cost, by a price and by what its request bounds."""

from __future__ import annotations

from lambdallm_extension.domain.call_bounds import TOOL_USE_PICO_USD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.domain.call_bounds import Bound
    from lambdallm_extension.price_book import Price, Rates

INPUT_TOKENS_MAX = 2_097_152
OUTPUT_TOKENS_MAX = 131_072
"""Of a model whose limits nobody says: models that exceed one of them are told apart in the book.

Source: the models' pages of Bedrock, OpenAI, Anthropic and Google; litellm's
`max_input_tokens` and `max_output_tokens`, 2026-11.
"""

_MARGIN_OF = 20
"""A limit is exceeded by a twentieth at most: 128,000 may mean 131,072, a million 1,048,576."""

_INPUTS = (
    "input", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "input_image",
    "cache_read_audio", "cache_read_image",
)  # fmt: skip
_OUTPUTS = ("output", "output_audio", "output_image")


def most_pico_usd(price: Price, bound: Bound) -> int | None:
    """Return the most that a call can cost; None where a kind has no price.

    Each kind at its dearest: that of a long call where it may be one, of what is written into a
    cache, of audio. Each use of a tool on the API's side is a round of its own: the model reads
    all again, and writes.
    """
    longest = _with_margin(price.input_limit) or INPUT_TOKENS_MAX
    most = _with_margin(price.output_limit) or OUTPUT_TOKENS_MAX
    reads = longest if bound.input_tokens is None else bound.input_tokens
    if price.input_limit is not None:  # without one, a list of texts may be longer than any model
        reads = min(reads, longest)
    reads = reads * bound.answers + bound.tool_uses * longest
    writes = (bound.output_tokens or most * bound.answers) * (1 + bound.tool_uses)
    writes += bound.more_output_tokens
    steps = [price.rates]
    if price.above is not None and reads > (price.above_tokens or 0):
        steps.append(price.above)
    inputs = _rates(steps, _INPUTS)
    if not inputs:
        return None
    outputs = _rates(steps, _OUTPUTS)
    return (
        max(inputs) * reads + max(outputs, default=0) * writes + bound.tool_uses * TOOL_USE_PICO_USD
    )


def _with_margin(limit: int | None) -> int:
    return (limit or 0) + (limit or 0) // _MARGIN_OF


def _rates(steps: list[Rates], kinds: tuple[str, ...]) -> list[int]:
    return [rate for step in steps for kind in kinds if (rate := getattr(step, kind)) is not None]
