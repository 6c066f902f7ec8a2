"""What each keyword of JSON Schema asks of a value. `_schema` says which of them a schema may have.

Source: json-schema.org, "Draft 2020-12"; held against the package jsonschema in the tests.
"""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Schema = Mapping[str, Any] | bool
    Faults = list[dict[str, str]]
    Check = Callable[["Checking", Any, Any, str, Mapping[str, Any]], None]

FAULTS_MAX = 20
"""Reported at once; a hostile body must not make a long answer."""

NESTING_MAX = 200
"""Of schemas within schemas while a value is checked: a reference may lead back to itself."""

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

_FIELD_MAX = 200
"""Characters of a field's name, which may be somebody's."""


class Checking:
    """One check of one value: the schema that references lead into, and what is at fault."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.faults: Faults = []
        self._root = root
        self._depth = 0

    def add(self, path: str, detail: str) -> None:
        """Take a fault, while there is room."""
        if len(self.faults) < FAULTS_MAX:
            self.faults.append({"field": path[:_FIELD_MAX], "detail": detail})

    def fits(self, value: Any, schema: Schema, path: str) -> bool:
        """Say whether a value follows a schema, of which nobody is told more."""
        kept, self.faults = self.faults, []
        try:
            self.check(value, schema, path)
            return not self.faults
        finally:
            self.faults = kept

    def check(self, value: Any, schema: Schema, path: str) -> None:
        """Hold a value against a schema."""
        if isinstance(schema, bool):
            if not schema:
                self.add(path, "is not expected")
            return
        self._depth += 1
        if self._depth > NESTING_MAX:
            self.add(path, f"is nested more than {NESTING_MAX} deep")
        else:
            self._check(value, schema, path)
        self._depth -= 1

    def _check(self, value: Any, schema: Mapping[str, Any], path: str) -> None:
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


def is_same(value: Any, other: Any) -> bool:
    """JSON's equality: true is not 1."""
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(
            is_same(value[key], other[key]) for key in value
        )
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(is_same, value, other))
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _type(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    names = expected if isinstance(expected, list) else [expected]
    for name in names:
        if isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool)):
            return
        if name == "integer" and isinstance(value, float) and value.is_integer():
            return
    said = f"has to be {_article(names[0])} {' or '.join(names)}"
    at.add(path, "is missing" if value is None else said)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeio" else "a"


def _properties(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if isinstance(value, dict):
        for name, schema in expected.items():
            if name in value:
                at.check(value[name], schema, f"{path}.{name}")


def _pattern_properties(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if isinstance(value, dict):
        for pattern, schema in expected.items():
            for name in value:
                if re.search(pattern, name):
                    at.check(value[name], schema, f"{path}.{name}")


def _additional(at: Checking, value: Any, expected: Any, path: str, schema: Any) -> None:
    if not isinstance(value, dict):
        return
    patterns = schema.get("patternProperties", {})
    for name in value:
        if name in schema.get("properties", {}) or any(re.search(each, name) for each in patterns):
            continue
        at.check(value[name], expected, f"{path}.{name}")


def _required(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if isinstance(value, dict):
        for name in expected:
            if name not in value:
                at.add(f"{path}.{name}", "is missing")


def _items(at: Checking, value: Any, expected: Any, path: str, schema: Any) -> None:
    if isinstance(value, list):
        for index in range(len(schema.get("prefixItems", ())), len(value)):
            if len(at.faults) >= FAULTS_MAX:
                return
            at.check(value[index], expected, f"{path}[{index}]")


def _prefix_items(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if isinstance(value, list):
        for index, (item, schema) in enumerate(zip(value, expected, strict=False)):
            at.check(item, schema, f"{path}[{index}]")


def _enum(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if not any(is_same(value, choice) for choice in expected):
        at.add(path, f"has to be one of {', '.join(json.dumps(choice) for choice in expected)}")


def _const(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if not is_same(value, expected):
        at.add(path, f"has to be {json.dumps(expected)}")


def _pattern(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if isinstance(value, str) and not re.search(expected, value):
        at.add(path, f"has to match {expected}")


def _format(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if isinstance(value, str):
        from lambdallm import _schema_formats

        if not _schema_formats.fits(expected, value):
            at.add(path, f"has to be {_article(expected)} {expected}")


def _ref(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    schema = at.find(expected)
    if schema is not None:
        at.check(value, schema, path)


def _all_of(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    for schema in expected:
        at.check(value, schema, path)


def _any_of(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if any(at.fits(value, schema, path) for schema in expected):
        return
    likely = [each for each in expected if _is_of_kind(at, value, each)]
    if len(likely) == 1:  # what is wrong with it says more than that it is wrong
        at.check(value, likely[0], path)
    else:
        at.add(path, "is none of what is allowed here" if value is not None else "is missing")


def _is_of_kind(at: Checking, value: Any, schema: Any) -> bool:
    """Say whether a value has the type that a choice asks for."""
    while isinstance(schema, dict) and "$ref" in schema and "type" not in schema:
        schema = at.find(schema["$ref"])
    return (
        isinstance(schema, dict)
        and "type" in schema
        and at.fits(value, {"type": schema["type"]}, "")
    )


def _one_of(at: Checking, value: Any, expected: Any, path: str, schema: Any) -> None:
    fitting = sum(at.fits(value, each, path) for each in expected)
    if fitting > 1:
        at.add(path, "is more than one of what is allowed here")
    elif not fitting:
        _any_of(at, value, expected, path, schema)


def _not(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if at.fits(value, expected, path):
        at.add(path, "is what is not allowed here")


def _unique_items(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if not (expected and isinstance(value, list)):
        return
    for index, item in enumerate(value):
        if any(is_same(item, other) for other in value[:index]):
            at.add(f"{path}[{index}]", "is there already")
            return


def _property_names(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if isinstance(value, dict):
        for name in value:
            at.check(name, expected, f"{path}.{name}")


def _multiple_of(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value % expected:
        at.add(path, f"is no multiple of {expected}")


def _bound(kinds: tuple[type, ...], *, size: bool, low: bool, words: str) -> Check:
    def check(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
        if isinstance(value, kinds) and not isinstance(value, bool):
            measure: Any = len(value) if size else value  # type: ignore[arg-type]
            if measure < expected if low else measure > expected:
                at.add(path, words.format(expected))

    return check


def _exclusive(*, low: bool) -> Check:
    def check(at: Checking, value: Any, expected: Any, path: str, _: Any) -> None:
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
