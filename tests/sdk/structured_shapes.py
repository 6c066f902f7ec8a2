"""Shapes that answers are asked for in, one of every kind, and a handler that asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import pydantic

import lambdallm
from lambdallm.testing import MockLambdaContext


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Author:
    """Who has written it."""

    name: str
    born: date | None = None


@dataclass
class Book:
    """A book."""

    title: Annotated[str, "As on its cover."]
    authors: list[Author]
    pages: int = field(default=0, metadata={"description": "Without the cover."})
    mood: Mood = Mood.GOOD
    kind: Literal["novel", "play"] = "novel"
    prices: dict[str, float] = field(default_factory=dict)
    seen: datetime | None = None
    number: UUID | None = None
    sequel: Book | None = None

    def __post_init__(self) -> None:
        if self.pages < 0:
            message = "no book has fewer pages than none"
            raise ValueError(message)


class Point(TypedDict, total=False):
    """A place."""

    x: int
    y: int


class Shape(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2)
    points: list[tuple[int, int]] = []


BOOK = {
    "title": "Ulysses",
    "authors": [{"name": "Joyce", "born": "1882-02-02"}],
    "mood": "bad",
    "prices": {"EUR": 12},
    "seen": "2026-11-22T04:00:00Z",
    "number": "123e4567-e89b-12d3-a456-426614174000",
    "sequel": {"title": "More", "authors": []},
}


def run(work: Any, **declared: Any) -> Any:
    """Return what a handler's code returns; a failure is raised."""
    seen: list[Any] = []

    @lambdallm.handler(**declared)
    def handle(event: Any, context: Any) -> None:
        try:
            seen.append(work(context))
        except Exception as error:  # noqa: BLE001 - raised below
            seen.append(error)

    handle({}, MockLambdaContext())
    if isinstance(seen[0], Exception):
        raise seen[0]
    return seen[0]
