"""Write docs/openapi.json: the localhost API, read off the messages of `lambdallm_wire`.

Run `python docs/generate_openapi.py` after a change of a message; a test compares.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union

from lambdallm_wire import errors, names, problems, routes

OPENAPI_FILE = Path(__file__).parent / "openapi.json"

Schema = dict[str, Any]

_PLAIN: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}


def document() -> Schema:
    """Return the OpenAPI 3.1 document."""
    schemas: Schema = {}
    problem = _reference(problems.Problem, schemas)
    paths = {
        route.path: {route.method.lower(): _operation(route, problem, schemas)}
        for route in routes.ROUTES
    }
    token = {"type": "apiKey", "in": "header", "name": names.TOKEN_HEADER}
    return {
        "openapi": "3.1.0",
        "info": {"title": "lambdallm localhost API", "version": str(names.WIRE_VERSION)},
        "servers": [{"url": f"http://{names.HOST}:{names.DEFAULT_PORT}"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": token}},
    }


def _operation(route: routes.Route, problem: Schema, schemas: Schema) -> Schema:
    kind = "application/x-ndjson" if route is routes.STREAM else "application/json"
    replies: Schema = {
        "200": _content(kind, _reference(_message(route.reply), schemas), "Done."),
        "default": _content(errors.CONTENT_TYPE, problem, "Why not."),
    }
    operation: Schema = {"summary": route.summary, "responses": replies}
    if route.request is not None:
        body = _reference(_message(route.request), schemas)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body}},
        }
    return operation


def _message(name: str) -> type:
    """Return the TypedDict that a route names."""
    module, _, message = name.partition(".")
    found: type = getattr(importlib.import_module(f"lambdallm_wire.{module}"), message)
    return found


def _content(kind: str, schema: Schema, description: str) -> Schema:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _reference(message: type, schemas: Schema) -> Schema:
    name = message.__name__
    if name not in schemas:
        schemas[name] = {}  # so that a message that holds itself ends
        fields = typing.get_type_hints(message)
        summary = (message.__doc__ or "").strip().splitlines()
        schemas[name] = {
            "type": "object",
            "description": summary[0] if summary else "",
            "properties": {field: _schema(kind, schemas) for field, kind in fields.items()},
            "required": sorted(getattr(message, "__required_keys__", ())),
        }
    return {"$ref": f"#/components/schemas/{name}"}


def _schema(kind: Any, schemas: Schema) -> Schema:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if typing.is_typeddict(kind):
        return _reference(kind, schemas)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0], schemas)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], schemas)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(argument, schemas) for argument in arguments]}
    message = f"No schema for {kind!r}."
    raise TypeError(message)


def text() -> str:
    """Return the file's content."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OPENAPI_FILE.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"Wrote {OPENAPI_FILE}\n")
