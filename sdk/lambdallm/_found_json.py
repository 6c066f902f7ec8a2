"""The JSON that a model's answer holds, whatever it has written around it.

    {"n": 1}                                       alone, perhaps behind a byte order mark
    ```json …``` with a sentence before it         in a fence
    Here is the JSON: {"n": 1} Let me know …       anywhere else

Of several, the first counts that fits; if none does, the first there is. What a model has thought
before it (`<think>…</think>`) is none of it.

A part is never taken for the whole: where an object cannot be read, nothing within it counts, and
where it does not end (the answer was cut), nothing behind its beginning.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\r?\n?(.*?)```", re.DOTALL)
_THOUGHT = re.compile(r"\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_BEGINNING = re.compile(r"```|[{\[]")
_BRACE = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[{}\[\]]', re.DOTALL)
"""A brace, or a string, whose braces are text."""

TRIED_MAX = 200
"""Places where JSON might begin. An answer that is full of braces is none, and takes no longer."""


def _refuse_constant(name: str) -> Any:
    message = f"{name} is no JSON"
    raise ValueError(message)


def _number(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        _refuse_constant(digits)
    return number


_decoder = JSONDecoder(parse_constant=_refuse_constant, parse_float=_number, strict=False)
"""It takes line breaks in strings, as models write them."""


def find(text: str, fits: Callable[[Any], bool]) -> Any:
    """Return the value that an answer holds.

    Args:
        text: The answer.
        fits: Says whether a value is the one that was asked for.

    Raises:
        ValueError: It holds no JSON.
    """
    first: list[Any] = []
    for value in _values(text.strip().lstrip("\ufeff")):
        if fits(value):
            return value
        first.append(value)
        del first[1:]
    if not first:
        message = "it holds no JSON"
        raise ValueError(message)
    return first[0]


def _values(text: str) -> Iterator[Any]:
    text = _THOUGHT.sub("", text, count=1) if _THOUGHT.match(text) else text
    yield from _whole(text)
    found = list(_pieces(text))
    yield from (value for fenced, value in found if fenced)
    yield from (value for fenced, value in found if not fenced)


def _pieces(text: str) -> Iterator[tuple[bool, Any]]:
    """Return what stands in a text, and whether it fills a fence."""
    at = tried = 0
    while tried < TRIED_MAX and (begun := _BEGINNING.search(text, at)) is not None:
        tried += 1
        fence = _FENCE.match(text, begun.start())
        if fence is not None:
            whole = [*_whole(fence[1])]
            yield from ((True, value) for value in whole)
            at = begun.end() if not whole else fence.end()
        elif begun[0] == "```":
            at = begun.end()
        else:
            try:
                value, at = _decoder.raw_decode(text, begun.start())
            except (ValueError, RecursionError):
                at = _end(text, begun.start())
            else:
                yield False, value


def _end(text: str, at: int) -> int:
    """Return where what begins with a brace ends, the text's end where it does not."""
    depth = 0
    for found in _BRACE.finditer(text, at):
        if found[0] in "{[":
            depth += 1
        elif found[0] in "}]":
            depth -= 1
        if not depth:
            return found.end()
    return len(text)


def _whole(text: str) -> Iterator[Any]:
    try:
        yield _decoder.decode(text)
    except (ValueError, RecursionError):
        return
