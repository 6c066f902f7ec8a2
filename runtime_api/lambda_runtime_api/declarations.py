"""What a running program needs of `typing`, without loading `typing`.

    from lambda_runtime_api.declarations import NamedTuple, Protocol

A type checker sees `typing`'s own; when the program runs, others stand in for them. `typing` takes
5 ms of CPU to load, nearly as much as a bare interpreter, and its NamedTuple compiles a constructor
for each class (CPython 3.11, 2026-11).

What else a module takes from `typing` (Any, Literal, …) it needs in annotations alone, and imports
under `if TYPE_CHECKING`, where `TYPE_CHECKING = False` stands in the module itself.
"""

from __future__ import annotations

__all__ = ["Generic", "NamedTuple", "Protocol", "TypeVar", "cast"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic, NamedTuple, Protocol, TypeVar, cast
else:
    from lambda_runtime_api.named_tuples import Named as NamedTuple

    class Protocol:
        """What a class must have to fit; nothing looks at it while the program runs."""

    class Generic:
        """A class with type parameters, which nothing looks at while the program runs."""

        def __class_getitem__(cls, kinds: object) -> type:
            return cls

    def TypeVar(name: str) -> str:  # noqa: N802 - typing's name
        """Name a type parameter."""
        return name

    def cast(kind: str, value: object) -> object:
        """Return the value: only a type checker believes that it is of that kind."""
        return value
