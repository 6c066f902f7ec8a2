"""What a unit of work has spent, under all the engines that have served it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Spent:
    """Pico-USD, and calls without a price. Each engine says the totals of its own part."""

    def __init__(self, before: tuple[int, int] = (0, 0)) -> None:
        """Begin under an engine, with what was spent before it."""
        self._before = before
        self._now = (0, 0)

    def take(self, reply: dict[str, Any]) -> None:
        """Know of an answer's totals, and make them those of the whole unit."""
        self._now = (reply["total_cost_pico_usd"], reply["total_unpriced_calls"])
        reply["total_cost_pico_usd"] += self._before[0]
        reply["total_unpriced_calls"] += self._before[1]

    def under_another_engine(self) -> Spent:
        """Return what another engine begins with."""
        return Spent((self._before[0] + self._now[0], self._before[1] + self._now[1]))
