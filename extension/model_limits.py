"""How much a model can read and write, by what two community catalogues say of it.

    litellm: max_input_tokens, max_output_tokens ─┐
    genai-prices: context_window ─────────────────┴─► the largest, over all names of one model

A limit that is too low breaks a budget, one that is too high only reserves more than is needed.
So a limit is the largest that any catalogue gives the model, wherever it is served, and it counts
only where the vendor itself serves the model and refuses more: Claude, GPT, Gemini, Nova, Titan.
What serves open weights takes what it is set up for: of these only a limit above
`reservations.INPUT_TOKENS_MAX` and `OUTPUT_TOKENS_MAX` is told, which hold where nothing is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from price_catalogues import GenaiPrices, Litellm

Limits = dict[str, list[int | None]]
"""By the book's key: tokens that are read and written at most, None where nobody knows."""

INPUT_MAX = 2_097_152
OUTPUT_MAX = 131_072
"""What holds where the book says nothing; see `lambdallm_extension.price_book.reservations`."""

VENDORS_OWN = re.compile(
    r"claude-|gpt-(?!oss)|chatgpt-|o[1-9](-|$)|codex-|computer-use|davinci|babbage|daybreak"
    r"|gemini-(?!gemma)|nova-|titan-text"
)
"""How the names of models begin that nobody serves but their vendors, and who they let."""

SMALL_WINDOW = 40_000
"""Of models so old that they write until it is full, whatever catalogues say."""

UNTOLD = (
    (re.compile(r"deepseek"), 0, 163_840),
    (re.compile(r"nova-2"), 0, OUTPUT_MAX),
    (re.compile(r"deep-research|claude-sonnet-4(-5)?$"), INPUT_MAX, 0),
)
"""Limits that catalogues give too low, or that a beta raises; a name, its input, its output.

Source: DeepSeek V3's model card (its window); Nova 2's guide, "Extended thinking" (high effort
takes no `maxTokens` and writes more than other answers do); Anthropic, "Context windows" (a
million tokens by a beta header); what deep research reads is not one window.
"""

DIFFERENT = 1.05
"""Times as much is another limit; less is 128,000 and 131,072, or a million and 1,048,576."""

_PROVIDERS = re.compile(
    r"bedrock|openai$|text-completion-openai|anthropic$|gemini$|azure|vertex_ai"
)
"""Of litellm's entries: who serves models as their vendors do."""

_GEOGRAPHY = re.compile(r"^(us|us-gov|eu|apac|jp|au|ca|in|global)\.")
_MAKER = re.compile(r"^[a-z][a-z0-9]*\.(?=[a-z])")
_VERSION = re.compile(r"(@.*|-v\d+(:\d+)?(:.*)?|:\d+|-latest|-preview)$")
_DAY = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d|\d{4}|\d\d-20\d\d|\d\d-\d\d)$")


def read(
    keys: Iterable[str], catalogues: tuple[Litellm, ...], genai: GenaiPrices
) -> tuple[Limits, dict[str, dict[str, list[int | None]]]]:
    """Return every model's limits, and the windows that the catalogues disagree about.

    Args:
        keys: Of the book.
        catalogues: Releases of litellm, the newest first.
        genai: Knows windows alone.
    """
    keys = sorted(keys)
    windows = {key: genai.window(key) for key in keys}
    largest: dict[str, _Largest] = {}
    for catalogue in catalogues:
        for model_id, entry in catalogue.listed.items():
            is_other = entry.get("mode") == "embedding"
            if _PROVIDERS.match(str(entry.get("litellm_provider", ""))) and not is_other:
                largest.setdefault(model_of(model_id), _Largest()).take(entry)
    limits: Limits = {}
    disputes: dict[str, dict[str, list[int | None]]] = {}
    for key, window in windows.items():
        found = largest.setdefault(model_of(key), _Largest())
        found.reads(window)
    for key, window in windows.items():
        entry = next((one.entries[key] for one in catalogues if key in one.entries), {})
        limit = _counted(key, largest[model_of(key)], entry.get("mode"))
        if any(limit):
            limits[key] = limit
        reads, writes = _told(entry)
        if reads and window and _differ(window, reads, reads + writes):
            disputes[key] = {"window": [reads, window]}
    return limits, disputes


def model_of(key: str) -> str:
    """Return what is left of an id without who serves it, where, and in which edition.

    Shape: `us.anthropic.claude-haiku-4-5-20251001-v1:0` is `claude-haiku-4-5`
    """
    name = _GEOGRAPHY.sub("", key.rpartition("/")[2])
    name = _MAKER.sub("", name.removeprefix("ft:")).lower().replace(".", "-")
    name = name.replace("chatgpt-", "gpt-")
    while (shorter := _DAY.sub("", _VERSION.sub("", name))) != name:
        name = shorter
    return name


class _Largest:
    """What is known of one model under all its names."""

    def __init__(self) -> None:
        self.input = self.output = self.step = 0

    def reads(self, tokens: int) -> None:
        self.input = max(self.input, tokens)
        self.output = max(self.output, tokens if tokens <= SMALL_WINDOW else 0)

    def take(self, entry: dict[str, Any]) -> None:
        reads, writes = _told(entry)
        self.reads(reads)
        self.output = max(self.output, writes)
        steps = [re.search(r"_above_(\d+)k_tokens", field) for field in entry]
        self.step = max([self.step, *(int(step[1]) * 1_000 for step in steps if step)])


def _counted(key: str, largest: _Largest, mode: str | None) -> list[int | None]:
    if mode in ("embedding", "realtime") or "embed" in key:
        return [None, None]  # many texts in one request; what is not asked by requests
    model = model_of(key)
    reads, writes = largest.input, largest.output
    if reads <= largest.step:  # a price for what is beyond its window: there is a longer one
        reads = INPUT_MAX
    for name, more_read, more_written in UNTOLD:
        if name.search(f"{key} {model}"):
            reads, writes = max(reads, more_read), max(writes, more_written)
    own = VENDORS_OWN.match(model)
    return [
        reads if reads > (0 if own and largest.input else INPUT_MAX) else None,
        writes if writes > (0 if own and largest.output else OUTPUT_MAX) else None,
    ]


def _told(entry: dict[str, Any]) -> tuple[int, int]:
    return (
        _whole(entry.get("max_input_tokens")),
        max(_whole(entry.get("max_output_tokens")), _whole(entry.get("max_tokens"))),
    )


def _differ(window: int, *told: int) -> bool:
    return all(max(window, each) > DIFFERENT * min(window, each) for each in told)


def _whole(value: Any) -> int:
    return int(float(value)) if str(value).replace(".", "").isdigit() else 0
