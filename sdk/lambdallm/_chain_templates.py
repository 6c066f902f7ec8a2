"""What stands between steps: names, templates, and the schemas of answers."""

from __future__ import annotations

import re

from lambdallm import _errors
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)\}")

_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}


def check_name(name: object) -> None:
    """Refuse a name that cannot be part of a key and of a template.

    Raises:
        ConfigurationError: It cannot.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        message = f"A step is called by 1 to 80 letters, digits, '_' and '-', not {name!r:.100}."
        raise _errors.ConfigurationError(message)


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Put values into a template; what it names and nobody knows stays as it is.

    `{draft.output}` is a step's output, `{draft.output.title}` a field of it. A text goes in as it
    is, everything else as JSON.
    """

    def replace(found: re.Match[str]) -> str:
        known, value = look_up(found[1], values)
        if not known:
            return found[0]
        return value if isinstance(value, str) else plain_json.dumps(value)

    return _VARIABLE.sub(replace, template)


def look_up(name: str, values: Mapping[str, Any]) -> tuple[bool, Any]:
    """Return whether a template's name is known, and its value."""
    if name in values:
        return True, "" if values[name] is None else values[name]
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        root = ".".join(parts[:length])
        if root in values:
            value = values[root]
            for field in parts[length:]:
                if not isinstance(value, dict) or field not in value:
                    return False, None
                value = value[field]
            return True, value
    return False, None


def names_in(template: str) -> set[str]:
    """Return what a template's variables begin with: `draft` of `{draft.output.title}`."""
    return {found[1].partition(".")[0] for found in _VARIABLE.finditer(template)}


def only_variable(template: str) -> str | None:
    """Return the name in a template that is nothing but one `{name}`, else None."""
    found = _VARIABLE.fullmatch(template.strip())
    return None if found is None else found[1]


def to_json_schema(schema: Any) -> dict[str, Any]:
    """Return a JSON schema of an `output_schema`, by which a step is known again.

    Raises:
        ConfigurationError: Nothing can be made of it.
    """
    is_plain = isinstance(schema, dict) and all(
        isinstance(each, type) and each in _TYPES for each in schema.values()
    )
    if not (schema and is_plain):
        from lambdallm import _output_schema

        return _output_schema.of(schema).json_schema
    properties = {name: {"type": _TYPES[each]} for name, each in schema.items()}
    return {"type": "object", "properties": properties, "required": [*schema]}
