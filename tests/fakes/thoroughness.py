"""How many examples of hypothesis a run takes."""

from hypothesis import settings

WHOLE = 100
"""Examples of a property that asks for no other number, with `--all`; see `tests/conftest.py`."""


def examples(most: int) -> int:
    """Return how many examples this run takes of a property that is worth `most` of them."""
    return most * settings.default.max_examples // WHOLE
