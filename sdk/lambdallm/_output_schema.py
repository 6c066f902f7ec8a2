"""What an answer has to be, in any of the ways to say so.

    {"title": str, "pages": list[int]}       fields with their types      a dict
    {"type": "object", "properties": …}      a JSON schema                what it says
    class Book(TypedDict)                                                 a dict
    @dataclass class Book                                                 a Book
    class Book(pydantic.BaseModel)           whoever has pydantic         a Book

A model is told the JSON schema of it; its answer is held against that, and against the class.
`_type_hints` knows what types come to, `_type_values` what values do.
"""

from __future__ import annotations

from lambdallm import _errors, _type_hints, _type_values
from lambdallm._schema import Schema
from lambdallm._schema_faults import Path
from lambdallm._schema_keywords import Checking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._schema_faults import Faults


class OutputSchema:
    """One of them.

    Attributes:
        json_schema: What the model is told.
    """

    def __init__(self, json_schema: dict[str, Any], schema: Schema | None, hint: Any) -> None:
        """Keep what `of` has made.

        Args:
            json_schema: What the model is told.
            schema: What its answer is held against; None where the hint's class does that alone.
            hint: The types that make of a JSON value what is returned.
        """
        self.json_schema = json_schema
        self._schema = schema
        self._hint = hint

    def read(self, value: Any, name: str = "answer") -> tuple[Any, Faults]:
        """Return what a JSON value comes to, and what is wrong with it; one of the two."""
        faults = [] if self._schema is None else self._schema.faults(value, name)
        if faults:
            return None, faults
        try:
            return _type_values.build(self._hint, value, Path(name, name)), []
        except _type_values.NotTakenError as error:
            return None, error.faults

    @property
    def beginnings(self) -> str:
        """What JSON of this shape may begin with, among `{` and `[`."""
        schema: Any = self.json_schema
        seen = set()
        while "$ref" in schema and schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            schema = Checking(self.json_schema, None).find(schema["$ref"])
            if not isinstance(schema, dict):
                return "{["
        kind = schema.get("type", "object" if "properties" in schema else "")
        return {"object": "{", "array": "["}.get(str(kind), "{[")


def of(shape: Any) -> OutputSchema:
    """Return what was meant by an `output_schema`.

    Raises:
        ConfigurationError: Nothing can be made of it; says of what.
    """
    if isinstance(shape, OutputSchema):
        return shape
    if _type_hints.is_pydantic(shape):
        return OutputSchema(_type_hints.closed(shape.model_json_schema()), None, shape)
    if isinstance(shape, type) or _type_hints.are_fields(shape):
        told = _type_hints.closed(_type_hints.schema_of(shape))
        held = _type_hints.schema_of(shape, opaque=True)
        return OutputSchema(told, Schema(held, "output_schema"), shape)
    if isinstance(shape, dict):
        return OutputSchema(dict(shape), Schema(shape, "output_schema"), object)
    message = (
        "output_schema takes a dict of fields with their types, a JSON schema, a dataclass, a "
        f"TypedDict or a pydantic model, not {shape!r:.100}."
    )
    raise _errors.ConfigurationError(message)
