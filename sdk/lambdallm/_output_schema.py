"""What an answer has to be, in any of the ways to say so.

    {"title": str, "pages": list[int]}       fields with their types      a dict
    {"type": "object", "properties": …}      a JSON schema                what it says
    class Book(TypedDict)                                                 a dict
    @dataclass class Book                                                 a Book
    class Book(pydantic.BaseModel)           whoever has pydantic         a Book

A model is told the JSON schema of it; its answer is held against that, and against the class.
`_type_hints` knows what types come to.
"""

from __future__ import annotations

from lambdallm import _errors, _type_hints
from lambdallm._schema import Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdallm._schema_keywords import Faults

    Build = Callable[[Any], Any]


class OutputSchema:
    """One of them.

    Attributes:
        json_schema: What the model is told.
    """

    def __init__(self, json_schema: dict[str, Any], schema: Schema | None, build: Build) -> None:
        """Keep what `of` has made.

        Args:
            json_schema: What the model is told.
            schema: What its answer is held against; None where `build` does that.
            build: Makes what is returned of a JSON value; a ValueError says what is wrong with it.
        """
        self.json_schema = json_schema
        self._schema = schema
        self._build = build

    def read(self, value: Any) -> tuple[Any, Faults]:
        """Return what a JSON value comes to, and what is wrong with it; one of the two."""
        faults = [] if self._schema is None else self._schema.faults(value, "answer")
        if faults:
            return None, faults
        try:
            return self._build(value), []
        except (ValueError, TypeError) as error:
            return None, _told_by(error)


def of(shape: Any) -> OutputSchema:
    """Return what was meant by an `output_schema`.

    Raises:
        ConfigurationError: Nothing can be made of it; says of what.
    """
    if isinstance(shape, OutputSchema):
        return shape
    if _type_hints.is_pydantic(shape):
        return OutputSchema(
            dict(shape.model_json_schema()), None, _type_hints.pydantic_builder(shape)
        )
    if isinstance(shape, type):
        schema = _type_hints.schema_of_class(shape)
        hint: Any = shape
    elif _type_hints.are_fields(shape):
        schema, hint = _type_hints.schema_of_fields(shape), dict
    elif isinstance(shape, dict):
        return OutputSchema(dict(shape), Schema(shape, "output_schema"), _as_it_is)
    else:
        message = (
            "output_schema takes a dict of fields with their types, a JSON schema, a dataclass, a "
            f"TypedDict or a pydantic model, not {shape!r:.100}."
        )
        raise _errors.ConfigurationError(message)
    open_schema = Schema(schema, "output_schema")
    return OutputSchema(
        _type_hints.closed(schema), open_schema, lambda value: _type_hints.build(hint, value)
    )


def _as_it_is(value: Any) -> Any:
    return value


def _told_by(error: Exception) -> Faults:
    """Return what a class says of a value that it does not take; pydantic names each field.

    Its words may repeat the value, so that they stand apart from what is logged.
    """
    told = getattr(error, "errors", None)
    if not callable(told):
        return [{"field": "answer", "detail": "is not taken by its class", "said": str(error)}]
    return [
        {
            "field": ".".join(["answer", *map(str, each.get("loc", ()))]),
            "detail": "is not taken by its class",
            "said": str(each.get("msg", "")),
        }
        for each in told()
    ]
