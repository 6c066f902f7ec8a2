"""Types as JSON schemas; `_type_values` makes of a JSON value what they say.

    str int float bool None      the JSON type of it
    list[T] tuple[T, …] set[T]   an array
    dict[str, T]                 an object of such values
    A | B, Optional, Union       anyOf
    Literal, Enum                enum
    Annotated[T, "what it is"]   T with a description
    datetime date time UUID      a string with a format
    a dataclass, a TypedDict     an object, under its name in `$defs`, with its docstring

`Required` is what has no default. Nothing of pydantic is imported: a class that makes its own
schema and reads its own values is taken for one of its models.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Hashable, Mapping, Sequence
from datetime import date, datetime, time
from enum import Enum
from functools import lru_cache
from uuid import UUID

from lambdallm import _errors
from lambdallm._schema import LISTED_SCHEMAS, NAMED_SCHEMAS

if typing.TYPE_CHECKING:
    from typing import Any

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    list: {"type": "array"},
    dict: {"type": "object"},
    object: {},
    typing.Any: {},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    UUID: {"type": "string", "format": "uuid"},
}

ARRAYS = (list, Sequence, set, frozenset, tuple)
OBJECTS = (dict, Mapping)
UNIONS = (typing.Union, types.UnionType)
_CLASSES_MAX = 256
"""Classes whose types are kept: to read them takes longer than to build an instance."""

WRAPPERS = ("Required", "NotRequired", "ReadOnly")
"""Of a TypedDict's field. Before 3.11 they are typing_extensions', so they are told by name."""


def is_pydantic(hint: Any) -> bool:
    """Say whether a class makes its own schema, as pydantic's models do."""
    return isinstance(hint, type) and all(
        callable(getattr(hint, name, None)) for name in ("model_json_schema", "model_validate")
    )


def are_fields(shape: Any) -> bool:
    """Say whether a dict holds types, perhaps in dicts, and so is no JSON schema."""
    if not isinstance(shape, dict) or all(each is None for each in shape.values()):
        return False  # {"const": None} is one
    return all(are_fields(each) or is_hint(each) for each in shape.values())


def is_hint(hint: Any) -> bool:
    """Say whether something is a type, or an expression of types."""
    return (
        hint is None
        or hint is typing.Any
        or isinstance(hint, type)
        or (typing.get_origin(hint) is not None)
    )


def schema_of(shape: Any, *, opaque: bool = False) -> dict[str, Any]:
    """Return the schema of a class, or of an object with fields of these types.

    Args:
        shape: A dataclass, a TypedDict, or types by names.
        opaque: Whether pydantic's models stand for anything at all: they check their values
            themselves, by more keywords than are known here.

    Raises:
        ConfigurationError: It is none of them, or a type is not known.
    """
    schemas = _Schemas(opaque=opaque)
    if isinstance(shape, dict):
        return schemas.rooted(schemas.of(shape, "output_schema"))
    if not (is_dataclass(shape) or is_typed_dict(shape)):
        message = (
            f"output_schema: {shape.__name__} is no dataclass, no TypedDict and no pydantic model; "
            f"name the field that it is the value of, as {{'value': {shape.__name__}}}."
        )
        raise _errors.ConfigurationError(message)
    return schemas.rooted(schemas.members(shape))


def schema_of_hint(hint: Any) -> dict[str, Any]:
    """Return what a value of a type is held against, before its classes say more."""
    schemas = _Schemas(opaque=True)
    return schemas.rooted(schemas.of(hint, "answer"))


class _Schemas:
    """Makes schemas, and keeps those of classes by their names."""

    def __init__(self, *, opaque: bool) -> None:
        self._opaque = opaque
        self._named: dict[str, dict[str, Any]] = {}
        self._classes: dict[str, Any] = {}

    def rooted(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return what was made, with all the classes that it has met."""
        return schema | ({"$defs": self._named} if self._named else {})

    def of(self, hint: Any, path: str) -> dict[str, Any]:
        """Return the schema of a type; `path` says where it stands."""
        if isinstance(hint, dict):
            return self._object(
                {name: self.of(each, f"{path}.{name}") for name, each in hint.items()}
            )
        if isinstance(hint, Hashable) and hint in _SCALARS:
            return dict(_SCALARS[hint])
        if isinstance(hint, type) and typing.get_origin(hint) is None:
            return self._of_class(hint, path)
        return self._of_expression(hint, path)

    def _of_class(self, hint: Any, path: str) -> dict[str, Any]:
        if issubclass(hint, Enum):
            return _choices([each.value for each in hint], path)
        if not (is_pydantic(hint) or is_dataclass(hint) or is_typed_dict(hint)):
            raise _unknown(hint, path)
        if is_pydantic(hint) and self._opaque:
            return {}
        name = hint.__name__
        is_new = name not in self._classes
        if self._classes.setdefault(name, hint) is not hint:
            raise _named_twice(name, path)
        if is_new:
            if is_pydantic(hint):
                self._merge(_definitions_of(hint), path)
            else:
                self._merge({name: {}}, path)  # it may hold itself
                self._named[name] = self.members(hint)
        return {"$ref": f"#/$defs/{name}"}

    def _merge(self, definitions: dict[str, dict[str, Any]], path: str) -> None:
        for name, definition in definitions.items():
            if self._named.setdefault(name, definition) != definition:
                raise _named_twice(name, path)

    def members(self, owner: Any) -> dict[str, Any]:
        """Return the schema of a class's fields."""
        name = owner.__name__
        hints = hints_of(owner)
        told = {field.name: field for field in fields_of(owner)} if is_dataclass(owner) else {}
        if is_dataclass(owner):
            hints = {each: hints[each] for each in told}
            required = [each for each in hints if _has_no_default(told[each])]
        else:
            required = [each for each in hints if _is_required(owner, each, hints[each])]
        properties = {each: self.of(hints[each], f"{name}.{each}") for each in hints}
        for each, field in told.items():
            if description := field.metadata.get("description"):
                properties[each] = _described(properties[each], description)
        schema = {"title": name, **self._object(properties), "required": required}
        text = owner.__dict__.get("__doc__") or ""
        if text and not text.startswith(f"{name}("):  # which dataclasses write themselves
            schema["description"] = " ".join(text.split())
        return schema

    def _object(self, properties: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "required": [*properties]}

    def _of_expression(self, hint: Any, path: str) -> dict[str, Any]:
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin in (list, dict) and not inner:  # typing.List, as it stands
            return self.of(origin, path)
        if origin is typing.Annotated or wrapper_of(hint):
            texts = [each for each in inner[1:] if isinstance(each, str)]
            schema = self.of(inner[0], path)
            return _described(schema, " ".join(texts)) if texts else schema
        if origin is typing.Literal:
            return _choices([*inner], path)
        if origin in UNIONS:
            return {"anyOf": [self.of(each, path) for each in inner]}
        if origin in OBJECTS and inner and inner[0] is str:
            return {"type": "object", "additionalProperties": self.of(inner[1], f"{path}.*")}
        return self._array(hint, path)

    def _array(self, hint: Any, path: str) -> dict[str, Any]:
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin not in ARRAYS or not inner:
            raise _unknown(hint, path)
        if origin is tuple and inner[-1] is not Ellipsis:
            items = [self.of(each, f"{path}[{at}]") for at, each in enumerate(inner)]
            count = len(items)
            return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}
        return {"type": "array", "items": self.of(inner[0], f"{path}[]")}


def _definitions_of(model: Any) -> dict[str, dict[str, Any]]:
    """Return a pydantic model's schema by its name, with those of the models in it."""
    schema = dict(model.model_json_schema())
    definitions: dict[str, dict[str, Any]] = schema.pop("$defs", {})
    name = model.__name__
    if schema.get("$ref") == f"#/$defs/{name}":  # it holds itself
        return definitions
    return {**definitions, name: schema}


def _named_twice(name: str, path: str) -> _errors.ConfigurationError:
    message = f"{path}: there are two classes called {name}; call one of them otherwise."
    return _errors.ConfigurationError(message)


def _described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


def _choices(values: list[Any], path: str) -> dict[str, Any]:
    values = [*map(plain_choice, values)]
    kinds = {type(each) for each in values}
    if not kinds <= {str, int, bool, float, type(None)}:
        message = f"{path}: a choice is a text, a number, true, false or null."
        raise _errors.ConfigurationError(message)
    kind = _SCALARS[kinds.pop()]["type"] if len(kinds) == 1 else None
    return {"enum": values} | ({"type": kind} if kind else {})


def plain_choice(choice: Any) -> Any:
    """Return what a choice is in JSON."""
    return choice.value if isinstance(choice, Enum) else choice


def _unknown(hint: Any, path: str) -> _errors.ConfigurationError:
    message = f"{path}: output_schema knows no {getattr(hint, '__name__', None) or repr(hint):.100}"
    return _errors.ConfigurationError(
        f"{message}; see docs/structured_output.md for what it knows."
    )


def is_dataclass(hint: Any) -> bool:
    """Say whether a class is one."""
    return isinstance(hint, type) and hasattr(hint, "__dataclass_fields__")


def fields_of(owner: Any) -> list[Any]:
    """Return the fields that a dataclass is made of.

    Raises:
        ConfigurationError: It cannot be made of its fields.
    """
    from dataclasses import MISSING, fields

    names = {field.name for field in fields(owner)}
    for name, field in owner.__dataclass_fields__.items():
        is_asked_for = str(field._field_type) == "_FIELD_INITVAR"  # noqa: SLF001 - nobody else tells
        if name not in names and is_asked_for and field.default is MISSING:
            message = (
                f"output_schema: {owner.__name__} cannot be made without {name}, which is no field "
                "(InitVar); give it a default."
            )
            raise _errors.ConfigurationError(message)
    return [field for field in fields(owner) if field.init]


def is_typed_dict(hint: Any) -> bool:
    """Say whether a class is one."""
    return isinstance(hint, type) and hasattr(hint, "__required_keys__")


@lru_cache(maxsize=_CLASSES_MAX)
def hints_of(owner: Any) -> dict[str, Any]:
    """Return the types of a class's fields.

    Raises:
        ConfigurationError: They cannot be read.
    """
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except NameError as error:
        message = (
            f"output_schema: the types of {owner.__name__} cannot be read ({error}); classes that "
            "it names belong into its module, not into a function."
        )
        raise _errors.ConfigurationError(message) from error


def _has_no_default(field: Any) -> bool:
    from dataclasses import MISSING

    return field.default is MISSING and field.default_factory is MISSING


def wrapper_of(hint: Any) -> str:
    """Return `Required`, `NotRequired` or `ReadOnly`, "" for a type that is none of them."""
    name = getattr(typing.get_origin(hint), "_name", None)
    return name if name in WRAPPERS else ""


def _is_required(owner: Any, name: str, hint: Any) -> bool:
    """Say whether a TypedDict has to have a field; postponed annotations tell it in the hint."""
    while typing.get_origin(hint) is typing.Annotated or wrapper_of(hint):
        if wrapper_of(hint) in ("Required", "NotRequired"):
            return wrapper_of(hint) == "Required"
        hint = typing.get_args(hint)[0]
    return name in owner.__required_keys__


def closed(schema: Any) -> Any:
    """Return a schema whose objects have no fields but their own: what a model is told."""
    if not isinstance(schema, dict):
        return schema
    told = dict(schema)
    for name in NAMED_SCHEMAS:
        if isinstance(told.get(name), dict):
            told[name] = {key: closed(each) for key, each in told[name].items()}
    for name in LISTED_SCHEMAS:
        if isinstance(told.get(name), list):
            told[name] = [closed(each) for each in told[name]]
    for name in ("items", "additionalProperties"):
        if name in told:
            told[name] = closed(told[name])
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        told.setdefault("additionalProperties", False)
    return told
