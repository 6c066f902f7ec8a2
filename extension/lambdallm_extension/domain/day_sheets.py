"""What calls came to on one day (UTC), in all and by the names that they belong to.

total          all of it
by             model ─► id ─► amounts      each dimension holds all calls that have it, so that
tenant ─► …                 a dimension's sum is the total where every call has
tag:team ─► …               one, and no two dimensions are added up
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambdallm_wire.accounting import Amounts

ENTRIES_MAX = 200
"""Of one environment and day, in all dimensions: an item of about 12 KB. What comes later counts
under `OTHER` of its dimension."""

OTHER = "(other)"


class Counted(NamedTuple):
    """What one call adds; see `lambdallm_wire.accounting.Amounts`, whose order this is."""

    calls: int = 0
    cost_pico_usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced: int = 0
    unknown: int = 0
    unknown_pico_usd: int = 0


class DaySheet:
    """One environment's sums of one day. Whoever shares it locks it."""

    def __init__(self, day: int, overhead_before_pico_usd: int) -> None:
        """Begin with nothing.

        Args:
            day: Since 1970.
            overhead_before_pico_usd: Caused before it.
        """
        self.day = day
        self.total = [0] * len(Counted._fields)
        self.by: dict[str, dict[str, list[int]]] = {}
        self.sequence = 0
        self.changed = False
        self.overhead_before_pico_usd = overhead_before_pico_usd
        self.overhead_after_pico_usd: int | None = None
        self.compute_pico_usd = 0
        self.invocations = 0
        self._entries = 0

    @property
    def entries(self) -> int:
        """How many ids it tells apart."""
        return self._entries

    def add(self, belongs: Mapping[str, str], counted: Counted) -> None:
        """Count a call under each dimension that it has an id in."""
        _add(self.total, counted)
        for dimension, name in belongs.items():
            ids = self.by.setdefault(dimension, {})
            if name not in ids:
                name = name if self._entries < ENTRIES_MAX else OTHER  # noqa: PLW2901 - its place
                self._entries += name not in ids
            _add(ids.setdefault(name, [0] * len(Counted._fields)), counted)
        self.changed = True

    def add_compute(self, pico_usd: int) -> None:
        """Count an invocation that Lambda has billed."""
        self.compute_pico_usd += pico_usd
        self.invocations += 1
        self.changed = True


def _add(amounts: list[int], counted: Sequence[int]) -> None:
    for index, number in enumerate(counted):
        amounts[index] += number


def amounts_of(numbers: object) -> Amounts:
    """Return what a stored list says; what a later version adds is left out.

    Raises:
        ValueError: It is none of ours.
    """
    fields = Counted._fields
    if not isinstance(numbers, list | tuple) or len(numbers) < len(fields):
        message = f"no amounts: {numbers!r:.80}"
        raise ValueError(message)
    if not all(type(number) is int for number in numbers):
        message = f"amounts that are no whole numbers: {numbers!r:.80}"
        raise ValueError(message)
    return dict(zip(fields, numbers[: len(fields)], strict=True))  # type: ignore[return-value]


def sum_up(amounts: Amounts, further: Amounts) -> Amounts:
    """Return both together."""
    return {field: amounts[field] + further[field] for field in Counted._fields}  # type: ignore[literal-required, return-value]
