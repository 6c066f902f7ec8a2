"""The JSON that a model's answer holds, whatever it has written around it.

    {"n": 1}                                       alone, perhaps behind a byte order mark
    ```json …``` with a sentence before it         in a fence
    Here is the JSON: {"n": 1} Let me know …       anywhere else

Of several, the first counts that fits; if none does, the first there is.
"""

from __future__ import annotations

import re
from json import JSONDecoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\r?\n?(.*?)```", re.DOTALL)
_BEGINNING = re.compile(r"[{\[]")

TRIED_MAX = 200
"""Places where JSON might begin. An answer that is full of braces is none, and takes no longer."""


def _refuse_constant(name: str) -> Any:
    message = f"{name} is no JSON"
    raise ValueError(message)


_decoder = JSONDecoder(parse_constant=_refuse_constant)


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
    yield from _whole(text)
    for fence in _FENCE.finditer(text):
        yield from _whole(fence[1])
    at = tried = 0
    while tried < TRIED_MAX and (begun := _BEGINNING.search(text, at)) is not None:
        tried += 1
        try:
            value, at = _decoder.raw_decode(text, begun.start())
        except (ValueError, RecursionError):
            at = begun.end()
        else:
            yield value


def _whole(text: str) -> Iterator[Any]:
    try:
        yield _decoder.decode(text)
    except (ValueError, RecursionError):
        return
