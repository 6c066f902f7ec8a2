"""Which kinds of tokens a call has used: text, audio, images, read, written, cached.

The disjoint counts of `Usage` say nothing of audio and images; the provider's own words do:

    {"prompt_tokens_details": {"audio_tokens": 40, "image_tokens": 0},
     "completion_tokens_details": {"audio_tokens": 12}}                        chat completions
    {"input_token_details": {"audio_tokens": 40, "cached_tokens_details": {"audio_tokens": 8}},
     "output_token_details": {"audio_tokens": 12}}                             realtime, images

Source: OpenAI API reference, "Chat completion object", "Realtime server events", "Images",
2026-11. Gemini's endpoint in OpenAI's form uses the same names.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from lambdallm_wire.chat import Usage

_INPUT = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_CACHED = "cached_tokens_details"


class Counts(NamedTuple):
    """Tokens in disjoint counts, and what of three of them was audio and images."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    audio: tuple[int, int, int] = (0, 0, 0)
    images: tuple[int, int, int] = (0, 0, 0)

    @property
    def input_tokens(self) -> int:
        """All that was read, cached tokens included."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h

    def by_kind(self, rates: Any) -> Iterator[tuple[str, int]]:
        """Yield each kind that is paid on its own, and how many tokens of it there were.

        Args:
            rates: By kind, as attributes; audio or images that have none are paid as text.
        """
        for place, kind in enumerate(("input", "output", "cache_read")):
            left: int = getattr(self, kind)
            for name, split in (("audio", self.audio), ("image", self.images)):
                own = f"{kind}_{name}"
                if split[place] and _has_price(rates, name, own):
                    part = min(split[place], left)
                    left -= part
                    yield own, part
            yield kind, left
        yield "cache_write_5m", self.cache_write_5m
        yield "cache_write_1h", self.cache_write_1h


def counts(usage: Usage, raw_usage: Mapping[str, Any] | None = None) -> Counts:
    """Put the two together. Words that are no counts are none."""
    raw = raw_usage or {}
    given, made = _details(raw, _INPUT), _details(raw, _OUTPUT)
    cached = given.get(_CACHED)
    cached = cached if isinstance(cached, dict) else {}
    audio, images = (
        _split(_count(given, name), _count(cached, name), _count(made, name))
        for name in ("audio_tokens", "image_tokens")
    )
    return Counts(
        usage["uncached_input_tokens"],
        usage["output_tokens"],
        usage["cache_read_tokens"],
        usage["cache_write_5m_tokens"],
        usage["cache_write_1h_tokens"],
        audio,
        images,
    )


def _has_price(rates: Any, name: str, own: str) -> bool:
    """Whether a modality is priced; cached audio without a price beside audio with one is not."""
    if getattr(rates, own) is not None:
        return True
    return own.startswith("cache_read") and getattr(rates, f"input_{name}") is not None


def _split(given: int, cached: int, made: int) -> tuple[int, int, int]:
    return max(0, given - cached), made, cached


def _details(raw: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    for name in names:
        found = raw.get(name)
        if isinstance(found, dict):
            return found
    return {}


def _count(details: Mapping[str, Any], name: str) -> int:
    value = details.get(name)
    return value if type(value) is int and value > 0 else 0
