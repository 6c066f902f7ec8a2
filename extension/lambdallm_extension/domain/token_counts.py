"""How many tokens each turn of a conversation has: counted by its provider, estimated where new.

An answer's own tokens are the call's output. What was said before it is the difference of two
calls' inputs, where the second one was asked with the messages of the first and those behind:

    prompt 1 = system + tools + A          answer 1
    prompt 2 = system + tools + A + answer 1 + B      B = prompt 2 - prompt 1 - answer 1

The rest is estimated by what this session's own counted turns have shown.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import cast
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lambdallm_wire.sessions import Turn

UNITS_PER_TOKEN = 3.5
"""Before a session has shown its own. English has about four ASCII characters a token.

Source: Anthropic, "Glossary: tokens" (3.5 English characters), 2026-11.
"""

WIDE_UNITS = 4
"""Of a character beyond ASCII: about a token for one of Chinese, Japanese, Korean, or an emoji."""

RATIO_LEAST, RATIO_MOST = 1.0, 8.0
"""Beyond these a count is no measure of its text, but of reasoning or of images."""

MESSAGE_TOKENS = 4
"""Around each message: its role and its ends."""

IMAGE_TOKENS = 1_600
"""Of one image at most. Source: Anthropic, "Vision" (larger ones are scaled down), 2026-11."""

BINARY_CHARACTERS_PER_TOKEN = 32
"""Of a document or a video as Base64: a guess, on the side of too many for text-heavy PDFs."""


def count(turns: Sequence[Turn]) -> list[int]:
    """Return the tokens of each turn, which may be of any role."""
    known = _known(turns)
    units = [_units(turn["content"]) for turn in turns]
    counted = [(units[place], known[place]) for place in known if units[place]]
    tokens = sum(each for _, each in counted)
    ratio = UNITS_PER_TOKEN
    if tokens:
        measured = sum(each for each, _ in counted) / tokens
        ratio = min(RATIO_MOST, max(RATIO_LEAST, measured))
    return [
        known.get(place, MESSAGE_TOKENS + _fixed(turn["content"]) + _ceil(units[place] / ratio))
        for place, turn in enumerate(turns)
    ]


def _known(turns: Sequence[Turn]) -> dict[int, int]:
    """Return the counts that providers have told, by place."""
    known = {place: turn["tokens"] for place, turn in enumerate(turns) if turn.get("tokens")}
    spoken = [place for place, turn in enumerate(turns) if turn["role"] != "system"]
    before: int | None = None
    for index, place in enumerate(spoken):
        if not (turns[place].get("prompt_tokens") and place in known):
            continue
        if before is not None:
            _share(turns, known, spoken[before : index + 1])
        before = index
    return known


def _share(turns: Sequence[Turn], known: dict[int, int], places: list[int]) -> None:
    """Count what was said between two answers, the first and the last of these places."""
    first, last = turns[places[0]], turns[places[-1]]
    between = [place for place in places[1:-1] if place not in known]
    asked_behind = last.get("prompt_messages", 0) - first.get("prompt_messages", 0)
    if not between or asked_behind != len(places) - 1:
        return  # they were asked with different beginnings
    tokens = last["prompt_tokens"] - first["prompt_tokens"] - known[places[0]]
    tokens -= sum(known.get(place, 0) for place in places[1:-1])
    if tokens < len(between):
        return  # something else has changed, such as the tools
    weights = [1 + _units(turns[place]["content"]) for place in between]
    for place, weight in zip(between, weights, strict=True):
        known[place] = max(1, tokens * weight // sum(weights))


def _units(content: Any) -> int:
    """Return the length of what is text in a content; a wide character counts several times."""
    if isinstance(content, str):
        narrow = len(content.encode("ascii", "ignore"))
        return narrow + WIDE_UNITS * (len(content) - narrow)
    if not isinstance(content, (list, tuple)):
        return _units(plain_json.dumps(content))
    return sum(_block_units(block) for block in content)


def _block_units(block: Any) -> int:
    if not isinstance(block, dict):
        return 0
    if isinstance(block.get("text"), str):
        return _units(cast("str", block["text"]))
    if _binary(block):
        return 0
    return _units(plain_json.dumps(block))


def _fixed(content: Any) -> int:
    """Return the tokens of images, documents and videos."""
    if not isinstance(content, (list, tuple)):
        return 0
    return sum(_block_tokens(block) for block in content if isinstance(block, dict))


def _block_tokens(block: dict[str, Any]) -> int:
    kind = _binary(block)
    if not kind:
        return 0
    if kind == "image":
        return IMAGE_TOKENS
    return len(plain_json.dumps(block)) // BINARY_CHARACTERS_PER_TOKEN


def _binary(block: dict[str, Any]) -> str:
    return next((kind for kind in ("image", "document", "video") if kind in block), "")


def _ceil(number: float) -> int:
    return int(number) + (number > int(number))
