"""Types as JSON schemas, and JSON values as what these types say.

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
from uuid import UUID

from lambdallm import _errors
from lambdallm._schema import Schema
from lambdallm._schema_formats import read_day, read_moment, read_time

if typing.TYPE_CHECKING:
    from collections.abc import Callable
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

_READERS: dict[Any, Callable[[str], Any]] = {
    datetime: read_moment,
    date: read_day,
    time: read_time,
    UUID: UUID,
}

_ARRAYS: dict[Any, Callable[[Any], Any]] = {
    list: list,
    Sequence: list,
    set: set,
    frozenset: frozenset,
    tuple: tuple,
}
_OBJECTS = (dict, Mapping)
_UNIONS = (typing.Union, types.UnionType)
_WRAPPERS = ("Required", "NotRequired", "ReadOnly")
"""Of a TypedDict's field. Before 3.11 they are typing_extensions', so they are told by name."""


def is_pydantic(hint: Any) -> bool:
    """Say whether a class makes its own schema, as pydantic's models do."""
    return isinstance(hint, type) and all(
        callable(getattr(hint, name, None)) for name in ("model_json_schema", "model_validate")
    )


def pydantic_builder(model: Any) -> Callable[[Any], Any]:
    """Return who makes a model of a JSON value; by its JSON rules, where it has such."""
    from lambdallm_wire import plain_json

    validate_json = getattr(model, "model_validate_json", None)
    if validate_json is None:
        return model.model_validate  # type: ignore[no-any-return]
    return lambda value: validate_json(plain_json.dumps(value))


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


def schema_of_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that has these fields.

    Raises:
        ConfigurationError: A type is not known.
    """
    return _Schemas().rooted(lambda schemas: schemas.of(dict(fields), "output_schema"))


def schema_of_class(shape: type) -> dict[str, Any]:
    """Return the schema of a dataclass or a TypedDict.

    Raises:
        ConfigurationError: It is neither, or a field's type is not known.
    """
    if not (_is_dataclass(shape) or _is_typed_dict(shape)):
        message = (
            f"output_schema: {shape.__name__} is no dataclass, no TypedDict and no pydantic model; "
            f"name the field that it is the value of, as {{'value': {shape.__name__}}}."
        )
        raise _errors.ConfigurationError(message)
    return _Schemas().rooted(lambda schemas: schemas.members(shape))


class _Schemas:
    """Makes schemas, and keeps those of classes by their names."""

    def __init__(self) -> None:
        self._named: dict[str, dict[str, Any]] = {}
        self._classes: dict[str, Any] = {}

    def rooted(self, make: Callable[[_Schemas], dict[str, Any]]) -> dict[str, Any]:
        """Return what is made, with all the classes that it has met."""
        schema = make(self)
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
        if not (is_pydantic(hint) or _is_dataclass(hint) or _is_typed_dict(hint)):
            raise _unknown(hint, path)
        name = hint.__name__
        if self._classes.setdefault(name, hint) is not hint:
            message = f"{path}: there are two classes called {name}; call one of them otherwise."
            raise _errors.ConfigurationError(message)
        if name not in self._named:
            self._named[name] = {}  # it may hold itself
            self._named[name] = self._of_model(hint) if is_pydantic(hint) else self.members(hint)
        return {"$ref": f"#/$defs/{name}"}

    def _of_model(self, model: Any) -> dict[str, Any]:
        schema = dict(model.model_json_schema())
        self._named |= schema.pop("$defs", {})
        return schema

    def members(self, owner: Any) -> dict[str, Any]:
        """Return the schema of a class's fields."""
        name = owner.__name__
        hints = _hints_of(owner)
        told = getattr(owner, "__dataclass_fields__", None)
        if told is None:
            required = [each for each in hints if _is_required(owner, each, hints[each])]
        else:
            hints = {each: hints[each] for each, field in told.items() if field.init}
            required = [each for each in hints if _has_no_default(told[each])]
        properties = {each: self.of(hints[each], f"{name}.{each}") for each in hints}
        for each, schema in properties.items():
            description = told[each].metadata.get("description") if told is not None else None
            if description:
                properties[each] = _described(schema, description)
        schema = {"title": name, **self._object(properties), "required": required}
        text = owner.__dict__.get("__doc__") or ""
        if text and not text.startswith(f"{name}("):  # which dataclasses write themselves
            schema["description"] = " ".join(text.split())
        return schema

    def _object(self, properties: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "required": [*properties]}

    def _of_expression(self, hint: Any, path: str) -> dict[str, Any]:
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            texts = [each for each in inner[1:] if isinstance(each, str)]
            schema = self.of(inner[0], path)
            return _described(schema, " ".join(texts)) if texts else schema
        if getattr(origin, "_name", None) in _WRAPPERS:
            return self.of(inner[0], path)
        if origin is typing.Literal:
            return _choices([*inner], path)
        if origin in _UNIONS:
            return {"anyOf": [self.of(each, path) for each in inner]}
        if origin in _OBJECTS and inner and inner[0] is str:
            return {"type": "object", "additionalProperties": self.of(inner[1], f"{path}.*")}
        if origin in _ARRAYS:
            return self._array(origin, inner, path)
        raise _unknown(hint, path)

    def _array(self, origin: Any, inner: tuple[Any, ...], path: str) -> dict[str, Any]:
        if origin is tuple and inner[-1] is not Ellipsis:
            items = [self.of(each, f"{path}[{at}]") for at, each in enumerate(inner)]
            count = len(items)
            return {"type": "array", "prefixItems": items, "minItems": count, "maxItems": count}
        return {"type": "array", "items": self.of(inner[0], f"{path}[]")}


def _described(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


def _choices(values: list[Any], path: str) -> dict[str, Any]:
    values = [*map(_plain, values)]
    kinds = {type(each) for each in values}
    if not kinds <= {str, int, bool, float, type(None)}:
        message = f"{path}: a choice is a text, a number, true, false or null."
        raise _errors.ConfigurationError(message)
    kind = _SCALARS[kinds.pop()]["type"] if len(kinds) == 1 else None
    return {"enum": values} | ({"type": kind} if kind else {})


def _plain(choice: Any) -> Any:
    return choice.value if isinstance(choice, Enum) else choice


def _unknown(hint: Any, path: str) -> _errors.ConfigurationError:
    message = f"{path}: output_schema knows no {getattr(hint, '__name__', None) or repr(hint):.100}"
    return _errors.ConfigurationError(
        f"{message}; see docs/structured_output.md for what it knows."
    )


def _is_dataclass(hint: Any) -> bool:
    return isinstance(hint, type) and hasattr(hint, "__dataclass_fields__")


def _is_typed_dict(hint: Any) -> bool:
    return isinstance(hint, type) and hasattr(hint, "__required_keys__")


def _hints_of(owner: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except NameError as error:
        message = (
            f"output_schema: the types of {owner.__name__} cannot be read ({error}); classes that "
            "it names belong into its module, not into a function."
        )
        raise _errors.ConfigurationError(message) from error


def _has_no_default(field: Any) -> bool:
    kinds = {type(field.default).__name__, type(field.default_factory).__name__}
    return kinds == {"_MISSING_TYPE"}


def _is_required(owner: Any, name: str, hint: Any) -> bool:
    """Say whether a TypedDict has to have a field; postponed annotations tell it in the hint."""
    wrapper = getattr(typing.get_origin(hint), "_name", None)
    if wrapper in ("Required", "NotRequired"):
        return bool(wrapper == "Required")
    return bool(name in owner.__required_keys__)


def closed(schema: Any) -> Any:
    """Return a schema whose objects have no fields but their own: what a model is told."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: each if name == "enum" else closed(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        told.setdefault("additionalProperties", False)
    return told


def build(hint: Any, value: Any) -> Any:
    """Return what a type makes of a JSON value that follows its schema.

    Raises:
        ValueError, TypeError: The class does not take it.
    """
    if isinstance(hint, Hashable) and hint in _READERS:
        return _READERS[hint](value)
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return _build_class(hint, value)
    return _build_expression(hint, value)


def _build_class(hint: Any, value: Any) -> Any:
    if issubclass(hint, Enum):
        return hint(value)
    if is_pydantic(hint):
        return pydantic_builder(hint)(value)
    if _is_dataclass(hint):
        hints = _hints_of(hint)
        fields = {name for name, field in hint.__dataclass_fields__.items() if field.init}
        return hint(**{name: build(hints[name], value[name]) for name in fields if name in value})
    return float(value) if hint is float else value


def _build_expression(hint: Any, value: Any) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return build(inner[0], value)
    if origin in _UNIONS:
        return build(_choice(inner, value), value)
    if origin is typing.Literal:
        return next((each for each in inner if _plain(each) == value), value)
    if origin in _OBJECTS and inner:
        return {name: build(inner[1], each) for name, each in value.items()}
    return _build_array(origin, inner, value) if origin in _ARRAYS else value


def _build_array(origin: Any, inner: tuple[Any, ...], value: Any) -> Any:
    if origin is tuple and inner[-1] is not Ellipsis:
        return tuple(build(each, item) for each, item in zip(inner, value, strict=True))
    return _ARRAYS[origin](build(inner[0], item) for item in value)


def _choice(hints: tuple[Any, ...], value: Any) -> Any:
    """Return the first type of a union that a value follows."""
    for hint in hints:
        schema = _Schemas().rooted(lambda schemas, hint=hint: schemas.of(hint, "answer"))  # type: ignore[misc]
        if is_pydantic(hint) or not Schema(schema, "output_schema").faults(value, "answer"):
            return hint
    return hints[-1]
