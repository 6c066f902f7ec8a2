"""`input_schema`: what a body has to hold, checked before anything is spent.

Two spellings: fields with their Python types, all of them required,

    {"message": str, "count": int}

or the part of JSON Schema that `KEYWORDS` lists. A keyword outside of it is refused when the
handler is decorated, because a constraint that is silently not checked is worse than none. What an
answer has to be is checked here too (`_output_schema`).
"""

from __future__ import annotations

import math
import re

from lambdallm import _errors
from lambdallm._schema_faults import (
    FAULTS_MAX,
    Path,
    TooMuchError,
    fault,
    in_full,
    in_sentence,
)
from lambdallm._schema_keywords import FORMATS, KEYWORDS, TYPES, Checking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm._schema_faults import Faults

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
NAMED_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
LISTED_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
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
            message = f"The request is not as it should be: {in_sentence(faults)}."
            raise _errors.InvalidRequestError(message, errors=in_full(faults))

    def faults(self, value: Any, name: str) -> Faults:
        """Return every field at fault; no value is repeated."""
        path = Path(name, name)
        checking = Checking(self._definition, value)
        try:
            checking.check(value, self._definition, path)
        except TooMuchError as error:
            return error.faults
        except RecursionError:  # of values that are compared
            return [fault(path, "is nested too deep")]
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
    for keyword, said in schema.items():
        if keyword not in KEYWORDS and keyword not in _ANNOTATIONS | set(NAMED_SCHEMAS):
            message = f"{path}: {keyword!r} is not checked here; leave it out. Known: " + ", ".join(
                sorted(KEYWORDS)
            )
            raise _errors.ConfigurationError(message)
        _refuse_value(keyword, said, path)
    for place, inner in _within(schema):
        _refuse_unknown(inner, f"{path}{place}", depth + 1)


def _refuse_value(keyword: str, said: Any, path: str) -> None:
    """Refuse what a keyword cannot be checked with."""
    fits, wanted = _VALUES.get(keyword, (None, ""))
    if fits is not None and not fits(said):
        message = f"{path}: {keyword} has to be {wanted}, not {said!r:.100}."
        raise _errors.ConfigurationError(message)


def _is_number(said: Any) -> bool:
    if isinstance(said, float):
        return math.isfinite(said)
    return isinstance(said, int) and not isinstance(said, bool)


def _is_size(said: Any) -> bool:
    return _is_number(said) and said >= 0 and said == int(said)


def _are_names(said: Any) -> bool:
    return isinstance(said, (list, tuple)) and all(isinstance(each, str) for each in said)


def _are_types(said: Any) -> bool:
    names = said if isinstance(said, list) else [said]
    return bool(names) and all(isinstance(each, str) and each in TYPES for each in names)


def _is_pattern(said: Any) -> bool:
    try:
        re.compile(said)
    except (TypeError, re.error, OverflowError, RecursionError):
        return False
    return isinstance(said, str)


_SIZE = (_is_size, "a whole number from 0 on")
_NUMBER = (_is_number, "a number")
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_are_types, "one of " + ", ".join(sorted(TYPES)) + ", or a list of them"),
    "required": (_are_names, "a list of names"),
    "enum": (lambda said: isinstance(said, (list, tuple)), "a list"),
    "pattern": (_is_pattern, "a regular expression"),
    "format": (
        lambda said: isinstance(said, str) and said in FORMATS,
        "one of those that are checked here: " + ", ".join(FORMATS),
    ),
    "uniqueItems": (lambda said: isinstance(said, bool), "true or false"),
    "multipleOf": (lambda said: _is_number(said) and said > 0, "a number above 0"),
    "patternProperties": (
        lambda said: isinstance(said, dict) and all(map(_is_pattern, said)),
        "schemas by regular expressions",
    ),
    **dict.fromkeys(
        ("properties", "$defs", "definitions"),
        (lambda said: isinstance(said, dict) and _are_names([*said]), "schemas by names"),
    ),
    **dict.fromkeys(
        LISTED_SCHEMAS,
        (lambda said: bool(said) and isinstance(said, (list, tuple)), "a list of schemas"),
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _SIZE
    ),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
}
"""What a keyword's value has to be; those that hold one schema are looked into."""


def _within(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the schemas in a schema, and where they stand."""
    found = [("[]" if name == "items" else f".{name}", schema[name]) for name in _SCHEMAS
             if name in schema]  # fmt: skip
    for name in NAMED_SCHEMAS:
        found += [(f".{key}", inner) for key, inner in schema.get(name, {}).items()]
    for name in LISTED_SCHEMAS:
        found += [(f".{name}[{at}]", inner) for at, inner in enumerate(schema.get(name, ()))]
    return found


def _refuse_lost(schema: Any, root: Mapping[str, Any], path: str) -> None:
    """Refuse a reference that leads nowhere: what it was to say would not be checked."""
    if not isinstance(schema, dict):
        return
    reference = schema.get("$ref", "#")
    if not (isinstance(reference, str) and reference.startswith("#")) or (
        Checking(root, None).find(reference) is None
    ):
        message = f"{path}: {reference!r} leads nowhere; a reference stays within its schema."
        raise _errors.ConfigurationError(message)
    for place, inner in _within(schema):
        _refuse_lost(inner, root, f"{path}{place}")
