"""`input_schema`: what a body has to hold, checked before anything is spent.

Two spellings: fields with their Python types, all of them required,

    {"message": str, "count": int}

or the part of JSON Schema that `KEYWORDS` lists. A keyword outside of it is refused when the
handler is decorated, because a constraint that is silently not checked is worse than none. What an
answer has to be is checked here too (`_output_schema`).
"""

from __future__ import annotations

import re

from lambdallm import _errors
from lambdallm._schema_keywords import FAULTS_MAX, FORMATS, KEYWORDS, TYPES, Checking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm._schema_keywords import Faults

__all__ = ["DEPTH_MAX", "FAULTS_MAX", "KEYWORDS", "Schema"]

DEPTH_MAX = 32

_PYTHON_TYPES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}
_ANNOTATIONS = {
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
}

_SCHEMAS = ("items", "additionalProperties", "propertyNames", "not")
_NAMED_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
_LISTED_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
"""Keywords that hold schemas: one, by names, in a list."""


class Schema:
    """A schema that was found to be one."""

    def __init__(self, definition: Mapping[str, Any], name: str = "input_schema") -> None:
        """Compile it; `name` is what its author calls it.

        Raises:
            ConfigurationError: A keyword or a type is not known; the message names it.
        """
        if definition and all(isinstance(value, type) for value in definition.values()):
            definition = _from_types(definition)
        _refuse_unknown(definition, name)
        _refuse_lost(definition, definition, name)
        self._definition = definition

    def check(self, value: Any, name: str = "body") -> None:
        """Hold a value against it.

        Raises:
            InvalidRequestError: With every field at fault; no value is repeated.
        """
        faults = self.faults(value, name)
        if faults:
            listed = "; ".join(f"{fault['field']} {fault['detail']}" for fault in faults)
            message = f"The request is not as it should be: {listed}."
            raise _errors.InvalidRequestError(message, errors=faults)

    def faults(self, value: Any, name: str) -> Faults:
        """Return every field at fault; no value is repeated."""
        checking = Checking(self._definition)
        checking.check(value, self._definition, name)
        return checking.faults


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
    if isinstance(schema, bool) and depth:
        return
    if not isinstance(schema, dict) or depth > DEPTH_MAX:
        message = f"{path} is no schema: it has to be a dict, nested at most {DEPTH_MAX} deep."
        raise _errors.ConfigurationError(message)
    for keyword in schema:
        if keyword not in KEYWORDS and keyword not in _ANNOTATIONS | set(_NAMED_SCHEMAS):
            message = f"{path}: {keyword!r} is not checked here; leave it out. Known: " + ", ".join(
                sorted(KEYWORDS)
            )
            raise _errors.ConfigurationError(message)
    types = _type_names(schema)
    if unknown := [name for name in types if name not in TYPES]:
        message = f"{path}: {unknown[0]!r} is no type; use " + ", ".join(sorted(TYPES))
        raise _errors.ConfigurationError(message)
    if schema.get("format", FORMATS[0]) not in FORMATS:
        message = f"{path}: no format {schema['format']!r} is checked here; known: " + ", ".join(
            FORMATS
        )
        raise _errors.ConfigurationError(message)
    if empty := [name for name in _LISTED_SCHEMAS if not schema.get(name, True)]:
        message = f"{path}: {empty[0]} holds no schema."
        raise _errors.ConfigurationError(message)
    for place, inner in _within(schema):
        _refuse_unknown(inner, f"{path}{place}", depth + 1)
    for pattern in (*schema.get("patternProperties", ()), schema.get("pattern", "")):
        re.compile(pattern)


def _within(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the schemas in a schema, and where they stand."""
    found = [("[]" if name == "items" else f".{name}", schema[name]) for name in _SCHEMAS
             if name in schema]  # fmt: skip
    for name in _NAMED_SCHEMAS:
        found += [(f".{key}", inner) for key, inner in schema.get(name, {}).items()]
    for name in _LISTED_SCHEMAS:
        found += [(f".{name}[{at}]", inner) for at, inner in enumerate(schema.get(name, ()))]
    return found


def _refuse_lost(schema: Any, root: Mapping[str, Any], path: str) -> None:
    """Refuse a reference that leads nowhere: what it was to say would not be checked."""
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref", "#")
    if not (isinstance(reference, str) and reference.startswith("#")) or (
        Checking(root).find(reference) is None
    ):
        message = f"{path}: {reference!r} leads nowhere; a reference stays within its schema."
        raise _errors.ConfigurationError(message)
    for place, inner in _within(schema):
        _refuse_lost(inner, root, f"{path}{place}")


def _type_names(schema: Mapping[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]
