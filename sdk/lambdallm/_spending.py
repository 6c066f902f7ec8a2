"""What an invocation has spent, may still spend, and under which names it is counted."""

from __future__ import annotations

from lambdallm._messages import PICO_USD
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._work import Work
    from lambdallm_wire.budgets import BudgetStanding


class Spends:
    """The part of a context that is about money."""

    work: Work

    def __init__(self) -> None:
        """Start from nothing."""
        self._total_pico_usd = 0
        self._own_providers_pico_usd = 0
        self._unpriced_calls = 0
        self._own_providers_unpriced = False

    @property
    def total_cost(self) -> float:
        """What this invocation's calls cost so far, in dollars."""
        return self.total_cost_pico_usd / PICO_USD

    @property
    def total_cost_pico_usd(self) -> int:
        """The same, exact, in 1e-12 dollars. Calls without a known price are not in it."""
        return self._total_pico_usd + self._own_providers_pico_usd

    @property
    def unpriced_calls(self) -> int:
        """Calls to models without a known price: the cost above is not all while this is not 0."""
        return self._unpriced_calls

    def closing_cost_pico_usd(self) -> int | None:
        """Return what the unit of work has cost that has ended, None where that is not known.

        With the calls of unmodified clients. Not known it is with a call that has no price, or
        whose answer was lost, and where the engine was lost.
        """
        total = self.work.spent.total
        if total is None or self._own_providers_unpriced:
            return None
        self._take_totals(total)
        return None if self._unpriced_calls else self.total_cost_pico_usd

    def tag(self, **tags: str) -> None:
        """Count the calls from now on under names of your own, for budgets and reports.

            context.tag(team="search", user="ada")

        `user` and `tenant` are the scopes of those names: say them where no authorizer does.
        "" takes a tag away.

        Raises:
            InvalidRequestError: A value is no text of up to 256 characters.
            ConfigurationError: The layer is too old for tags.
        """
        self.work.control(routes.TAG, {"tags": tags})

    @property
    def budget(self) -> list[BudgetStanding]:
        """The budgets that this invocation's calls belong to, the fullest first.

        Each as `lambdallm_wire.budgets.BudgetStanding`; as of a minute ago at most.
        """
        model = getattr(getattr(self, "model", None), "wire_name", "")
        reply = self.work.control(routes.BUDGETS, {"model": model})
        budgets: list[BudgetStanding] = reply["budgets"]
        return budgets

    def _take_totals(self, totals: tuple[int, int]) -> None:
        """Keep the unit's totals; of calls at once an older answer may be read later."""
        self._total_pico_usd = max(self._total_pico_usd, totals[0])
        self._unpriced_calls = max(self._unpriced_calls, totals[1])

    def _pay(self, cost_pico_usd: Any) -> None:
        """Add what a provider of a test's own has cost, None where it does not say."""
        self._own_providers_pico_usd += cost_pico_usd or 0
        self._own_providers_unpriced |= cost_pico_usd is None
