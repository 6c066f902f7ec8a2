"""What each keyword of JSON Schema asks of a value. `_schema` says which of them a schema may have.

Source: json-schema.org, "Draft 2020-12"; held against the package jsonschema in the tests.
"""

from __future__ import annotations

import json
import math
import re

from lambdallm._schema_faults import FAULTS_MAX, Path, TooMuchError, fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm._schema_faults import Faults

    Schema = Mapping[str, Any] | bool
    Check = Callable[["Checking", Any, Any, Path, Mapping[str, Any]], None]

NESTING_MAX = 200
"""Of schemas within schemas while a value is checked: a reference may lead back to itself."""

STEPS_MAX = 100_000
STEPS_PER_PART = 64
"""Of one check: so many, or so many for each part of the value where that is more.

Choices within choices double the work with each level, of schemas and of values: nobody who sends
a value shall make that of 2 ** 50 steps. A step takes some microseconds.
"""

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}

FORMATS = ("date-time", "date", "time", "email", "hostname", "ipv4", "uri", "uuid")


class Checking:
    """One check of one value: the schema that references lead into, and what is at fault.

    Attributes:
        faults: What is wrong, so far.
        steps: Schemas that were gone through, so far.
    """

    def __init__(self, root: Mapping[str, Any], value: Any) -> None:
        self.faults: Faults = []
        self._root = root
        self._value = value
        self._depth = 0
        self.steps = 0
        self._steps_max = STEPS_MAX

    def add(self, path: Path, detail: str) -> None:
        """Take a fault, while there is room."""
        self.take([fault(path, detail)])

    def take(self, faults: Faults) -> None:
        """Take faults, while there is room."""
        self.faults += faults[: FAULTS_MAX - len(self.faults)]

    def faults_of(self, value: Any, schema: Schema, path: Path) -> Faults:
        """Return what is at fault by a schema that need not be followed."""
        kept, self.faults = self.faults, []
        self.check(value, schema, path)
        found, self.faults = self.faults, kept
        return found

    def check(self, value: Any, schema: Schema, path: Path) -> None:
        """Hold a value against a schema.

        Raises:
            TooMuchError: It takes too many steps, or goes too deep.
        """
        if isinstance(schema, bool):
            if not schema:
                self.add(path, "is not expected")
            return
        self._step(path)
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise TooMuchError(path, f"is nested more than {NESTING_MAX} deep")
        self._check(value, schema, path)
        self._depth -= 1

    def _step(self, path: Path) -> None:
        self.steps += 1
        if self.steps <= self._steps_max:
            return
        if self._steps_max == STEPS_MAX:
            self._steps_max = max(STEPS_MAX + 1, STEPS_PER_PART * _parts_of(self._value))
        if self.steps > self._steps_max:
            raise TooMuchError(path, "takes too many steps to be checked")

    def _check(self, value: Any, schema: Mapping[str, Any], path: Path) -> None:
        for keyword, expected in schema.items():
            check = KEYWORDS.get(keyword)
            if check is None or len(self.faults) >= FAULTS_MAX:
                continue
            before = len(self.faults)
            check(self, value, expected, path, schema)
            if keyword == "type" and len(self.faults) > before:
                return

    def find(self, reference: str) -> Schema | None:
        """Return what a reference within the schema leads to, None for nothing."""
        if reference == "#":
            return self._root
        found: Any = self._root
        for part in reference.removeprefix("#/").split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, (dict, bool)) else None


def _parts_of(value: Any) -> int:
    waiting, parts = [value], 0
    while waiting:
        each = waiting.pop()
        parts += 1
        waiting += each.values() if isinstance(each, dict) else each if type(each) is list else ()
    return parts


def is_same(value: Any, other: Any) -> bool:
    """JSON's equality: true is not 1."""
    return bool(_identity(value) == _identity(other))


def _identity(value: Any) -> Any:
    """Return what is equal for values that are, and has a hash."""
    if isinstance(value, dict):
        return dict, frozenset((name, _identity(each)) for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return list, tuple(map(_identity, value))
    return (bool, value) if isinstance(value, bool) else value


def _type(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    names = expected if isinstance(expected, list) else [expected]
    if any(_is_a(value, name) for name in names):
        return
    said = f"has to be {_article(names[0])} {' or '.join(names)}"
    at.add(path, "is missing" if value is None else said)


def _is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float):  # 1e999 is read as what is no number of JSON's
        return math.isfinite(value) and (
            name == "number" or (name == "integer" and value.is_integer())
        )
    return isinstance(value, TYPES[name])


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeio" else "a"


def _properties(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if isinstance(value, dict):
        for name, schema in expected.items():
            if name in value:
                at.check(value[name], schema, path.field(name))


def _pattern_properties(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if isinstance(value, dict):
        for pattern, schema in expected.items():
            for name in value:
                if re.search(pattern, name):
                    at.check(value[name], schema, path.made_up(name))


def _additional(at: Checking, value: Any, expected: Any, path: Path, schema: Any) -> None:
    if not isinstance(value, dict):
        return
    patterns = schema.get("patternProperties", {})
    for name in value:
        if name in schema.get("properties", {}) or any(re.search(each, name) for each in patterns):
            continue
        at.check(value[name], expected, path.made_up(name))


def _required(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if isinstance(value, dict):
        for name in expected:
            if name not in value:
                at.add(path.field(name), "is missing")


def _items(at: Checking, value: Any, expected: Any, path: Path, schema: Any) -> None:
    if isinstance(value, list):
        for index in range(len(schema.get("prefixItems", ())), len(value)):
            if len(at.faults) >= FAULTS_MAX:
                return
            at.check(value[index], expected, path.item(index))


def _prefix_items(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if isinstance(value, list):
        for index, (item, schema) in enumerate(zip(value, expected, strict=False)):
            at.check(item, schema, path.item(index))


def _enum(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if not any(is_same(value, choice) for choice in expected):
        at.add(path, f"has to be one of {', '.join(json.dumps(choice) for choice in expected)}")


def _const(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if not is_same(value, expected):
        at.add(path, f"has to be {json.dumps(expected)}")


def _pattern(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if isinstance(value, str) and not re.search(expected, value):
        at.add(path, f"has to match {expected}")


def _format(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if isinstance(value, str):
        from lambdallm import _schema_formats

        if not _schema_formats.fits(expected, value):
            at.add(path, f"has to be {_article(expected)} {expected}")


def _ref(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    schema = at.find(expected)
    if schema is not None:
        at.check(value, schema, path)


def _all_of(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    for schema in expected:
        at.check(value, schema, path)


def _any_of(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    tried = []
    for schema in expected:
        faults = at.faults_of(value, schema, path)
        if not faults:
            return
        tried.append((schema, faults))
    _add_likely(at, value, tried, path)


def _add_likely(at: Checking, value: Any, tried: list[tuple[Any, Faults]], path: Path) -> None:
    """Take the faults of the one choice that was meant; they say more than that it is wrong."""
    likely = [faults for schema, faults in tried if _is_of_kind(at, value, schema)]
    if len(likely) == 1:
        at.take(likely[0])
    else:
        at.add(path, "is none of what is allowed here" if value is not None else "is missing")


def _is_of_kind(at: Checking, value: Any, schema: Any) -> bool:
    """Say whether a value has the type that a choice asks for."""
    seen = set()
    while isinstance(schema, dict) and "$ref" in schema and "type" not in schema:
        if schema["$ref"] in seen:
            return False
        seen.add(schema["$ref"])
        schema = at.find(schema["$ref"])
    if not isinstance(schema, dict) or "type" not in schema:
        return False
    kinds = schema["type"]
    return any(_is_a(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds]))


def _one_of(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    tried = [(each, at.faults_of(value, each, path)) for each in expected]
    fitting = sum(not faults for _, faults in tried)
    if fitting > 1:
        at.add(path, "is more than one of what is allowed here")
    elif not fitting:
        _add_likely(at, value, tried, path)


def _not(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if not at.faults_of(value, expected, path):
        at.add(path, "is what is not allowed here")


def _unique_items(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if not (expected and isinstance(value, list)):
        return
    seen = set()
    for index, item in enumerate(map(_identity, value)):
        if item in seen:
            at.add(path.item(index), "is there already")
            return
        seen.add(item)


def _property_names(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    if isinstance(value, dict):
        for name in value:
            at.check(name, expected, path.made_up(name))


def _multiple_of(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and not _is_multiple(value, expected):
        at.add(path, f"is no multiple of {expected}")


_EXACT_MAX = 2**53
"""Whole numbers up to it are floats too."""


def _is_multiple(value: Any, step: Any) -> bool:
    """Say whether a number is a multiple, as it is written: 19.99 is one of 0.01."""
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(step, int) and (isinstance(value, int) or step <= _EXACT_MAX):
        return not value % step
    from fractions import Fraction

    exact = [Fraction(each if isinstance(each, int) else str(each)) for each in (value, step)]
    return not exact[0] % exact[1]


def _bound(kinds: tuple[type, ...], *, size: bool, low: bool, words: str) -> Check:
    def check(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
        if isinstance(value, kinds) and not isinstance(value, bool):
            measure: Any = len(value) if size else value  # type: ignore[arg-type]
            if measure < expected if low else measure > expected:
                at.add(path, words.format(expected))

    return check


def _exclusive(*, low: bool) -> Check:
    def check(at: Checking, value: Any, expected: Any, path: Path, _: Any) -> None:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return
        if value <= expected if low else value >= expected:
            at.add(path, f"has to be {'more' if low else 'less'} than {expected}")

    return check


KEYWORDS: dict[str, Check] = {
    "type": _type,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "propertyNames": _property_names,
    "required": _required,
    "minProperties": _bound((dict,), size=True, low=True, words="needs at least {} fields"),
    "maxProperties": _bound((dict,), size=True, low=False, words="has more than {} fields"),
    "prefixItems": _prefix_items,
    "items": _items,
    "minItems": _bound((list,), size=True, low=True, words="needs at least {} items"),
    "maxItems": _bound((list,), size=True, low=False, words="has more than {} items"),
    "uniqueItems": _unique_items,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "format": _format,
    "minLength": _bound((str,), size=True, low=True, words="needs at least {} characters"),
    "maxLength": _bound((str,), size=True, low=False, words="has more than {} characters"),
    "minimum": _bound((int, float), size=False, low=True, words="is less than {}"),
    "maximum": _bound((int, float), size=False, low=False, words="is more than {}"),
    "exclusiveMinimum": _exclusive(low=True),
    "exclusiveMaximum": _exclusive(low=False),
    "multipleOf": _multiple_of,
    "$ref": _ref,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
}
"""The part of JSON Schema that is checked."""
