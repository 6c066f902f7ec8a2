"""What whoever pays asks: how budgets stand, what is changed of them, what was spent.

Money is in whole pico-USD (1e-12 USD). A function's own engine does not change budgets: these are
for the command line, on a machine of its own.
"""

from __future__ import annotations

from typing import TypedDict


class BudgetRule(TypedDict):
    """A budget as it holds.

    Args:
        name: How people call it.
        scope: `organisation`, `tenant`, `user`, `function`, `model`, `session` or `tag:…`.
        only: The one id that it is of; "": each has a limit of its own.
        window: `day`, `week`, `month` or `all`.
        limit_pico_usd: None: it only stops what it is of.
        on_exceeded: `block`, `downgrade` or `warn`.
        time_zone: Where its windows begin.
        stopped: Nothing may be spent.
        why: It is stopped, where nobody has stopped it.
        limits: Of ids that have another one.
    """

    name: str
    scope: str
    only: str
    window: str
    limit_pico_usd: int | None
    on_exceeded: str
    time_zone: str
    stopped: bool
    why: str
    limits: dict[str, int]


class AccountState(TypedDict):
    """One case of a budget in the window of now.

    Args:
        name: Of its budget.
        id: Of whom; "" where the budget has one case.
        window: Its name: `2026-11-21`, `2026-W47`, `2026-11`, `all`.
        limit_pico_usd: Of this id.
        leased_pico_usd: By all environments, spent or not: what the limit is held against.
        spent_pico_usd: As the environments have told, 15 seconds ago at most while they are used.
        stranded_pico_usd: Of what is leased, that nobody is known to hold, or by one who has said
            nothing for 15 minutes. It comes back with the next window, or when he goes on.
        unknown_pico_usd: Of what is spent, reserved for calls whose answers were lost.
        calls, environments: That have spent of it.
        percent: Leased, of the limit.
        ends_epoch_ms: When its window ends; None: never.
    """

    name: str
    id: str
    window: str
    limit_pico_usd: int | None
    leased_pico_usd: int
    spent_pico_usd: int
    stranded_pico_usd: int
    unknown_pico_usd: int
    calls: int
    environments: int
    percent: int
    ends_epoch_ms: int | None


class ListBudgets(TypedDict, total=False):
    """Asks how budgets stand.

    Args:
        name: Of that one alone; "": of all.
        cursor: Of the page before: the ids of budgets that have one account each are looked for in
            the whole store. "" asks for the rules, and for the accounts that are found by key.
        deadline_epoch_ms: When the answer must be there.
    """

    name: str
    cursor: str
    deadline_epoch_ms: int


class ListedBudgets(TypedDict):
    """A page.

    Args:
        rules: All that hold, on the first page.
        accounts: Of the windows of now.
        cursor: Asks for the next page, "" behind the last.
    """

    rules: list[BudgetRule]
    accounts: list[AccountState]
    cursor: str


class ChangeBudget(TypedDict, total=False):
    """Changes one budget for every environment that shares the store.

    Args:
        action: `set`, `raise`, `stop` or `go`.
        name: Of the budget; `stop` and `go` take a scope and an id in its place.
        scope, id, window, limit_pico_usd, on_exceeded, time_zone: What is changed. Where each id
            has a limit, `id` is the one whose own limit is set or raised.
        deadline_epoch_ms: When it must be done.
    """

    action: str
    name: str
    scope: str
    id: str
    window: str
    limit_pico_usd: int
    on_exceeded: str
    time_zone: str
    deadline_epoch_ms: int


class ChangedBudget(TypedDict):
    """What came of it.

    Args:
        changed: Whether it is as it was asked for now.
        why: Why not, and what to do.
        rule: How the budget is now; None where nothing was changed.
    """

    changed: bool
    why: str
    rule: BudgetRule | None


class ReadSpending(TypedDict, total=False):
    """Asks what was spent from one day to another, both included (UTC, `YYYY-MM-DD`)."""

    first_day: str
    last_day: str
    deadline_epoch_ms: int


class Amounts(TypedDict):
    """What calls came to.

    Args:
        calls: That were answered, or whose answers were lost.
        cost_pico_usd: Of those whose cost is known.
        input_tokens, output_tokens: Theirs; cached input included.
        unpriced: Calls without a known price: the cost is not all while this is not 0.
        unknown: Calls whose answers were lost: they may have been billed.
        unknown_pico_usd: The most that those can have cost that a budget held something for.
    """

    calls: int
    cost_pico_usd: int
    input_tokens: int
    output_tokens: int
    unpriced: int
    unknown: int
    unknown_pico_usd: int


class FunctionSpending(TypedDict):
    """What a function has caused beside its model calls.

    Args:
        compute_pico_usd: Billed by Lambda, as far as it was told.
        overhead_pico_usd: By lambdallm itself.
        invocations: That Lambda has billed.
    """

    compute_pico_usd: int
    overhead_pico_usd: int
    invocations: int


class DaySpending(TypedDict):
    """One day, of all environments.

    Args:
        day: `YYYY-MM-DD` (UTC).
        total: Of all calls.
        by: By `function`, `model`, `tenant`, `user`, `tag:…`, and the ids in each; "(other)" is
            what an environment no longer tells apart.
        overhead_pico_usd: What lambdallm itself has caused: requests of stores, lines of logs.
        compute_pico_usd: What Lambda has billed for the functions, as far as it was told.
        functions: Both by function. Of other names nobody knows them.
        environments: That have told of it.
    """

    day: str
    total: Amounts
    by: dict[str, dict[str, Amounts]]
    overhead_pico_usd: int
    compute_pico_usd: int
    functions: dict[str, FunctionSpending]
    environments: int


class Spending(TypedDict):
    """The days on which something was spent, in order."""

    days: list[DaySpending]
