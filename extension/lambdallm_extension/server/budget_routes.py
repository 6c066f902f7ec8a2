"""The routes by which a unit of work says what it counts under, and asks what is left."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.server import checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.services.budget_accounts import Account
    from lambdallm_extension.services.spending import Spending
    from lambdallm_extension.services.works import Work
    from lambdallm_wire.budgets import BudgetsReply, BudgetStanding, Tagged
    from lambdallm_wire.codec import Message

TAGS_MAX = 16
"""Of one unit of work: each may be a budget's, and is looked at for every call."""

TEXT_MAX = 256


def tag(message: Message, work: Work) -> Tagged:
    """Take tags.

    Raises:
        InvalidRequestError: They are no short texts by name, or too many.
    """
    checks.require(message, tags=dict)
    work.tags = tags_of({**work.tags, **message["tags"]})
    return {"tags": work.tags}


def tags_of(said: dict[str, Any]) -> dict[str, str]:
    """Return tags without those that were taken away.

    Raises:
        InvalidRequestError: They are no short texts by name, or too many.
    """
    for name, value in said.items():
        if not (isinstance(value, str) and _is_name(name) and len(value) <= TEXT_MAX):
            reason = (
                f"A tag is a text of up to {TEXT_MAX} characters under a name of letters, digits, "
                f"'-' and '_', not {name!r:.80}: {value!r:.80}."
            )
            raise errors.InvalidRequestError(reason)
    tags = {name: value for name, value in said.items() if value}
    if len(tags) > TAGS_MAX:
        reason = f"A unit of work has at most {TAGS_MAX} tags."
        raise errors.InvalidRequestError(reason)
    return tags


def budgets(message: Message, work: Work, spending: Spending) -> BudgetsReply:
    """Say how the budgets stand that a unit's calls belong to."""
    model = message.get("model", "")
    accounts = spending.standing(
        work.totals.scopes(), model if isinstance(model, str) else "", work.deadline_ms
    )
    return {"budgets": sorted(map(_standing, accounts), key=lambda each: -each["percent"])}


def _standing(account: Account) -> BudgetStanding:
    budget = account.budget
    return {
        "name": budget.name,
        "scope": budget.scope,
        "id": account.scope_id,
        "window": budget.window,
        "limit_pico_usd": account.limit,
        "leased_pico_usd": account.standing.leased_pico_usd,
        "percent": account.percent,
        "on_exceeded": budget.on_exceeded,
        "stopped": budget.stopped,
        "ends_epoch_ms": None if account.window.name == "all" else account.window.end_ms,
    }


def _is_name(name: str) -> bool:
    return 0 < len(name) <= TEXT_MAX and name.isascii() and name.replace("-", "").isidentifier()
