"""`input_schema`: what a body has to hold, checked before anything is spent.

Two spellings: fields with their Python types, all of them required,

    {"message": str, "count": int}

or the part of JSON Schema that `KEYWORDS` lists. A keyword outside of it is refused when the
handler is decorated, because a constraint that is silently not checked is worse than none.
"""

from __future__ import annotations

import json
import re

from lambdallm import _errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Faults = list[dict[str, str]]
    Check = Callable[[Any, Any, str, Faults], None]

FAULTS_MAX = 20
"""Reported at once; a hostile body must not make a long answer."""

DEPTH_MAX = 32

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_PYTHON_TYPES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}
_ANNOTATIONS = {"$schema", "$id", "title", "description", "default", "examples", "$comment"}


class Schema:
    """A schema that was found to be one."""

    def __init__(self, definition: Mapping[str, Any]) -> None:
        """Compile it.

        Raises:
            ConfigurationError: A keyword or a type is not known; the message names it.
        """
        if definition and all(isinstance(value, type) for value in definition.values()):
            definition = _from_types(definition)
        _refuse_unknown(definition, "input_schema")
        self._definition = definition

    def check(self, value: Any, name: str = "body") -> None:
        """Hold a value against it.

        Raises:
            InvalidRequestError: With every field at fault; no value is repeated.
        """
        faults: Faults = []
        _check(value, self._definition, name, faults)
        if faults:
            listed = "; ".join(f"{fault['field']} {fault['detail']}" for fault in faults)
            message = f"The request is not as it should be: {listed}."
            raise _errors.InvalidRequestError(message, errors=faults)


def _from_types(fields: Mapping[str, type]) -> dict[str, Any]:
    properties = {}
    for name, kind in fields.items():
        if kind not in _PYTHON_TYPES:
            message = (
                f"input_schema: the type of {name!r} is {kind.__name__}; use str, int, float, "
                "bool, list or dict, or a JSON schema."
            )
            raise _errors.ConfigurationError(message)
        properties[name] = {"type": _PYTHON_TYPES[kind]}
    return {"type": "object", "properties": properties, "required": list(fields)}


def _refuse_unknown(schema: Any, path: str, depth: int = 0) -> None:
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        message = f"{path} is no schema: it has to be a dict, nested at most {DEPTH_MAX} deep."
        raise _errors.ConfigurationError(message)
    for keyword in schema:
        if keyword not in KEYWORDS and keyword not in _ANNOTATIONS:
            message = f"{path}: {keyword!r} is not checked here; leave it out. Known: " + ", ".join(
                sorted(KEYWORDS)
            )
            raise _errors.ConfigurationError(message)
    types = _type_names(schema)
    if unknown := [name for name in types if name not in _TYPES]:
        message = f"{path}: {unknown[0]!r} is no type; use " + ", ".join(sorted(_TYPES))
        raise _errors.ConfigurationError(message)
    for name, inner in schema.get("properties", {}).items():
        _refuse_unknown(inner, f"{path}.{name}", depth + 1)
    if "items" in schema:
        _refuse_unknown(schema["items"], f"{path}[]", depth + 1)
    if "pattern" in schema:
        re.compile(schema["pattern"])


def _type_names(schema: Mapping[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _check(value: Any, schema: Mapping[str, Any], path: str, faults: Faults) -> None:
    for keyword, expected in schema.items():
        if len(faults) >= FAULTS_MAX:
            return
        if keyword in _ANNOTATIONS:
            continue
        before = len(faults)
        KEYWORDS[keyword](value, expected, path, faults)
        if keyword == "type" and len(faults) > before:
            return
    if isinstance(value, dict) and schema.get("additionalProperties") is False:
        for name in value:
            if name not in schema.get("properties", {}) and len(faults) < FAULTS_MAX:
                faults.append({"field": f"{path}.{name}"[:200], "detail": "is not expected"})


def _type(value: Any, expected: Any, path: str, faults: Faults) -> None:
    names = expected if isinstance(expected, list) else [expected]
    for name in names:
        if isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool)):
            return
        if name == "integer" and isinstance(value, float) and value.is_integer():
            return
    article = "an" if names[0][0] in "aeio" else "a"
    detail = "is missing" if value is None else f"has to be {article} {' or '.join(names)}"
    faults.append({"field": path, "detail": detail})


def _properties(value: Any, expected: Mapping[str, Any], path: str, faults: Faults) -> None:
    if isinstance(value, dict):
        for name, schema in expected.items():
            if name in value:
                _check(value[name], schema, f"{path}.{name}", faults)


def _required(value: Any, expected: list[str], path: str, faults: Faults) -> None:
    if isinstance(value, dict):
        faults += [
            {"field": f"{path}.{name}", "detail": "is missing"}
            for name in expected
            if name not in value
        ]


def _items(value: Any, expected: Mapping[str, Any], path: str, faults: Faults) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            if len(faults) >= FAULTS_MAX:
                return
            _check(item, expected, f"{path}[{index}]", faults)


def _enum(value: Any, expected: list[Any], path: str, faults: Faults) -> None:
    if not any(_same(value, choice) for choice in expected):
        choices = ", ".join(json.dumps(choice) for choice in expected)
        faults.append({"field": path, "detail": f"has to be one of {choices}"})


def _const(value: Any, expected: Any, path: str, faults: Faults) -> None:
    if not _same(value, expected):
        faults.append({"field": path, "detail": f"has to be {json.dumps(expected)}"})


def _same(value: Any, other: Any) -> bool:
    """JSON's equality: true is not 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _pattern(value: Any, expected: str, path: str, faults: Faults) -> None:
    if isinstance(value, str) and not re.search(expected, value):
        faults.append({"field": path, "detail": f"has to match {expected}"})


def _bound(kinds: tuple[type, ...], *, size: bool, low: bool, words: str) -> Check:
    def check(value: Any, expected: Any, path: str, faults: Faults) -> None:
        if not isinstance(value, kinds) or isinstance(value, bool):
            return
        measure: Any = len(value) if size else value  # type: ignore[arg-type]
        if measure < expected if low else measure > expected:
            faults.append({"field": path, "detail": words.format(expected)})

    return check


def _nothing(value: Any, expected: Any, path: str, faults: Faults) -> None:
    """`additionalProperties` looks at its neighbours: `_check` does it."""


KEYWORDS: dict[str, Check] = {
    "type": _type,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _nothing,
    "items": _items,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "minLength": _bound((str,), size=True, low=True, words="needs at least {} characters"),
    "maxLength": _bound((str,), size=True, low=False, words="has more than {} characters"),
    "minItems": _bound((list,), size=True, low=True, words="needs at least {} items"),
    "maxItems": _bound((list,), size=True, low=False, words="has more than {} items"),
    "minimum": _bound((int, float), size=False, low=True, words="is less than {}"),
    "maximum": _bound((int, float), size=False, low=False, words="is more than {}"),
}
"""The part of JSON Schema that is checked."""
