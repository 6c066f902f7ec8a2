"""Which budgets hold: those of `lambdallm.yaml`, as the table has changed them since.

Shapes (pico-USD; what is left out stays as it is configured):
    BUDGETS   RULE#<name>           {"schema": 1, "scope": "tenant", "only": "", "window": "month",
                                    "limit": …, "on_exceeded": "block", "stopped": false, "at": ms}
    BUDGETS   RULE#<name>#<id>      {"schema": 1, "limit": …}            of one id alone
    BUDGETS   STOP#<scope>#<id>     {"schema": 1, "stopped": true, "at": ms}

A rule without a scope changes the budget of that name where one is configured, and nothing where
none is: functions that share the table have files of their own.

They are read once in `FRESH_MS`, so that a change holds everywhere within that time. An environment
that has never read them knows of no stop and no lower limit, and spends nothing where a budget
blocks.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import budget_settings, errors
from lambdallm_extension.budget_settings import Budget
from lambdallm_extension.domain import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lambdallm_extension.ports import Clock, Item, Store

FRESH_MS = 50_000
"""A switch is to hold everywhere within a minute, the reading included."""

RETRY_MS = 5_000
"""After a reading that failed; what was read before holds meanwhile."""

STOP_NAME = "stop of "
"""How the rules are called that a `STOP#` makes; no budget's name has a space in it."""

READ_MS = 1_000
"""For a reading that a call waits for."""


class BudgetRules:
    """What holds now. Threads share it."""

    def __init__(
        self,
        configured: Sequence[Budget],
        store: Callable[[], Store | None],
        clock: Clock,
        log: Callable[[str], None],
    ) -> None:
        """Know what is configured.

        Args:
            configured: Of the file.
            store: Where changes are kept; None: nowhere.
            clock: For their age.
            log: Told once when they cannot be read.
        """
        self._configured = tuple(configured)
        self._store = store
        self._clock = clock
        self._log = log
        self._lock = Lock()
        self._rules: tuple[Budget, ...] = self._configured
        self._next_ms = 0
        self._failing = False
        self._known = False
        self._unread = ""
        """Why nothing was ever read, once that was tried."""

    def check(self) -> None:
        """Know what holds, before something is spent.

        Raises:
            StoreUnavailableError: It was never read here, and a budget blocks that has no
                allowance for a store that cannot be asked.
        """
        blocks = any(
            rule.on_exceeded != "warn" and not rule.allowance_pico_usd for rule in self.current()
        )
        if blocks and self._unread:
            message = (
                f"Nobody knows whether spending was stopped: changes of budgets could not be read "
                f"({self._unread}). Without outage_allowance nothing is spent until they are."
            )
            raise errors.StoreUnavailableError(message)

    def current(self) -> tuple[Budget, ...]:
        """Return what holds, read anew where it is too old."""
        if self._clock.epoch_ms() >= self._next_ms or self._set_back():
            self.refresh()
        return self._rules

    def refresh(self) -> None:
        """Read what was changed, unless somebody did so a moment ago."""
        with self._lock:
            now_ms = self._clock.epoch_ms()
            if now_ms < self._next_ms and not self._set_back():
                return
            try:
                store = self._store()
                items = [] if store is None else self._read(store, now_ms)
            except errors.StoreError as error:
                self._next_ms = now_ms + RETRY_MS
                self._unread = "" if self._known else error.detail
                self._say(
                    f"Budgets could not be read ({error.detail}); what was known of them holds."
                )
                return
            self._known, self._unread = True, ""
            self._next_ms = now_ms + FRESH_MS
            try:
                self._rules = merged(self._configured, items)
            except errors.StoreRefusedError as error:
                self._rules = merged(self._configured, self._sound(items))
                self._say(f"{error.detail} All other changes of budgets hold.")
            else:
                self._failing = False

    def _say(self, line: str) -> None:
        if not self._failing:
            self._failing = True
            self._log(line)

    def _sound(self, items: Iterable[Item]) -> list[Item]:
        """Return the items that can be read: a switch holds, whatever stands beside it."""
        sound: list[Item] = []
        for item in items:
            try:
                merged(self._configured, [*sound, item])
            except errors.StoreRefusedError:
                continue
            sound.append(item)
        return sound

    def _read(self, store: Store, now_ms: int) -> list[Item]:
        return store.query(keys.BUDGETS, "", deadline_ms=now_ms + READ_MS)

    def _set_back(self) -> bool:
        """Say whether the clock was: then nobody knows how old they are."""
        return self._next_ms - self._clock.epoch_ms() > FRESH_MS


def merged(configured: Iterable[Budget], items: Iterable[Item]) -> tuple[Budget, ...]:
    """Return what holds of what is configured and of what the table says.

    Raises:
        StoreRefusedError: An item is not one of ours: it may be a limit, so nothing is guessed.
    """
    rules = {rule.name: rule for rule in configured}
    for item in items:
        kind, *names = item.key.sk.split("#")
        if kind == "STOP" and len(names) == 2:  # noqa: PLR2004 - scope and id
            scope, only = names[0], keys.unquoted(names[1])
            stopped = item.attributes.get("stopped") is not False
            name = f"{STOP_NAME}{scope} {only}".rstrip()
            rules[name] = Budget(name, scope, only, "all", stopped=stopped)
        elif (
            kind == "RULE"
            and names[0] not in rules
            and (len(names) > 1 or "scope" not in item.attributes)
        ):
            continue  # it changes a budget that another function has configured
        elif kind == "RULE" and len(names) == 1:
            rules[names[0]] = _changed(rules.get(names[0]), names[0], item)
        elif kind == "RULE" and len(names) == 2:  # noqa: PLR2004 - name and id
            rule, limit = rules[names[0]], item.attributes.get("limit")
            if type(limit) is not int:
                raise _not_ours(item)
            limits = {**rule.limits, keys.unquoted(names[1]): limit}
            rules[names[0]] = rule._replace(limits=limits)
        else:
            raise _not_ours(item)
    return tuple(rules.values())


def _changed(rule: Budget | None, name: str, item: Item) -> Budget:
    rule = rule or Budget(name, scope="", window="")
    limit = item.attributes.get("limit", rule.limit_pico_usd)
    stopped = item.attributes.get("stopped", rule.stopped)
    texts = {
        field: str(item.attributes.get(field, getattr(rule, field)))
        for field in ("scope", "only", "window", "time_zone", "on_exceeded")
    }
    if not (limit is None or type(limit) is int) or type(stopped) is not bool:
        raise _not_ours(item)
    changed = rule._replace(
        limit_pico_usd=limit,
        stopped=stopped,
        scope=texts["scope"],
        only=texts["only"],
        window=texts["window"],
        time_zone=texts["time_zone"],
        on_exceeded=texts["on_exceeded"],
    )
    scope = changed.scope.partition(":")[0]
    known = scope in budget_settings.SCOPES and changed.window in budget_settings.WINDOWS
    if not known or changed.on_exceeded not in budget_settings.REACTIONS:
        raise _not_ours(item)
    return changed


def _not_ours(item: Item) -> errors.StoreRefusedError:
    message = (
        f"The item pk={item.key.pk!r} sk={item.key.sk!r} is not a budget's rule, or was changed. "
        "Mend or delete it."
    )
    return errors.StoreRefusedError(message)
