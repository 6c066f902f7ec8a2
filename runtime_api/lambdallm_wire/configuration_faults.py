"""What is wrong in a configuration, value by value; what is right comes back.

    document ──► check ──► (what holds of it, faults)

A fault takes its own key away, and nothing else. Rules between keys: `configuration_rules`.
"""

from __future__ import annotations

from lambdallm_wire import configuration as schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Literal

    Path = tuple[str | int, ...]
    Lines = Mapping[Path, int]
    Tree = dict[str, "Tree | schema.Setting"]

FOUND_MAX_CHARACTERS = 60
"""Of a wrong value in a sentence."""

SHOWN_MAX = 12
"""Of the names that may stand in a place."""

_PRICE_DECIMALS_MAX = 6
"""Of USD for a million tokens: one more is no whole number of pico-USD for a token."""

_HIDDEN = ("api_key", "headers")
"""Keys whose values are not repeated."""

_OURS = ("connection", "content-length", "host", "transfer-encoding")
"""Headers that make a request what it is."""

_TOKEN_MARKS = "!#$%&'*+-.^_`|~"  # noqa: S105 - what a header's name may hold. Source: RFC 9110, 5.6.2


class Fault:
    """One thing that is wrong, or worth knowing.

    Attributes:
        severity: `error`: it is left out; `warning`: it holds, and may not be meant; `note`.
        path: Where, from the top; () for the file.
        said: A sentence without the path.
        nearest: What may have been meant, "" where nobody knows.
        line: In the file, 0 where nobody knows.
    """

    __slots__ = ("line", "nearest", "path", "said", "severity")

    def __init__(
        self, severity: Literal["error", "warning", "note"], path: Path, said: str, nearest: str
    ) -> None:
        self.severity = severity
        self.path = path
        self.said = said
        self.nearest = nearest
        self.line = 0

    @property
    def where(self) -> str:
        """The path as it is written in sentences: `models.fast.fallbacks[1]`."""
        return dotted(self.path)

    def sentence(self) -> str:
        """Say it with its path, and what may have been meant."""
        meant = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        return f"{self.where}: {self.said}{meant}" if self.path else f"{self.said}{meant}"


class Faults(list["Fault"]):
    """What was found so far."""

    def error(self, path: Path, said: str, nearest: str = "") -> None:
        """Add something that cannot hold."""
        self.append(Fault("error", path, said, nearest))

    def warn(self, path: Path, said: str) -> None:
        """Add something that may not be meant."""
        self.append(Fault("warning", path, said, ""))

    def locate(self, lines: Lines, environment: str = "") -> None:
        """Find the line of each: its own, that of its environment's value, or its parent's."""
        for fault in self:
            fault.line = line_of(fault.path, lines, environment)


def line_of(path: Path, lines: Lines, environment: str = "") -> int:
    """Return a path's line, or that of what it stands in; 0 where nobody knows."""
    if environment and path:
        shorthand = path[1:] if path[0] == schema.SHORTHAND else path
        for below in (path, shorthand):
            within: Path = (schema.ENVIRONMENTS, environment, *below)
            if within in lines:
                return lines[within]
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


def check_values(document: Any) -> tuple[dict[str, Any], Faults]:
    """Hold a document against the schema, key by key.

    Args:
        document: What was read, of any shape.

    Returns:
        What is right of it, and what is not.
    """
    faults = Faults()
    held = _check(document, _tree(), (), faults)
    return (held if isinstance(held, dict) else {}), faults


def overlay(document: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """Return a checked document as it is in an environment: its part of it over the rest."""
    merged = {name: value for name, value in document.items() if name != schema.ENVIRONMENTS}
    chosen = dict(document.get(schema.ENVIRONMENTS, {}).get(environment, {}))
    shorthand: Any = _tree()[schema.SHORTHAND]
    for name in [name for name in chosen if name in shorthand]:
        defaults = chosen.get(schema.SHORTHAND, {})
        chosen[schema.SHORTHAND] = _merge({name: chosen.pop(name)}, defaults)
    for name, alias in chosen.get("models", {}).items():
        replaced = {"model": ("provider", "model_id"), "model_id": ("model",)}
        gone = {other for key in alias for other in replaced.get(key, ())}
        base = merged.get("models", {}).get(name)
        if base and gone:
            kept = {key: value for key, value in base.items() if key not in gone}
            merged["models"] = {**merged["models"], name: kept}
    return _merge(merged, chosen)


def dotted(path: Path) -> str:
    """Write a path as in `models.fast.fallbacks[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return the candidate that a misspelt word is closest to, "" when none is close."""
    best, least = "", max(2, len(word) // 3) + 1
    for candidate in candidates:
        distance = _distance(word.lower(), candidate.lower())
        if distance < least:
            best, least = candidate, distance
    return best


def _distance(one: str, other: str) -> int:
    """Count the letters to insert, to leave out, to replace, or to exchange with the next one."""
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]


def _tree() -> Tree:
    """Return the schema as what may stand below what."""
    top: Tree = {}
    for setting in schema.SETTINGS:
        node: Any = top
        for name in setting.path[:-1]:
            node = node.setdefault(name, {})
        node[setting.path[-1]] = setting
    shorthand: Any = top[schema.SHORTHAND]
    return {**top, schema.ENVIRONMENTS: {"*": {**shorthand, **top}}}


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = (
            _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _check(value: Any, node: Tree | schema.Setting, path: Path, faults: Faults) -> Any:
    """Return what holds of a value, None when nothing does."""
    if value is None:
        return None
    if isinstance(node, schema.Setting):
        return _check_value(value, node, path, faults)
    if not isinstance(value, dict):
        faults.error(path, f"{shown(value)} stands where names belong: {_names(node)}.")
        return None
    held = {}
    for name, below in value.items():
        inner = node.get("*") or node.get(name)
        if not isinstance(name, str):
            faults.error((*path, str(name)), "This name is no text; put it in quotes.")
        elif inner is None:
            faults.error((*path, name), *_unknown(name, node))
        else:
            checked = _check(below, inner, (*path, name), faults)
            if checked is not None:
                held[name] = checked
            elif below is None and not isinstance(inner, schema.Setting):
                held[name] = {}
    return held


def _unknown(name: str, node: Tree) -> tuple[str, str]:
    close = nearest(name, node)
    if close:
        return "There is no such key here.", close
    elsewhere = [setting.name for setting in schema.SETTINGS if setting.path[-1] == name]
    if elsewhere:
        return f"There is no such key here; there is {' and '.join(elsewhere)}.", ""
    return f"There is no such key here; there are {_names(node)}.", ""


def _names(node: Tree) -> str:
    names = [name for name in node if name != "*"]
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return (", ".join(names[:SHOWN_MAX]) or "names of your own") + more


def _check_value(value: Any, setting: schema.Setting, path: Path, faults: Faults) -> Any:
    kind = setting.kind
    if kind == schema.TEXTS and isinstance(value, list):
        return _check_texts(value, path, faults)
    if kind == schema.HEADERS and isinstance(value, dict):
        return _check_headers(value, path, faults)
    if kind == schema.DECIMAL and _is_decimal(value):
        value = float(value) if isinstance(value, str) else value
    if not _fits(value, kind):
        hint = " Write it without quotes." if _is_quoted_number(value, kind) else ""
        hint = " Put it in quotes." if kind == schema.TEXT and _is_scalar(value) else hint
        faults.error(path, f"{_found(value, path)} is not {setting.values()}.{hint}")
        return None
    if setting.choices and value not in setting.choices:
        close = nearest(str(value), setting.choices)
        faults.error(path, f"{_found(value, path)} is not {setting.values()}.", close)
        return None
    if _is_number(value) and not (
        (setting.least is None or value >= setting.least)
        and (setting.most is None or value <= setting.most)
    ):
        faults.error(path, f"{_found(value, path)} is not {setting.values()}.")
        return None
    return _as_written(value, setting, path, faults)


def _as_written(value: Any, setting: schema.Setting, path: Path, faults: Faults) -> Any:
    """Keep money digit by digit: a number of binary digits would be another one."""
    if setting.kind == schema.USD_PER_MILLION:
        return _check_price(str(value), setting, path, faults)
    return str(value) if setting.kind == schema.USD else value


def _check_price(text: str, setting: schema.Setting, path: Path, faults: Faults) -> str | None:
    """Keep a price as it is written: a number of binary digits would be another one."""
    if len(text.partition(".")[2].rstrip("0")) > _PRICE_DECIMALS_MAX:
        said = f"{shown(text)} is not {setting.values()}: it has six decimals at most."
        faults.error(path, said)
        return None
    return text


def _fits(value: Any, kind: str) -> bool:
    if kind == schema.TEXT:
        return isinstance(value, str) and bool(value.strip())
    if kind == schema.SCALAR:
        return _is_scalar(value)
    if kind == schema.INTEGER:
        return isinstance(value, int) and not isinstance(value, bool)
    decimals = (schema.DECIMAL, schema.USD, schema.USD_PER_MILLION)
    return _is_decimal(value) if kind in decimals else _is_number(value)


def _check_texts(value: list[Any], path: Path, faults: Faults) -> list[str]:
    held = []
    for place, item in enumerate(value):
        if isinstance(item, str) and item.strip():
            held.append(item)
        else:
            faults.error((*path, place), f"{shown(item)} is not a text.")
    return held


def _check_headers(value: dict[Any, Any], path: Path, faults: Faults) -> dict[str, str]:
    held = {}
    for name, text in value.items():
        plain = str(name).translate(dict.fromkeys(map(ord, _TOKEN_MARKS), "a"))
        if not (isinstance(name, str) and plain.isascii() and plain.isalnum()):
            faults.error((*path, str(name)), "This is no header's name.")
        elif name.lower() in _OURS:
            faults.error((*path, name), "This header belongs to the request itself.")
        elif not (_is_scalar(text) and str(text).isascii() and str(text).isprintable()):
            faults.error((*path, name), "A header's value is one line of ASCII.")
        else:
            held[name] = str(text)
    return held


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, bool)) or _is_number(value)


def _is_number(value: Any) -> bool:
    finite = isinstance(value, (int, float)) and not isinstance(value, bool)
    return finite and value - value == 0  # infinity and NaN are not equal to that


def _is_decimal(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.replace(".", "", 1).isdecimal()
    return _is_number(value) and "e" not in repr(value)  # 1e-05 is written otherwise


def _is_quoted_number(value: Any, kind: str) -> bool:
    numeric = kind in (schema.INTEGER, schema.NUMBER, schema.DECIMAL)
    return numeric and isinstance(value, str) and _is_decimal(value.lstrip("+-"))


def _found(value: Any, path: Path) -> str:
    return "The value" if any(name in _HIDDEN for name in path) else shown(value)


def shown(value: Any) -> str:
    """Return a value as it is repeated in a sentence: its kind, if it is long or has parts."""
    if isinstance(value, dict):
        return "A mapping"
    if isinstance(value, list):
        return "A list"
    text = repr(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= FOUND_MAX_CHARACTERS else f"{text[:FOUND_MAX_CHARACTERS]}…"
