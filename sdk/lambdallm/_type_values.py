"""JSON values as what types say: the other half of `_type_hints`.

A value has followed its type's schema before. What a class has to say of it beyond that, a
dataclass in `__post_init__` or a pydantic model, is told with the place of the value.
"""

from __future__ import annotations

import typing
from collections.abc import Hashable, Sequence
from datetime import date, datetime, time
from enum import Enum
from functools import lru_cache
from uuid import UUID

from lambdallm import _type_hints
from lambdallm._schema import Schema
from lambdallm._schema_faults import Path, fault
from lambdallm._schema_formats import read_day, read_moment, read_time
from lambdallm._schema_keywords import is_same
from lambdallm._type_hints import ARRAYS, OBJECTS, UNIONS

if typing.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from lambdallm._schema_faults import Faults

_READERS: dict[Any, Callable[[str], Any]] = {
    datetime: read_moment,
    date: read_day,
    time: read_time,
    UUID: UUID,
}

_HINTS_MAX = 256
"""Types of choices, whose schemas are kept."""

_NOT_TAKEN = "is not taken by its class"


class NotTakenError(Exception):
    """A class does not take a value.

    Attributes:
        faults: What it has said. Its words may repeat the value, so that they stand apart, under
            `said`, from what is logged.
    """

    def __init__(self, faults: Faults) -> None:
        super().__init__(_NOT_TAKEN)
        self.faults = faults


def build(hint: Any, value: Any, path: Path) -> Any:
    """Return what a type makes of a JSON value that follows its schema.

    Raises:
        NotTakenError: A class does not take it.
    """
    try:
        return _build(hint, value, path)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise NotTakenError(_told_by(error, hint, path)) from error


def _build(hint: Any, value: Any, path: Path) -> Any:
    if isinstance(hint, dict):
        return _build_fields(hint, value, path)
    if isinstance(hint, Hashable) and hint in _READERS:
        return _READERS[hint](value)
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return _build_class(hint, value, path)
    return _build_expression(hint, value, path)


def _build_fields(hints: dict[str, Any], value: Any, path: Path) -> dict[str, Any]:
    """Return an object; what nobody has asked for stays in it as it is."""
    return {
        name: build(hints[name], each, path.field(name)) if name in hints else each
        for name, each in value.items()
    }


def _build_class(hint: Any, value: Any, path: Path) -> Any:
    if issubclass(hint, Enum):
        return hint(value)
    if _type_hints.is_pydantic(hint):
        return _build_model(hint, value)
    if _type_hints.is_typed_dict(hint):
        return _build_fields(_type_hints.hints_of(hint), value, path)
    if _type_hints.is_dataclass(hint):
        hints = _type_hints.hints_of(hint)
        names = [field.name for field in _type_hints.fields_of(hint) if field.name in value]
        return hint(**{name: build(hints[name], value[name], path.field(name)) for name in names})
    is_number = hint is float or (hint is int and isinstance(value, float))
    return hint(value) if is_number else value


def _build_model(model: Any, value: Any) -> Any:
    """Return a pydantic model, read by its JSON rules where it has such."""
    from lambdallm_wire import plain_json

    validate_json = getattr(model, "model_validate_json", None)
    if validate_json is None:
        return model.model_validate(value)
    return validate_json(plain_json.dumps(value))


def _build_expression(hint: Any, value: Any, path: Path) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated or _type_hints.wrapper_of(hint):
        return build(inner[0], value, path)
    if origin in UNIONS:
        return _build_choice(inner, value, path)
    if origin is typing.Literal:
        return next(each for each in inner if is_same(_type_hints.plain_choice(each), value))
    if origin in OBJECTS and inner:
        return {name: build(inner[1], each, path.made_up(name)) for name, each in value.items()}
    return _build_array(origin, inner, value, path) if origin in ARRAYS and inner else value


def _build_array(origin: Any, inner: tuple[Any, ...], value: Any, path: Path) -> Any:
    hints = [inner[0]] * len(value) if origin is not tuple or inner[-1] is Ellipsis else inner
    items = [
        build(hint, item, path.item(at))
        for at, (hint, item) in enumerate(zip(hints, value, strict=True))
    ]
    return items if origin is Sequence else origin(items)


def _build_choice(hints: tuple[Any, ...], value: Any, path: Path) -> Any:
    """Return what the first type makes of a value that takes it."""
    refused: list[NotTakenError] = []
    for hint in hints:
        if _schema_of(hint).faults(value, path.told):
            continue
        try:
            return build(hint, value, path)
        except NotTakenError as error:
            refused.append(error)
    if len(refused) == 1:  # what was meant; it says more than that nothing fits
        raise refused[0]
    raise NotTakenError([fault(path, "is none of what is allowed here")])


def _schema_of(hint: Any) -> Schema:
    return _kept_schema_of(hint) if isinstance(hint, Hashable) else _new_schema_of(hint)


def _new_schema_of(hint: Any) -> Schema:
    return Schema(_type_hints.schema_of_hint(hint), "output_schema")


_kept_schema_of = lru_cache(maxsize=_HINTS_MAX)(_new_schema_of)


def _told_by(error: Exception, hint: Any, path: Path) -> Faults:
    """Return what a class says of a value that it does not take; pydantic names each field."""
    told = getattr(error, "errors", None)
    if not callable(told):
        return [{**fault(path, _NOT_TAKEN), "said": str(error)}]
    is_model = _type_hints.is_pydantic(hint)
    names = {*_names_in(hint.model_json_schema())} if is_model else {*_type_hints.hints_of(hint)}
    faults = []
    for each in told():
        place = path
        for part in each.get("loc", ()):
            is_known = isinstance(part, int) or part in names
            place = place.field(str(part)) if is_known else place.made_up(str(part))
        faults.append({**fault(place, _NOT_TAKEN), "said": str(each.get("msg", ""))})
    return faults


def _names_in(schema: Any) -> Iterator[str]:
    """Return the names that a schema has for fields and for models."""
    if isinstance(schema, list):
        for each in schema:
            yield from _names_in(each)
    elif isinstance(schema, dict):
        for name in ("properties", "$defs"):
            yield from schema[name] if isinstance(schema.get(name), dict) else ()
        for each in schema.values():
            yield from _names_in(each)
