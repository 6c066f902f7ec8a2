"""What a unit of work may still spend, and what its calls are counted under.

Money is in whole pico-USD (1e-12 USD).
"""

from __future__ import annotations

from typing import TypedDict


class TagRequest(TypedDict, total=False):
    """Counts the unit's calls from now on under names of the user's own.

    `tags` are texts by name; `user` and `tenant` are the scopes of those names, "" takes one away.
    """

    work_id: str
    tags: dict[str, str]


class BudgetsRequest(TypedDict, total=False):
    """Asks how the budgets stand that the unit's calls belong to.

    `model` is `provider/model`, for budgets of models.
    """

    work_id: str
    model: str


class BudgetStanding(TypedDict):
    """One of them.

    Args:
        name: As it is configured, or set.
        scope, id: What it is of: `user`, `ada`.
        window: `day`, `week`, `month` or `all`.
        limit_pico_usd: None: it is only stopped, or not.
        leased_pico_usd: Spent by all environments, or leased by them to be spent next: as of the
            last time the store was asked, a minute ago at most.
        percent: Of the limit.
        on_exceeded: `block`, `downgrade` or `warn`.
        stopped: Nothing may be spent.
        ends_epoch_ms: When its window ends; None: never.
    """

    name: str
    scope: str
    id: str
    window: str
    limit_pico_usd: int | None
    leased_pico_usd: int
    percent: int
    on_exceeded: str
    stopped: bool
    ends_epoch_ms: int | None


class BudgetsReply(TypedDict):
    """How they stand, the fullest first."""

    budgets: list[BudgetStanding]


class Tagged(TypedDict):
    """The unit's tags now."""

    tags: dict[str, str]
