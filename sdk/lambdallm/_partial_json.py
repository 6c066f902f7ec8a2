"""A JSON value that is read while it grows: what has come of it is there at any moment.

    {"title": "Ti          {"title": "Ti"}
    {"title": "Tides", "p  {"title": "Tides"}
    {"pages": 12           {}                    a number may go on

Text before the value (a sentence, a fence) is passed over, text behind it too. Each character is
looked at once, and containers grow in place, so that an answer costs what its length says. Where
the text is no JSON, what came before stays; whether the whole is right says who reads the whole.
"""

from __future__ import annotations

import re
from math import isfinite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLAIN = re.compile(r'[^"\\]+')
_SPACE = re.compile(r"[ \t\r\n]+")
_SCALAR = re.compile(r"[^\s,\]}]+")
_THOUGHT, _THOUGHT_END = "<think>", "</think>"

_ESCAPES = {
    '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}

_SCALAR_MAX = 1_000
"""Characters of a number; what goes on longer would be read anew with each piece."""

_HEX = 6
"""Characters of an escape with four digits."""

_HIGH, _LOW, _ABOVE = range(0xD800, 0xDC00), range(0xDC00, 0xE000), 0x10000
"""Halves of a character beyond 16 bits, which JSON writes as two escapes."""


class _BrokenError(Exception):
    """It is no JSON from here on."""


class PartialJson:
    """Reads one value.

    Attributes:
        value: What has come of it, None before it begins. It grows in place.
        ended: Whether it is whole, or is none.
    """

    def __init__(self, beginnings: str = "{[") -> None:
        """Read a value that begins with one of these braces, behind what a model has thought."""
        self.value: Any = None
        self.ended = False
        self._opening = re.compile(f"[{re.escape(beginnings)}]")
        self._stack: list[Any] = []
        self._keys: list[str | None] = []
        self._state = self._first
        self._left = ""
        self._string = ""

    def feed(self, text: str) -> bool:
        """Take what has come, and say whether the value has changed."""
        if self.ended:
            return False
        self._changed = False
        text, self._left = self._left + text, ""
        at = 0
        try:
            while at < len(text) and not self.ended:
                went = self._state(text, at)
                if went < 0:  # a token is not whole
                    self._left = text[at:]
                    break
                at = went
        except _BrokenError:
            self.ended = True
        return self._changed

    def _first(self, text: str, at: int) -> int:
        at = _past_space(text, at)
        if at == len(text):
            return at
        if text.startswith(_THOUGHT, at):
            self._state = self._thought
        elif _THOUGHT.startswith(text[at:]):
            return -1
        else:
            self._state = self._before
        return at

    def _thought(self, text: str, at: int) -> int:
        end = text.find(_THOUGHT_END, at)
        if end < 0:
            kept = len(_THOUGHT_END) - 1  # its end may have begun
            return len(text) - kept if len(text) - at > kept else -1
        self._state = self._before
        return end + len(_THOUGHT_END)

    def _before(self, text: str, at: int) -> int:
        found = self._opening.search(text, at)
        if found is None:
            return len(text)
        self._open(text[found.start()])
        return found.end()

    def _open(self, brace: str) -> None:
        container: Any = {} if brace == "{" else []
        if self._stack:
            self._put(container)
        else:
            self.value = container
        self._changed = True
        self._stack.append(container)
        self._keys.append(None)
        self._state = self._key_or_end if brace == "{" else self._value_or_end

    def _key_or_end(self, text: str, at: int) -> int:
        return self._end_or(text, at, "}", self._key)

    def _value_or_end(self, text: str, at: int) -> int:
        return self._end_or(text, at, "]", self._element)

    def _end_or(self, text: str, at: int, end: str, otherwise: Any) -> int:
        at = _past_space(text, at)
        if at < len(text):
            if text[at] == end:
                return self._close(at)
            self._state = otherwise
        return at

    def _close(self, at: int) -> int:
        self._stack.pop()
        self._keys.pop()
        self.ended = not self._stack
        self._state = self._comma
        return at + 1

    def _key(self, text: str, at: int) -> int:
        at = _past_space(text, at)
        if at == len(text):
            return at
        _expect(text[at], '"')
        self._string = ""
        self._state = self._in_key
        return at + 1

    def _in_key(self, text: str, at: int) -> int:
        if text[at] == '"':
            self._keys[-1] = self._string
            self._state = self._colon
            return at + 1
        piece, went = _piece(text, at)
        self._string += piece
        return went

    def _colon(self, text: str, at: int) -> int:
        at = _past_space(text, at)
        if at == len(text):
            return at
        _expect(text[at], ":")
        self._state = self._element
        return at + 1

    def _element(self, text: str, at: int) -> int:
        at = _past_space(text, at)
        if at == len(text):
            return at
        if text[at] in "{[":
            self._open(text[at])
        elif text[at] == '"':
            self._put("")
            self._changed = True
            self._state = self._in_string
        else:
            self._state = self._scalar
            return at
        return at + 1

    def _in_string(self, text: str, at: int) -> int:
        if text[at] == '"':
            self._state = self._comma
            return at + 1
        piece, went = _piece(text, at)
        if went > 0:
            self._grow(piece)
        return went

    def _grow(self, piece: str) -> None:
        """Add to the string that is being read.

        Its container lets go of it first: a string that nobody else holds grows in its place.
        """
        container = self._stack[-1]
        place: Any = self._keys[-1] if isinstance(container, dict) else -1
        string = container[place]
        container[place] = None
        string += piece
        container[place] = string
        self._changed = True

    def _scalar(self, text: str, at: int) -> int:
        found = _SCALAR.match(text, at)
        if found is None or found.end() - at > _SCALAR_MAX:
            raise _BrokenError
        if found.end() == len(text):
            return -1
        self._put(_read(found[0]))
        self._changed = True
        self._state = self._comma
        return found.end()

    def _comma(self, text: str, at: int) -> int:
        at = _past_space(text, at)
        if at == len(text):
            return at
        is_object = isinstance(self._stack[-1], dict)
        if text[at] == ("}" if is_object else "]"):
            return self._close(at)
        _expect(text[at], ",")
        self._state = self._key if is_object else self._element
        return at + 1

    def _put(self, value: Any) -> None:
        container = self._stack[-1]
        if isinstance(container, dict):
            container[self._keys[-1]] = value
        else:
            container.append(value)


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _expect(character: str, expected: str) -> None:
    if character != expected:
        raise _BrokenError


def _read(word: str) -> Any:
    if word in _WORDS:
        return _WORDS[word]
    try:
        number = float(word) if any(sign in word for sign in ".eE") else int(word)
    except ValueError as error:
        raise _BrokenError from error
    if isinstance(number, float) and not isfinite(number):
        raise _BrokenError
    return number


def _piece(text: str, at: int) -> tuple[str, int]:
    """Return what stands next in a string, and where it ends; -1 where it is not whole."""
    found = _PLAIN.match(text, at)
    if found is not None:
        return found[0], found.end()
    if at + 1 == len(text):
        return "", -1
    if text[at + 1] != "u":
        escaped = _ESCAPES.get(text[at + 1])
        if escaped is None:
            raise _BrokenError
        return escaped, at + 2
    return _character(text, at)


def _character(text: str, at: int) -> tuple[str, int]:
    """Return a character of one or two escapes with digits."""
    code, end = _digits(text, at), at + _HEX
    if code in _HIGH and (text.startswith("\\u", end) or "\\u".startswith(text[end:])):
        low = _digits(text, end)
        if low < 0:
            return "", -1
        if low in _LOW:
            return chr(_ABOVE + ((code - _HIGH[0]) << 10) + low - _LOW[0]), end + _HEX
    return ("", -1) if code < 0 else (chr(code), end)


def _digits(text: str, at: int) -> int:
    """Return what the digits of an escape say, -1 where they have not come."""
    digits = text[at + 2 : at + _HEX]
    if len(digits) < _HEX - 2:
        return -1
    try:
        return int(digits, 16)
    except ValueError as error:
        raise _BrokenError from error
