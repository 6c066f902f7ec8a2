"""Budgets and spending of a store, through the engine in this process, beside its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambdallm_cli.sessions_store import SessionStore
from lambdallm_wire import routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class AccountStore(SessionStore):
    """One store, and the `lambdallm.yaml` that is known here."""

    def budgets(self, name: str, searching: Callable[[], None]) -> Iterator[dict[str, Any]]:
        """Yield pages of `accounting.ListedBudgets`, the one with the rules first.

        Args:
            name: Of one budget, "" for all.
            searching: Told before the whole store is looked through.

        Raises:
            RefusedError, UnreachableError: Nobody knows.
        """
        page = self._ask(routes.LIST_BUDGETS, name=name, cursor="")
        yield page
        if page["cursor"]:
            searching()
        while page["cursor"]:
            page = self._ask(routes.LIST_BUDGETS, name=name, cursor=page["cursor"])
            yield page

    def change(self, **change: Any) -> dict[str, Any]:
        """Change a budget; see `accounting.ChangeBudget`.

        Raises:
            InvalidRequestError: It cannot be so.
            RefusedError, UnreachableError: Perhaps not done; once more does no harm.
        """
        return self._ask(routes.CHANGE_BUDGET, **change)

    def spending(self, first_day: str, last_day: str) -> list[dict[str, Any]]:
        """Return what was spent on each day, as `accounting.DaySpending`.

        Raises:
            RefusedError, UnreachableError: Nobody knows.
        """
        reply = self._ask(routes.READ_SPENDING, first_day=first_day, last_day=last_day)
        days: list[dict[str, Any]] = reply["days"]
        return days
