"""Usage in OpenAI's words, as disjoint counts.

Both of its APIs count everything that was read in one number, cached tokens included, and
everything that was generated in another one, reasoning included.

Source: API reference, "The chat completion object" and "The response object", and the types of
openai 3.52 (`CompletionUsage`, `ResponseUsage`), 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.counts import count, nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_wire.chat import Usage


def decode_usage(usage: Mapping[str, object]) -> Usage:
    """Make disjoint counts of a chat completion's, a response's or an embedding's usage.

    What was written to a cache is of five minutes in our terms, except where it is kept for
    twelve hours, which is of an hour: of the two the longer one.

    Raises:
        ValueError: A count is none.
    """
    read_all = count(usage, "prompt_tokens", "input_tokens")
    details = nested(usage, "prompt_tokens_details") or nested(usage, "input_tokens_details")
    read = count({**usage, **details}, "cached_tokens", "prompt_cache_hit_tokens")
    written = count(details, "cache_write_tokens")
    hours = count(nested(details, "cache_write_tokens_details"), "ttl_12h_tokens")
    written = max(written, hours)
    # Servers that count as Anthropic does have more in the cache than in all.
    uncached = read_all - read - written if read_all >= read + written else read_all
    return {
        "uncached_input_tokens": uncached,
        "cache_read_tokens": read,
        "cache_write_5m_tokens": written - hours,
        "cache_write_1h_tokens": hours,
        "output_tokens": _generated(usage, read_all, cached=read + written),
    }


def _generated(usage: Mapping[str, object], read_all: int, *, cached: int) -> int:
    """Return what was generated, reasoning included.

    OpenAI's count has it included. Where the total is larger than both counts, a server has left
    it out, and it is the rest: Grok's says so beside it, Gemini's does not even say that.

    Source: vercel/ai #12425 and Wei-Shaw/sub2api #5771 (Grok), router-for-me/CLIProxyAPI #5733 and
    mozilla-ai/any-llm #1290 (Gemini), 2026-09.
    """
    generated = count(usage, "completion_tokens", "output_tokens")
    details = nested(usage, "completion_tokens_details") or nested(usage, "output_tokens_details")
    thought = count(details, "reasoning_tokens")
    rest = count(usage, "total_tokens") - read_all - generated
    if rest > 0 and (rest == thought or not (thought or cached)):
        return generated + rest
    return generated
