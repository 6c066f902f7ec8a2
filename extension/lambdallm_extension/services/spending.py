"""May this call be made? Its price, the most it can use, and the budgets that it belongs to.

call ──► no budget concerns it ──► None: it is made, and booked
     └─► its bound × its price ──► `Budgets.admit` ──► Reservation, or BudgetExceededError
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.domain.budgets import DOWNGRADE_PERCENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm_extension.budget_settings import SpendingRules
    from lambdallm_extension.ports import Clock, Prices
    from lambdallm_extension.services.budget_accounts import Account
    from lambdallm_extension.services.budgets import Budgets, Reservation


class Spending:
    """What may be spent by one environment. Threads share it."""

    def __init__(
        self,
        budgets: Budgets,
        prices: Prices,
        clock: Clock,
        rules: SpendingRules,
        function_name: str,
        check: Callable[[], None],
    ) -> None:
        """Stand on these; `check` raises where nobody knows which budgets hold."""
        self._function_name = function_name
        self._check = check
        self._budgets = budgets
        self._prices = prices
        self._clock = clock
        self._rules = rules

    def admit(
        self,
        model: str,
        body: Callable[[], Any] | None,
        scopes: Mapping[str, str],
        *,
        region: str,
        deadline_ms: int,
    ) -> Reservation | None:
        """Reserve what a call can cost; None where no budget concerns it.

        Args:
            model: `provider/model` that is about to be asked.
            body: Returns the request as JSON tells it; None: nobody can read what it uses.
            scopes: What the call belongs to, beside its model.
            region: Where it is asked, "" for the environment's own.
            deadline_ms: Of the call, epoch milliseconds.

        Raises:
            BudgetExceededError: There is no room for it, or nobody knows how much it needs.
            StoreError: A budget cannot be asked.
        """
        scopes = self._all(scopes, model)
        accounts = self._budgets.accounts(scopes)
        self._check()
        if not accounts:
            return None
        blocks = any(account.budget.on_exceeded != "warn" for account in accounts)
        needed = self._most(model, body, region, blocks=blocks)
        return self._budgets.admit(scopes, needed, deadline_ms=deadline_ms)

    def most(self, model: str, body: Callable[[], Any] | None, region: str) -> int | None:
        """Return the most that a call can cost; None where nobody knows."""
        from lambdallm_extension.domain.call_bounds import bound_of

        if body is None:
            return None
        bound = bound_of(body(), model)
        if bound.unbounded or bound.unpriced:
            return None
        now_ms = self._clock.epoch_ms()
        return self._prices.most_pico_usd(model, bound, epoch_ms=now_ms, region=region)

    def standing(self, scopes: Mapping[str, str], model: str, deadline_ms: int) -> list[Account]:
        """Return the accounts that a call belongs to, each looked at a minute ago at most."""
        accounts = self._budgets.accounts(self._all(scopes, model))
        for account in accounts:
            self._budgets.look(account, deadline_ms)
        return accounts

    def percent(self, scopes: Mapping[str, str], model: str) -> int:
        """Return how full the fullest budget is that a call belongs to, as far as is known here."""
        accounts = self._budgets.accounts(self._all(scopes, model))
        return max([account.percent for account in accounts], default=0)

    def downgrade(self, scopes: Mapping[str, str], model: str, deadline_ms: int) -> str:
        """Return the model to ask instead of the one that was wanted, "" to leave it."""
        if not self._rules.downgrade_to:
            return ""
        for account in self._budgets.accounts(self._all(scopes, model)):
            if account.budget.on_exceeded == "downgrade":
                self._budgets.look(account, deadline_ms)
                if account.percent >= DOWNGRADE_PERCENT:
                    return self._rules.downgrade_to
        return ""

    def _all(self, scopes: Mapping[str, str], model: str) -> dict[str, str]:
        own = {"function": self._function_name, "model": model}
        return {**scopes, **{scope: value for scope, value in own.items() if value}}

    def _most(
        self, model: str, body: Callable[[], Any] | None, region: str, *, blocks: bool
    ) -> int:
        from lambdallm_extension.domain.call_bounds import bound_of

        if body is None:
            if blocks and self._rules.unmetered == "block":
                raise errors.BudgetExceededError(_UNMETERED.format(model))
            return 0
        bound = bound_of(body(), model)
        if bound.unbounded and blocks and self._rules.unbounded == "block":
            raise errors.BudgetExceededError(_UNBOUNDED.format(model, bound.unbounded))
        if bound.unpriced and blocks and self._rules.unpriced == "block":
            raise errors.BudgetExceededError(_BILLED_APART.format(model, bound.unpriced))
        most = self._prices.most_pico_usd(
            model, bound, epoch_ms=self._clock.epoch_ms(), region=region
        )
        if most is None:
            if blocks and self._rules.unpriced == "block":
                raise errors.BudgetExceededError(_UNPRICED.format(model))
            return 0
        return most


_UNMETERED = (
    "What {} would use on this path is not metered, and a budget holds. Where it may be used all "
    "the same, lambdallm.yaml says cost.unmetered: allow."
)
_UNBOUNDED = (
    "The request does not bound how much {} reads ({}), and a budget holds. With cost.unbounded: "
    "reserve in lambdallm.yaml as much as the model can read is reserved."
)
_BILLED_APART = (
    "What the request to {} costs is unknown ({}), and a budget holds. Where that may be used all "
    "the same, lambdallm.yaml says cost.unpriced: allow."
)
_UNPRICED = (
    "Nobody knows what {} costs, and a budget holds. Say its price under cost.prices in "
    "lambdallm.yaml, or cost.unpriced: allow."
)
