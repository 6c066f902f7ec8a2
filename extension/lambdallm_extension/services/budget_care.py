"""For whoever pays: how budgets stand, and their changes.

rules     configured (lambdallm.yaml) and changed (`BUDGETS`), merged as environments do
accounts  by key, where a budget has one; else every `HEAD` of its accounts is looked for
changes   one item each, written whole or by attribute; read by environments within a minute
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.domain.budget_windows import window_at
from lambdallm_extension.domain.budgets import percent
from lambdallm_extension.ports import Add, Item, Key, Put
from lambdallm_extension.services.budget_accounts import standing_of
from lambdallm_extension.services.budget_rules import merged
from lambdallm_wire import names
from lambdallm_wire.money import dollars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lambdallm_extension.budget_settings import Budget
    from lambdallm_extension.domain.budget_windows import Window
    from lambdallm_extension.ports import Clock, Store, Value
    from lambdallm_wire.accounting import (
        AccountState,
        BudgetRule,
        ChangeBudget,
        ChangedBudget,
        ListedBudgets,
    )

SILENT_MS = 900_000
"""An environment that has told nothing for so long may be gone: Lambda ends idle ones then."""

SCANNING = "accounts:"
"""Begins the cursor of the pages whose accounts are looked for in the whole store."""

_FIELDS = {
    "scope": "scope",
    "id": "only",
    "window": "window",
    "limit_pico_usd": "limit",
    "on_exceeded": "on_exceeded",
    "time_zone": "time_zone",
}
"""Of a message, and what they are in a rule's item."""


class BudgetCare:
    """One request's look at the budgets of a store, or change of one."""

    def __init__(
        self, configured: Sequence[Budget], store: Store, clock: Clock, *, deadline_ms: int
    ) -> None:
        """Ask nothing yet.

        Args:
            configured: Of the file that is known here.
            store: Where changes and accounts are.
            clock: Decides windows.
            deadline_ms: Of all that is asked, epoch milliseconds.
        """
        self._configured = configured
        self._store = store
        self._clock = clock
        self._deadline_ms = deadline_ms

    # How they stand

    def listed(self, name: str, cursor: str) -> ListedBudgets:
        """Return a page of how the budgets stand, or the one of a name.

        Raises:
            StoreError: Nobody knows, or an item is not one of ours.
        """
        rules = [rule for rule in self._rules() if name in ("", rule.name)]
        several = {rule.name: rule for rule in rules if _has_several(rule)}
        if cursor:
            return self._found(several, name, cursor.removeprefix(SCANNING))
        accounts: list[AccountState] = []
        for rule in rules:
            window = self._window(rule)
            if window is None:
                continue
            ids = rule.limits if _has_several(rule) else (rule.only,)
            accounts += [self._account(rule, scope_id, window) for scope_id in ids]
        more = SCANNING if any(self._window(rule) for rule in several.values()) else ""
        return {"rules": [*map(_told, rules)], "accounts": accounts, "cursor": more}

    def _found(self, rules: Mapping[str, Budget], name: str, cursor: str) -> ListedBudgets:
        """Return the accounts of now among those that a page of the store holds."""
        prefix = keys.BUDGET_PREFIX + (f"{name}#" if name else "")
        page = self._store.scan(prefix, keys.HEAD, cursor=cursor, deadline_ms=self._deadline_ms)
        accounts = []
        for item in page.items:
            found, scope_id, window_name = keys.parse_budget_pk(item.key.pk)
            rule = rules.get(found)
            window = None if rule is None else self._window(rule)
            if rule is None or window is None or window.name != window_name:
                continue
            if scope_id not in rule.limits:  # those stand on the first page
                accounts.append(self._account(rule, scope_id, window))
        more = SCANNING + page.cursor if page.cursor else ""
        return {"rules": [], "accounts": accounts, "cursor": more}

    def _account(self, rule: Budget, scope_id: str, window: Window) -> AccountState:
        pk = keys.budget_pk(rule.name, scope_id, window.name)
        items = self._store.query(pk, "", deadline_ms=self._deadline_ms)
        head = next((item for item in items if item.key.sk == keys.HEAD), None)
        leased = standing_of(head).leased_pico_usd
        rows = [item for item in items if item.key.sk.startswith(keys.LEASE_PREFIX)]
        limit = rule.limit_of(scope_id)
        return {
            "name": rule.name,
            "id": scope_id,
            "window": window.name,
            "limit_pico_usd": limit,
            "leased_pico_usd": leased,
            "spent_pico_usd": _sum(rows, "spent"),
            "stranded_pico_usd": self._stranded(rows, leased),
            "unknown_pico_usd": _sum(rows, "unknown"),
            "calls": _sum(rows, "calls"),
            "environments": len(rows),
            "percent": percent(leased, limit),
            "ends_epoch_ms": None if window.name == "all" else window.end_ms,
        }

    def _stranded(self, rows: Sequence[Item], leased: int) -> int:
        """Return what is leased and told by nobody, or by one who has gone silent with it."""
        silent_ms = self._clock.epoch_ms() - SILENT_MS
        left = [
            max(0, _number(row, "granted") - _number(row, "spent"))
            for row in rows
            if _number(row, "at") < silent_ms
        ]
        return max(0, leased - _sum(rows, "granted")) + sum(left)

    # Changes

    def change(self, message: ChangeBudget) -> ChangedBudget:
        """Do what is asked, or say why not.

        Raises:
            StoreError: It is not known whether it was done; doing it again does no harm.
        """
        action, name = message["action"], message.get("name", "")
        if not name:
            return self._switch(message["scope"], message.get("id", ""), stop=action == "stop")
        rules = {rule.name: rule for rule in self._rules()}
        rule = rules.get(name)
        if action == "set":
            return self._set(rule, message)
        if rule is None:
            known = ", ".join(sorted(rules)) or "none"
            other = (
                "`lambdallm budget stop --scope organisation` stops everything."
                if action == "stop"
                else f"`lambdallm budget set {name} --scope … --limit …` makes one."
            )
            return _refused(
                f"There is no budget {name!r} in the store, nor in a lambdallm.yaml here (known: "
                f"{known}). Run this where the functions' lambdallm.yaml is, or name it by "
                f"LAMBDALLM_CONFIG; {other}"
            )
        if action == "raise":
            return self._raise(rule, message)
        return self._write(rule.name, {"stopped": action == "stop"})

    def _set(self, rule: Budget | None, message: ChangeBudget) -> ChangedBudget:
        name = message["name"]
        given: dict[str, Value] = {
            field: message[asked]  # type: ignore[literal-required]  # they are its keys
            for asked, field in _FIELDS.items()
            if asked in message
        }
        if rule is None and not ("scope" in given and "limit" in given):
            return _refused(
                f"There is no budget {name!r} here yet. To make it say of what it is, and how "
                f"much: `lambdallm budget set {name} --scope organisation --limit 50`. To change "
                "one of a lambdallm.yaml, run this where that file is."
            )
        scope = given.get("scope", "" if rule is None else rule.scope)
        if scope == "organisation" and given.get("only", "" if rule is None else rule.only):
            return _refused("The organisation has no id: no call would belong to such a budget.")
        if rule is None:
            usual = {"only": "", "window": "day", "on_exceeded": "block", "time_zone": "UTC"}
            given = {**usual, **given}
        elif not given:
            return _refused(f"Nothing was said that {name!r} is to have: --limit, for one.")
        elif "only" in given and _has_several(rule) and "scope" not in given:
            return self._set_own_limit(name, given)
        return self._write(name, given)

    def _set_own_limit(self, name: str, given: Mapping[str, Value]) -> ChangedBudget:
        """Give one id a limit of its own, where each has one."""
        if {*given} != {"only", "limit"}:
            return _refused(
                f"Each id has a limit of its own in {name!r}: with --id say --limit, and nothing "
                "else."
            )
        return self._write(name, {"limit": given["limit"]}, str(given["only"]))

    def _raise(self, rule: Budget, message: ChangeBudget) -> ChangedBudget:
        scope_id, limit = message.get("id", ""), message["limit_pico_usd"]
        if scope_id and not _has_several(rule):
            return _refused(f"The budget {rule.name!r} has one limit, not one for each id.")
        now = rule.limit_of(scope_id)
        if now is None:
            return _refused(f"{rule.name!r} has no limit that could be raised: `set` gives one.")
        if limit <= now:
            own = f" --id '{scope_id}'" if scope_id else ""
            return _refused(
                f"The limit is {dollars(now)} already: "
                f"`lambdallm budget set {rule.name} --limit …{own}` lowers one."
            )
        return self._write(rule.name, {"limit": limit}, scope_id)

    def _switch(self, scope: str, scope_id: str, *, stop: bool) -> ChangedBudget:
        key = Key(keys.BUDGETS, keys.stop_sk(scope, scope_id))
        now_ms = self._clock.epoch_ms()
        if stop:
            attributes: dict[str, Value] = {
                "schema": names.ITEM_SCHEMA_VERSION,
                "stopped": True,
                "at": now_ms,
            }
            self._store.put_if(Put(Item(key, attributes)), deadline_ms=self._deadline_ms)
        elif self._store.get(key, deadline_ms=self._deadline_ms) is None:
            return _refused("Nothing has stopped it; `lambdallm budget show` says what is stopped.")
        else:
            self._store.delete(key, deadline_ms=self._deadline_ms)
        return {"changed": True, "why": "", "rule": None}

    def _write(self, name: str, fields: Mapping[str, Value], scope_id: str = "") -> ChangedBudget:
        """Set some attributes of a rule's item; the others stay, whoever has set them."""
        assigned: dict[str, Value] = {
            "schema": names.ITEM_SCHEMA_VERSION,
            **fields,
            "at": self._clock.epoch_ms(),
        }
        key = Key(keys.BUDGETS, keys.rule_sk(name, scope_id))
        self._store.add_if(Add(key, {}, assigned), deadline_ms=self._deadline_ms)
        rule = next((rule for rule in self._rules() if rule.name == name), None)
        return {"changed": True, "why": "", "rule": None if rule is None else _told(rule)}

    def _rules(self) -> tuple[Budget, ...]:
        items = self._store.query(keys.BUDGETS, "", deadline_ms=self._deadline_ms)
        return merged(self._configured, items)

    def _window(self, rule: Budget) -> Window | None:
        """Return the window of now; None of a rule that has no account, or cannot have one."""
        if rule.limit_pico_usd is None and not rule.limits:
            return None
        try:
            return window_at(rule.window, self._clock.epoch_ms(), rule.time_zone)
        except ValueError as error:
            message = f"The budget {rule.name!r}: {error}"
            raise errors.SettingError(message) from None


def _has_several(rule: Budget) -> bool:
    """Say whether each id has an account of its own."""
    return rule.scope != "organisation" and not rule.only


def _told(rule: Budget) -> BudgetRule:
    return {
        "name": rule.name,
        "scope": rule.scope,
        "only": rule.only,
        "window": rule.window,
        "limit_pico_usd": rule.limit_pico_usd,
        "on_exceeded": rule.on_exceeded,
        "time_zone": rule.time_zone,
        "stopped": rule.stopped,
        "why": rule.why,
        "limits": {**rule.limits},
    }


def _sum(rows: Iterable[Item], name: str) -> int:
    return sum(_number(row, name) for row in rows)


def _number(row: Item, name: str) -> int:
    value = row.attributes.get(name, 0)
    return value if isinstance(value, int) else 0


def _refused(why: str) -> ChangedBudget:
    return {"changed": False, "why": why, "rule": None}
