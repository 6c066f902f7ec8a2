"""Tuples with named fields, made at a tenth of the cost of `typing.NamedTuple`'s.

Use them by `declarations.NamedTuple`. They have the same fields, methods and repr; a class of them
can be derived from, and then is an ordinary class.
"""

from __future__ import annotations

# What collections.namedtuple makes its fields of; typeshed does not know it.
from _collections import _tuplegetter  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FunctionType
    from typing import Any, TypeVar

    N = TypeVar("N", bound="Named")

_new = tuple.__new__

_CONSTRUCTORS: tuple[Any, ...] = (
    lambda _cls, a: _new(_cls, (a,)),
    lambda _cls, a, b: _new(_cls, (a, b)),
    lambda _cls, a, b, c: _new(_cls, (a, b, c)),
    lambda _cls, a, b, c, d: _new(_cls, (a, b, c, d)),
    lambda _cls, a, b, c, d, e: _new(_cls, (a, b, c, d, e)),
    lambda _cls, a, b, c, d, e, f: _new(_cls, (a, b, c, d, e, f)),
    lambda _cls, a, b, c, d, e, f, g: _new(_cls, (a, b, c, d, e, f, g)),
)
"""From one field on, compiled with this module: a class takes one and puts in its own names.

With the fields as its parameters, Python itself assigns, fills in and refuses arguments, as fast
as for `collections.namedtuple`. Larger classes have theirs compiled, as all have there.
"""


def _constructor(name: str, fields: tuple[str, ...], defaults: tuple[object, ...]) -> FunctionType:
    if len(fields) <= len(_CONSTRUCTORS):
        template = _CONSTRUCTORS[len(fields) - 1]
        code = template.__code__.replace(co_varnames=("_cls", *fields))
        made = type(template)(code, {"_new": _new})
    else:
        names = ", ".join(fields)
        made = eval(f"lambda _cls, {names}: _new(_cls, ({names}))", {"_new": _new})  # noqa: S307
    made.__name__, made.__qualname__ = "__new__", f"{name}.__new__"
    made.__defaults__ = defaults
    return made  # type: ignore[no-any-return]


class _Fields(type):
    """Makes fields of the annotations in a class's body."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **options: Any
    ) -> _Fields:
        if bases == (tuple,) or bases != (Named,):  # `Named` itself, or a class derived from one
            return super().__new__(cls, name, bases, body, **options)
        fields = tuple(body.get("__annotations__", ()))
        defaults = {field: body.pop(field) for field in fields if field in body}
        if not fields:
            message = f"{name} has no fields, or no `from __future__ import annotations` above it."
            raise TypeError(message)
        if tuple(defaults) != fields[len(fields) - len(defaults) :]:
            message = f"{name}: behind a field with a default stands one that has none."
            raise TypeError(message)
        for place, field in enumerate(fields):
            body[field] = _tuplegetter(place, f"Field {place}")
        body["__slots__"] = ()
        body["__match_args__"] = body["_fields"] = fields
        body["_field_defaults"] = defaults
        body["__new__"] = _constructor(name, fields, tuple(defaults.values()))
        return super().__new__(cls, name, bases, body, **options)


class Named(tuple, metaclass=_Fields):  # type: ignore[type-arg]  # `tuple[object]` is no class
    """What `declarations.NamedTuple` is when the program runs."""

    __slots__ = ()
    if TYPE_CHECKING:
        _fields: tuple[str, ...]
        _field_defaults: dict[str, object]

    @classmethod
    def _make(cls: type[N], values: Iterable[object]) -> N:
        """Make one of values in the order of the fields."""
        made = _new(cls, values)
        if len(made) != len(cls._fields):
            message = f"Expected {len(cls._fields)} arguments, got {len(made)}"
            raise TypeError(message)
        return made

    def _replace(self: N, /, **changes: object) -> N:
        """Return a copy with some fields changed."""
        made = self._make(map(changes.pop, self._fields, self))
        if changes:
            message = f"Got unexpected field names: {list(changes)!r}"
            raise TypeError(message)
        return made

    def _asdict(self) -> dict[str, object]:
        """Return the fields by their names."""
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        values = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
        return f"{type(self).__name__}({values})"

    def __getnewargs__(self) -> tuple[object, ...]:
        """Return what `copy` and `pickle` make it of."""
        return tuple(self)
