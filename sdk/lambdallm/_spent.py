"""What a unit of work has spent, under all the engines that have served it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Spent:
    """Pico-USD, and calls without a price. Each engine says the totals of its own part.

    Attributes:
        total: Of the whole unit: nothing before it has begun, None while it goes on and where
            nobody could say it, because an engine was lost.
        is_to_be_told: Whether the configuration wants HTTP answers to say it.
    """

    def __init__(self, before: tuple[int, int] | None = None) -> None:
        """Begin under an engine, with what was spent before it, as far as that was told."""
        self._whole = before is None
        self._before = before or (0, 0)
        self._now = (0, 0)
        self.total: tuple[int, int] | None = (0, 0) if before is None else None
        self.is_to_be_told = False

    def take(self, reply: dict[str, Any]) -> None:
        """Know of an answer's totals, and make them those of the whole unit."""
        self._now = (reply["total_cost_pico_usd"], reply["total_unpriced_calls"])
        reply["total_cost_pico_usd"] += self._before[0]
        reply["total_unpriced_calls"] += self._before[1]

    def close(self, reply: dict[str, Any]) -> None:
        """Know of the answer to `end`: of a unit of one engine, it has the totals.

        An engine that was lost has not told what it had under way, nor of clients of others.
        """
        cost, unpriced = reply.get("cost_pico_usd"), reply.get("unpriced_calls")
        if self._whole and isinstance(cost, int) and isinstance(unpriced, int):
            self.total = (cost, unpriced)
        self.is_to_be_told = reply.get("tell_cost") is True

    def under_another_engine(self) -> Spent:
        """Return what another engine begins with."""
        return Spent((self._before[0] + self._now[0], self._before[1] + self._now[1]))
