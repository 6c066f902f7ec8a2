"""The part of YAML that a configuration needs, read strictly: exactly as YAML 1.1, or not at all.

    block mappings; block sequences of scalars; [ ] and { } on one line; plain and quoted scalars;
    comments; one `---` at the beginning

Everything else is refused with its line: anchors, tags, scalars over several lines, tabs, names
that are no text, what YAML 1.1 reads otherwise than people do (012, 1:30, 2026-11-21).
The tests hold it against PyYAML: the same value, or a refusal.
Source: YAML 1.1 and its type repository, as PyYAML 6 reads them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Path = tuple[str | int, ...]

DEPTH_MAX = 20
LENGTH_MAX = 100_000
"""Characters; a longer file is none that people wrote."""

NAME_MAX = 500
"""Of a key; YAML itself ends at 1,024."""

_TRUE = frozenset(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_NULL = frozenset(("null", "Null", "NULL", "~", ""))
_MARKS = frozenset("&*!|>%@`\"'#,[]{}?:<=~")
"""What a plain scalar here does not begin with; `-` only where something else follows."""

_NUMERIC = frozenset("0123456789abcdefABCDEFxXoO_+-.:etETzZinfINFaAnN \t")
"""A plain scalar that begins like a number and has only these may be one of YAML's many kinds."""

_DIGITS_MAX = 15
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "n": "\n", "t": "\t", "r": "\r"}


class YamlError(ValueError):
    """The text is not of the part of YAML that is read here.

    Attributes:
        line: Where, counted from 1.
        reason: Why, as a sentence without the line.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class _Line:
    """A line that says something: its number, its indentation, and the rest."""

    __slots__ = ("indent", "number", "text")

    def __init__(self, number: int, text: str) -> None:
        self.number = number
        self.text = text.strip(" ")
        self.indent = len(text) - len(text.lstrip(" "))

    def fault(self, reason: str) -> YamlError:
        return YamlError(self.number, reason)


def loads(text: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """Return the mapping that a text holds, and the line of each path in it.

    Raises:
        YamlError: It is not of this part of YAML.
    """
    lines = _lines(text)
    reader = _Reader(lines)
    if not lines:
        return {}, reader.found
    if lines[0].text.startswith("- "):
        raise lines[0].fault("A list stands where names with values belong.")
    value = reader.read_mapping(lines[0].indent, (), 0)
    if reader.at < len(lines):
        raise lines[reader.at].fault("This is indented less than what it stands in.")
    return value, reader.found


def _lines(text: str) -> list[_Line]:
    if len(text) > LENGTH_MAX:
        raise YamlError(1, f"The file has more than {LENGTH_MAX} characters.")
    lines: list[_Line] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = _Line(number, raw.removesuffix("\r"))
        if "\t" in raw:
            raise line.fault("There is a tab; write blanks.")
        if not all(map(_is_printable, line.text)):
            raise line.fault("There is a character that YAML does not have.")
        if not line.text or line.text.startswith("#"):
            continue
        if line.text == "---" and not line.indent and not lines:
            lines.append(line)  # holds its place, so that there is no second one
        elif line.text.startswith(("---", "...", "%")) and not line.indent:
            raise line.fault("A file holds one document, and no directives.")
        else:
            lines.append(line)
    begins = bool(lines) and lines[0].text == "---" and not lines[0].indent
    return lines[1:] if begins else lines


def _is_printable(character: str) -> bool:
    """Whether YAML has it, apart from what it takes for the end of a line."""
    if "\x20" <= character <= "\x7e":
        return True
    if character in ("\u2028", "\u2029", "\ufeff"):
        return False
    return (
        "\xa0" <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character >= "\U00010000"
    )


class _Reader:
    """Goes through the lines once."""

    def __init__(self, lines: list[_Line]) -> None:
        self.found: dict[Path, int] = {}
        self.at = 0
        self._lines = lines

    def read_mapping(self, indent: int, path: Path, depth: int) -> dict[str, Any]:
        """Read names and values that are indented by so much."""
        mapping: dict[str, Any] = {}
        while self.at < len(self._lines) and self._lines[self.at].indent >= indent:
            line = self._lines[self.at]
            if line.indent > indent:
                raise line.fault("This is indented more than what stands above.")
            if depth > DEPTH_MAX:
                raise line.fault("This is nested too deeply.")
            name, rest = _split_name(line)
            if name in mapping:
                twice = f"{name!r} stands here twice."
                raise line.fault(twice)
            below = (*path, name)
            self.found[below] = line.number
            self.at += 1
            mapping[name] = self._read_value(line, rest, below, depth)
        return mapping

    def _read_value(self, line: _Line, rest: str, path: Path, depth: int) -> Any:
        if rest and not rest.startswith("#"):
            return _Scanner(line, rest, path, self.found).read_all()
        if self.at == len(self._lines):
            return None
        following = self._lines[self.at]
        if following.indent >= line.indent and _is_item(following):
            return self._read_items(following.indent, path)
        if following.indent > line.indent:
            return self.read_mapping(following.indent, path, depth + 1)
        return None

    def _read_items(self, indent: int, path: Path) -> list[Any]:
        items: list[Any] = []
        while self.at < len(self._lines) and self._lines[self.at].indent >= indent:
            line = self._lines[self.at]
            if line.indent > indent:
                raise line.fault("This is indented more than what stands above.")
            if not _is_item(line):
                break
            below = (*path, len(items))
            self.found[below] = line.number
            self.at += 1
            rest = line.text[1:].strip(" ")
            if not rest or rest[0] in "-#":
                raise line.fault("An item of a list is one value, on the same line.")
            items.append(_Scanner(line, rest, below, self.found).read_all())
        return items


def _is_item(line: _Line) -> bool:
    return line.text == "-" or line.text.startswith("- ")


def _split_name(line: _Line) -> tuple[str, str]:
    """Take `name: rest` apart."""
    if line.text[0] in "\"'":
        scanner = _Scanner(line, line.text, (), {})
        name, rest = scanner.read_quoted(), line.text[scanner.at :].lstrip(" ")
        if rest[:1] != ":" or rest[1:2] not in ("", " "):
            raise line.fault("Here belongs `name: value`.")
        rest = rest[1:]
    else:
        head, colon, rest = f"{line.text} ".partition(": ")
        if not colon or " #" in head:
            raise line.fault("Here belongs `name: value`.")
        name = _resolve(line, head.rstrip(" "))
    if name == "" or not isinstance(name, str):
        reason = f"This name is no text; put it in quotes: '{line.text.partition(':')[0]}'."
        raise line.fault(reason)
    if len(name) > NAME_MAX:
        raise line.fault("This name is too long.")
    return name, rest.strip(" ")


class _Scanner:
    """Reads the value at the end of a line."""

    def __init__(self, line: _Line, text: str, path: Path, found: dict[Path, int]) -> None:
        self.at = 0
        self._line = line
        self._text = text
        self._path = path
        self._found = found

    def read_all(self) -> Any:
        """Read one value, behind which nothing but a comment may stand."""
        if self._text[0] not in "[{\"'":
            plain = self._text.partition(" #")[0].rstrip(" ")
            if ": " in plain or plain.endswith(":"):
                raise self._line.fault("There is a second `name:` in this line; quote the value.")
            return _resolve(self._line, plain)
        value = self._read(self._path, 0)
        rest = self._text[self.at :]
        if rest.strip(" ") and not rest.lstrip(" ").startswith("#"):
            raise self._line.fault("Something stands behind the value.")
        if rest.startswith("#"):
            raise self._line.fault("A comment needs a blank before it.")
        return value

    def _read(self, path: Path, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise self._line.fault("This is nested too deeply.")
        self._found.setdefault(path, self._line.number)
        first = self._next()
        if first == "[":
            return self._read_list(path, depth)
        if first == "{":
            return self._read_mapping(path, depth)
        if first in "\"'":
            return self.read_quoted()
        return _resolve(self._line, self._plain(",[]{}?"))

    def _read_list(self, path: Path, depth: int) -> list[Any]:
        self.at += 1
        items: list[Any] = []
        while self._next() != "]":
            items.append(self._read((*path, len(items)), depth + 1))
            self._separate("]")
        self.at += 1
        return items

    def _read_mapping(self, path: Path, depth: int) -> dict[str, Any]:
        self.at += 1
        mapping: dict[str, Any] = {}
        while self._next() != "}":
            quoted = self._next() in "\"'"
            name = self.read_quoted() if quoted else _resolve(self._line, self._plain(",[]{}?:"))
            self._next()
            if self._text[self.at : self.at + 2] != ": ":
                raise self._line.fault("Between { and } belongs `name: value`.")
            self.at += 2
            if not isinstance(name, str) or not name or name in mapping:
                raise self._line.fault("A name is no text, or stands here twice.")
            mapping[name] = self._read((*path, name), depth + 1)
            self._separate("}")
        self.at += 1
        return mapping

    def _next(self) -> str:
        """Return the next character that is no blank."""
        while self._text[self.at : self.at + 1] == " ":
            self.at += 1
        if self.at >= len(self._text) or (self._text[self.at] == "#" and self.at):
            raise self._line.fault("This does not end on its line.")
        return self._text[self.at]

    def _separate(self, end: str) -> None:
        following = self._next()
        if following == ",":
            self.at += 1
        elif following != end:
            reason = f"Here belongs a comma or {end!r}."
            raise self._line.fault(reason)

    def _plain(self, ends: str) -> str:
        """Read a scalar without quotes up to one of these characters."""
        start = self.at
        while self.at < len(self._text) and self._text[self.at] not in ends:
            self.at += 1
        plain = self._text[start : self.at].rstrip(" ")
        if not plain or " #" in plain or ": " in plain or plain.endswith(":"):
            raise self._line.fault("A value is missing here, or needs quotes.")
        return plain

    def read_quoted(self) -> str:
        """Read a scalar in quotes."""
        quote = self._text[self.at]
        self.at += 1
        read = ""
        while self.at < len(self._text):
            character = self._text[self.at]
            pair = self._text[self.at : self.at + 2]
            if character == "\\" and quote == '"':
                if pair[1:] not in _ESCAPES:
                    reason = f"{pair!r} is not understood here."
                    raise self._line.fault(reason)
                read += _ESCAPES[pair[1:]]
                self.at += 2
            elif pair == "''" and quote == "'":
                read += "'"
                self.at += 2
            elif character == quote:
                self.at += 1
                return read
            else:
                read += character
                self.at += 1
        raise self._line.fault("This quote does not end on its line.")


def _resolve(line: _Line, plain: str) -> Any:
    """Return what a scalar without quotes means."""
    if plain in _NULL:
        return None
    if plain in _TRUE or plain in _FALSE:
        return plain in _TRUE
    if plain[0] in _MARKS or plain[:2] in ("-", "- "):
        reason = f"A value that begins with {plain[0]!r} is not understood here; quote it."
        raise line.fault(reason)
    if plain[0] not in "0123456789+-.":
        return plain
    digits = plain[1:] if plain[0] in "+-" else plain
    whole, point, fraction = digits.partition(".")
    if digits.isascii() and len(digits) <= _DIGITS_MAX and whole.isdecimal():
        if not point and (whole == "0" or whole[0] != "0"):
            return int(plain)
        if point and (not fraction or fraction.isdecimal()):
            return float(plain)
    if (plain.count(".") > 1 and ":" not in plain) or not _NUMERIC.issuperset(plain):
        return plain
    reason = f"{plain!r} may be a number or a time; put it in quotes, or write it plainly."
    raise line.fault(reason)
