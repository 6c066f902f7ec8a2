"""What whoever pays may ask of an engine; a function's own engine changes nothing."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.services import day_sheets
from lambdallm_extension.services.budget_care import BudgetCare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.budget_settings import Budget
    from lambdallm_extension.ports import Clock, Store
    from lambdallm_wire.accounting import ChangeBudget, ChangedBudget, ListedBudgets, Spending

ALLOWED_MS = 30_000
"""Where no deadline is said."""


class Accounting:
    """Budgets and spending of one store."""

    def __init__(
        self,
        configured: Sequence[Budget],
        store: Callable[[], Store],
        clock: Clock,
        *,
        in_function: bool,
    ) -> None:
        """Open nothing yet.

        Args:
            configured: Budgets of the file that is known here.
            store: Opens the store.
            clock: Time.
            in_function: Whether code that spends could ask this very engine.
        """
        self._configured = configured
        self._store = store
        self._clock = clock
        self._in_function = in_function

    def listed(self, name: str, cursor: str, deadline_ms: int | None) -> ListedBudgets:
        """Return a page of how budgets stand.

        Raises:
            SettingError, StoreError: As `BudgetCare.listed`; or there is no store.
        """
        return self._care(deadline_ms).listed(name, cursor)

    def change(self, message: ChangeBudget) -> ChangedBudget:
        """Change a budget.

        Raises:
            InvalidRequestError: Not within a function: what spends must not raise its own limit.
            SettingError, StoreError: As `BudgetCare.change`; or there is no store.
        """
        if self._in_function:
            reason = (
                "A function's engine changes no budgets: use `lambdallm budget` on a machine of "
                "yours."
            )
            raise errors.InvalidRequestError(reason)
        return self._care(message.get("deadline_epoch_ms")).change(message)

    def spending(self, first_day: str, last_day: str, deadline_ms: int | None) -> Spending:
        """Return what was spent from one day to another, both included.

        Raises:
            SettingError, StoreError: Nobody knows; or there is no store.
        """
        until_ms = self._until(deadline_ms)
        return {"days": day_sheets.read(self._store(), first_day, last_day, until_ms)}

    def _care(self, deadline_ms: int | None) -> BudgetCare:
        until_ms = self._until(deadline_ms)
        return BudgetCare(self._configured, self._store(), self._clock, deadline_ms=until_ms)

    def _until(self, deadline_ms: int | None) -> int:
        return deadline_ms or self._clock.epoch_ms() + ALLOWED_MS
