"""Write what docs/configuration.md says of each key, and docs/lambdallm.schema.json, for editors.

Run `python docs/generate_configuration.py` after a change of the schema; a test compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lambdallm_wire import configuration as schema

PAGE_FILE = Path(__file__).parent / "configuration.md"
SCHEMA_FILE = Path(__file__).parent / "lambdallm.schema.json"

BEGIN = "<!-- the keys: made by generate_configuration.py -->\n"
END = "<!-- end of the keys -->\n"

Schema = dict[str, Any]

_TYPES: dict[str, Schema] = {
    schema.TEXT: {"type": "string", "minLength": 1},
    schema.SCALAR: {"type": ["string", "number", "boolean"]},
    schema.INTEGER: {"type": "integer"},
    schema.NUMBER: {"type": "number"},
    schema.DECIMAL: {"type": ["number", "string"], "pattern": "^[0-9]+(\\.[0-9]*)?$"},
    schema.USD: {"type": ["number", "string"], "pattern": "^[0-9]+(\\.[0-9]*)?$"},
    schema.USD_PER_MILLION: {
        "type": ["number", "string"],
        "pattern": "^[0-9]+(\\.[0-9]{0,6}0*)?$",
    },
    schema.TEXTS: {"type": "array", "items": {"type": "string", "minLength": 1}},
    schema.HEADERS: {
        "type": "object",
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
}


_WITHOUT_SLASH = ("models", "providers")
"""Whose names stand before or behind the slash of `provider/model`."""


def table() -> str:
    """Return the keys as a table, those that have an effect first."""
    text = ""
    for title, effects in (
        ("Keys that have an effect", (schema.USED,)),
        ("Keys that are read and not used yet", (schema.LATER, schema.DEPLOYING)),
    ):
        text += f"### {title}\n\n| Key | Values | Default | Meaning | Example |\n"
        text += "| --- | --- | --- | --- | --- |\n"
        for setting in schema.SETTINGS:
            if setting.effect in effects:
                default = setting.default or "–"
                if setting.default and " " not in setting.default and "'" not in setting.default:
                    default = f"`{setting.default}`"
                name = setting.name.replace("*", "NAME")
                text += f"| `{name}` | {_values(setting)} | {default} | {setting.meaning} | "
                text += f"`{setting.example}` |\n"
        text += "\n"
    return text


def page(before: str) -> str:
    """Return the page with the table of today in it."""
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table()}{END}{tail}"


def document() -> Schema:
    """Return the JSON schema, draft 2020-12, of a `lambdallm.yaml`."""
    top: Schema = _object()
    for setting in schema.SETTINGS:
        _place(top, setting)
    defaults = top["properties"][schema.SHORTHAND]["properties"]
    within = _object()
    within["properties"] = {**defaults, **top["properties"]}
    top["properties"][schema.ENVIRONMENTS] = {
        "description": "What holds instead where LAMBDALLM_ENV names the environment.",
        "type": ["object", "null"],
        "additionalProperties": within,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lambdallm.yaml",
        **top,
    }


def _object() -> Schema:
    return {"type": ["object", "null"], "additionalProperties": False, "properties": {}}


def _place(node: Schema, setting: schema.Setting) -> None:
    for name in setting.path[:-1]:
        if name == "*":
            if node["additionalProperties"] is False:
                node["additionalProperties"] = _object()
                if setting.path[0] in _WITHOUT_SLASH:
                    node["propertyNames"] = {"pattern": "^[^/]+$"}
            node = node["additionalProperties"]
        else:
            node = node["properties"].setdefault(name, _object())
    node["properties"][setting.path[-1]] = _leaf(setting)


def _leaf(setting: schema.Setting) -> Schema:
    words = (
        setting.meaning if setting.effect == schema.USED else f"(Not used yet.) {setting.meaning}"
    )
    leaf: Schema = {"description": words, **_TYPES[setting.kind]}
    kinds = leaf["type"] if isinstance(leaf["type"], list) else [leaf["type"]]
    leaf["type"] = [*kinds, "null"]
    if setting.choices:
        leaf["enum"] = [*setting.choices, None]
    if setting.least is not None:
        leaf["minimum"] = setting.least
    if setting.most is not None:
        leaf["maximum"] = setting.most
    return leaf


def _values(setting: schema.Setting) -> str:
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    return setting.values().removeprefix("a ")


def schema_text() -> str:
    """Return the schema file's content."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE_FILE.write_text(page(PAGE_FILE.read_text(encoding="utf-8")), encoding="utf-8")
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    sys.stdout.write(f"Wrote {PAGE_FILE} and {SCHEMA_FILE}\n")
