"""JSON schemas as OpenAI takes them: strictly, where they can be followed to the letter."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT_NAME = "answer"

_NAME_MAX = 64
"""Source: API reference, `response_format.json_schema.name`, 2026-11."""


def is_strict(schema: object) -> bool:
    """Say whether OpenAI takes a schema with `strict`: it refuses others with it.

    Each object must forbid other properties and require all it has.
    Source: platform.openai.com/docs, "Structured outputs", 2026-11.
    """
    if isinstance(schema, list):
        return all(is_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if "properties" in schema or schema.get("type") == "object":
        properties = schema.get("properties")
        required = schema.get("required")
        if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        if set(properties) != set(required if isinstance(required, list) else ()):
            return False
        if not all(is_strict(part) for part in properties.values()):
            return False
    return all(is_strict(part) for name, part in schema.items() if name not in _NO_SCHEMAS)


_NO_SCHEMAS = ("properties", "required", "enum", "const", "default", "examples")


def described(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema as answers are asked for in it."""
    return {"name": schema_name(schema), "schema": schema, "strict": is_strict(schema)}


def schema_name(schema: Mapping[str, Any]) -> str:
    """Return a name that OpenAI takes, of the schema's title if it has one."""
    title = schema.get("title")
    kept = [
        letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_"
        for letter in (title if isinstance(title, str) else "").strip()
    ]
    return "".join(kept)[:_NAME_MAX] or DEFAULT_NAME
