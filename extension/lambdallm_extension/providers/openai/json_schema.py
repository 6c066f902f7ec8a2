"""JSON schemas as OpenAI takes them: strictly, where they can be followed to the letter."""

from __future__ import annotations

from lambdallm_extension.providers.output_schemas import with_bare_references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT_NAME = "answer"

_NAME_MAX = 64
"""Source: API reference, `response_format.json_schema.name`, 2026-11."""


def is_strict(schema: object) -> bool:
    """Say whether OpenAI takes a schema with `strict`: it refuses others with it.

    The whole is an object, each object forbids other properties and requires all it has, each part
    says what it is, and a reference says nothing else.
    Source: platform.openai.com/docs, "Structured outputs"; openai-python (`_pydantic`), 2026-11.
    """
    return isinstance(schema, dict) and schema.get("type") == "object" and _is_strict(schema)


def _is_strict(part: object) -> bool:
    if not isinstance(part, dict) or not _UNKNOWN.isdisjoint(part):
        return False
    if "$ref" in part:
        return len(part) == 1
    if not any(word in part for word in ("type", "anyOf", "enum", "const")):
        return False
    inner = [*part.get("anyOf", ()), *([part["items"]] if "items" in part else ())]
    for name in ("$defs", "definitions"):
        inner += part.get(name, {}).values()
    if "properties" in part or part.get("type") == "object":
        properties, required = part.get("properties"), part.get("required")
        if part.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        if set(properties) != set(required if isinstance(required, list) else ()):
            return False
        inner += properties.values()
    return all(_is_strict(each) for each in inner)


_UNKNOWN = frozenset((
    "allOf", "oneOf", "not", "if", "then", "else", "prefixItems", "patternProperties",
    "propertyNames", "contains", "dependentRequired", "dependentSchemas", "unevaluatedItems",
    "unevaluatedProperties",
))  # fmt: skip


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema as answers are asked for in it."""
    bare = with_bare_references(schema)
    if is_strict(bare):
        return {"name": schema_name(schema), "schema": bare, "strict": True}
    return {"name": schema_name(schema), "schema": schema, "strict": False}


def schema_name(schema: Mapping[str, Any]) -> str:
    """Return a name that OpenAI takes, of the schema's title if it has one."""
    title = schema.get("title")
    kept = [
        letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_"
        for letter in (title if isinstance(title, str) else "").strip()
    ]
    return "".join(kept)[:_NAME_MAX] or DEFAULT_NAME
