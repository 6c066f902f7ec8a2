"""What is wrong between the keys of `cost`: budgets that would hold nothing, prices in halves."""

from __future__ import annotations

from lambdallm_wire import configuration as schema
from lambdallm_wire.configuration_faults import nearest, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.configuration_faults import Faults, Path

SCOPES = ("organisation", "tenant", "user", "function", "model", "session", "run", "tag")
"""What a budget can be of."""

_BUDGETS = {
    "budget",
    "budgets",
    "on_budget_exceeded",
    "time_zone",
    "unpriced",
    "unbounded",
    "unmetered",
}
"""Keys under `cost` that say what may not be spent."""


def check(cost: dict[str, Any], faults: Faults) -> None:
    """Look at all that stands under `cost`; prices that cannot hold are taken away."""
    _check_prices(cost.get("prices", {}), faults)
    for name, budget in cost.get("budgets", {}).items():
        path = ("cost", "budgets", name)
        if "limit" not in budget:
            faults.error(path, "`limit` is missing: USD in each window.")
        if not name.isascii() or not name.replace("-", "_").isidentifier():
            faults.error(path, "A budget's name is made of letters, digits, '-' and '_'.")
        if name in cost.get("budget", {}):
            faults.error(path, f"`cost.budget.{name}` is called so, too: choose another name.")
        _check_scope(path, budget, faults)


def _check_scope(path: Path, budget: dict[str, Any], faults: Faults) -> None:
    """Refuse what no call belongs to: such a budget would never hold."""
    scope, _, tag = budget.get("scope", "organisation").partition(":")
    if scope not in SCOPES or (scope == "tag") != bool(tag):
        said = f"{shown(budget['scope'])} is no scope: {', '.join(SCOPES)}, `tag` with a name."
        faults.error((*path, "scope"), said, nearest(scope, SCOPES))
    elif scope == "organisation" and "id" in budget:
        faults.error((*path, "id"), "The organisation has no id: say the `scope` that it is of.")
    elif scope == "model" and "/" not in budget.get("id", "/").partition(":")[0]:
        close = f"bedrock/{budget['id']}"
        faults.error((*path, "id"), "A model is called as it is asked: provider/model.", close)


def close_broken_budgets(held: dict[str, Any], document: Any, faults: Faults) -> None:
    """Let nothing be spent where a limit was meant that nobody can read: it was to hold."""
    wrong = [
        fault
        for fault in faults
        if fault.severity == "error" and _was_to_limit(fault.path, fault.nearest, document)
    ]
    if wrong:
        held.setdefault("cost", {})["broken_budget"] = wrong[0].sentence()


def _was_to_limit(path: Path, nearest_name: str, document: Any) -> bool:
    """Say whether what is left out says what may be spent: by its key, however it is spelt."""
    if "cost" in path and (_BUDGETS & {*path} or nearest_name in _BUDGETS):
        return True
    below = path[2:] if path[:1] == (schema.ENVIRONMENTS,) else path
    if "cost" not in path and len(below) != 1:
        return False
    found = document
    for part in path:
        try:
            found = found[part]
        except (LookupError, TypeError):
            return False
    keys = [path[-1], *(found if isinstance(found, dict) else ())]
    return any("budget" in str(key).lower() for key in keys)


def _check_prices(prices: dict[str, Any], faults: Faults) -> None:
    """Take prices away that leave a question open: both of what is read and made, or `like`."""
    for name, price in list(prices.items()):
        path = ("cost", "prices", name)
        needed = [key for key in ("input", "output") if key not in price]
        if "like" in price and len(price) > 1:
            others = ", ".join(f"`{key}`" for key in price if key != "like")
            faults.error((*path, "like"), f"{others} says it too; give `like` or prices, not both.")
        elif "like" not in price and needed:
            wrong = {fault.path for fault in faults}
            missing = [f"`{key}`" for key in needed if (*path, key) not in wrong]  # else: was said
            if missing:
                faults.error(path, f"{' and '.join(missing)} is missing, or `like`.")
        else:
            continue
        del prices[name]
