"""Vectors in a byte a number: their order stays that of the full numbers."""

import math
import random

import pytest
from hypothesis import given, strategies as st

from lambdallm_extension.domain import vectors

NUMBERS = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=64)


@given(NUMBERS.filter(lambda numbers: max(map(abs, numbers)) > 1e-6))
def test_a_vector_comes_back_from_its_text_and_is_nearest_to_itself(numbers: list[float]) -> None:
    steps = vectors.quantize(numbers)

    assert vectors.from_text(vectors.to_text(steps)) == steps
    assert vectors.nearest(steps, {7: steps}, 3) == [7]


def test_the_nearest_are_those_of_the_full_numbers() -> None:
    chance = random.Random(5)
    made = {number: [chance.gauss(0, 1) for _ in range(256)] for number in range(200)}
    query = [chance.gauss(0, 1) for _ in range(256)]

    def cosine(one: list[float]) -> float:
        return sum(a * b for a, b in zip(one, query, strict=True)) / math.hypot(*one)

    exact = sorted(made, key=lambda number: -cosine(made[number]))[:8]
    stored = {number: vectors.quantize(vector) for number, vector in made.items()}

    found = vectors.nearest(vectors.quantize(query), stored, 8)

    assert found[:3] == exact[:3]
    assert len({*found} & {*exact}) >= 7


def test_other_models_and_opposites_are_not_near() -> None:
    query = vectors.quantize([1.0, 0.0])
    stored = {1: vectors.quantize([-1.0, 0.0]), 2: vectors.quantize([1.0, 0.0, 0.0]),
              3: vectors.quantize([1.0, 1.0])}  # fmt: skip

    assert vectors.nearest(query, stored, 9) == [3]
    assert vectors.nearest(query, stored, 0) == []


@pytest.mark.parametrize("vector", [[], [0.0, 0.0], [math.inf, 1.0], [math.nan]])
def test_what_has_no_direction_is_refused(vector: list[float]) -> None:
    with pytest.raises(ValueError, match="direction"):
        vectors.quantize(vector)


def test_what_is_no_base64_is_refused() -> None:
    with pytest.raises(ValueError, match="base64"):
        vectors.from_text("a")
