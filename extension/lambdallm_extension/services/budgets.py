"""Admission: a call is made when every budget that concerns it has room for the most it can cost.

    admit ──► Reservation ──► settle(cost)     of all accounts, in the windows it was admitted in
      │                   ├─► lose()           the answer was lost: it counts as the most
      │                   └─► release()        it was never made, or refused: it costs nothing
      └─► BudgetExceededError                  says which budget, and when it opens again

Mostly no store is asked: an environment admits from what it has leased (`budget_accounts`).
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.domain.budget_windows import window_at
from lambdallm_extension.domain.budgets import WARN_PERCENTS
from lambdallm_extension.services.budget_accounts import Account
from lambdallm_extension.services.budget_rules import RETRY_MS, STOP_NAME
from lambdallm_wire.money import dollars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambdallm_extension.budget_settings import Budget
    from lambdallm_extension.ports import Clock, Store

ACCOUNTS_MAX = 4_096
"""Known at once: users of one environment, mostly. The idle ones are forgotten first."""

TELL_MS = 15_000
"""How old what others read of our spending may be at the end of an invocation."""

LOOK_MS = 60_000

ASK_MS = 5_000
"""For one question to the store: a budget that nobody knows is as good as spent."""


class Budgets:
    """The budgets of one environment. Threads share it."""

    def __init__(
        self,
        rules: Callable[[], Sequence[Budget]],
        store: Callable[[], Store],
        clock: Clock,
        environment_id: Callable[[], str],
        log: Callable[[str], None],
    ) -> None:
        """Know of none yet.

        Args:
            rules: What holds now.
            store: Where accounts lie, opened when one is asked for.
            clock: Decides windows.
            environment_id: Whose leases these are.
            log: Told of budgets that are nearly spent, by one environment of all.
        """
        self._log = log
        self._rules = rules
        self._store = store
        self._clock = clock
        self._environment_id = environment_id
        self._lock = Lock()
        self._accounts: dict[tuple[str, str], Account] = {}
        self._closed: list[Account] = []
        self._told_ms = 0
        self._opened = 0

    def admit(
        self, scopes: Mapping[str, str], needed_pico_usd: int, *, deadline_ms: int
    ) -> Reservation:
        """Reserve what a call can cost at most, in all budgets that concern it.

        Args:
            scopes: What the call belongs to: `tenant`, `user`, `function`, `model`, `session`,
                `tag:…`.
            needed_pico_usd: At most.
            deadline_ms: Of the call; the store is asked within it.

        Raises:
            BudgetExceededError: One has no room. Nothing is reserved.
            StoreError: One cannot be asked, and has no allowance. Nothing is reserved.
        """
        accounts = self.accounts(scopes)
        for account in accounts:  # before anything is leased for nothing
            if account.budget.stopped:
                raise _stopped(account.budget)
        taken: list[Account] = []
        try:
            for account in accounts:
                self._reserve(account, needed_pico_usd, deadline_ms)
                taken.append(account)
        except BaseException:
            for account in taken:
                account.release(needed_pico_usd)
            raise
        return Reservation(taken, needed_pico_usd, self._clock)

    def accounts(self, scopes: Mapping[str, str]) -> list[Account]:
        """Return the accounts of now that a call belongs to."""
        now_ms = self._clock.epoch_ms()
        found: list[Account] = []
        for rule in self._rules():
            scope_id = rule.concerns(scopes)
            if scope_id is not None:
                found.append(self._account(rule, scope_id, now_ms))
        return found

    def look(self, account: Account, deadline_ms: int) -> None:
        """Know how an account stands, as of `LOOK_MS` ago at most; where nobody says, as before."""
        now_ms = self._clock.epoch_ms()
        if 0 <= now_ms - account.asked_ms < LOOK_MS:
            return
        try:
            account.look(self._store(), self._clock, min(deadline_ms, now_ms + ASK_MS))
        except errors.StoreError:
            account.asked_ms = now_ms  # admission will say so, where it matters

    def known(self) -> list[Account]:
        """Return all accounts that this environment holds something of, or has."""
        with self._lock:
            return [*self._closed, *self._accounts.values()]

    def flush(self, *, deadline_ms: int, last: bool = False) -> None:
        """Return what is not needed, and tell others what was spent.

        Args:
            deadline_ms: Epoch milliseconds.
            last: The environment ends: everything goes back.

        Raises:
            StoreError: Something was not told; it will be at the next time.
        """
        now_ms = self._clock.epoch_ms()
        accounts = self.known()
        over = {id(account) for account in self._closed}
        tell = last or now_ms - self._told_ms >= TELL_MS or now_ms < self._told_ms
        failure: errors.StoreError | None = None
        for account in accounts:
            ends = last or id(account) in over
            try:
                account.make_up(self._store(), self._clock, deadline_ms)
                account.give_back(self._store(), self._clock, deadline_ms, all_=ends)
                if tell or ends:
                    self._tell(account, now_ms, deadline_ms)
                self._warn(account, now_ms, deadline_ms)
            except errors.StoreError as error:
                failure = failure or error
        if tell and failure is None:
            self._told_ms = now_ms
        self._forget()
        if failure is not None:
            raise failure

    def _reserve(self, account: Account, needed: int, deadline_ms: int) -> None:
        if account.limit is None or account.reserve(needed):
            return
        now_ms = self._clock.epoch_ms()
        warns = account.budget.on_exceeded == "warn"
        if warns and 0 <= now_ms - account.failed_ms < RETRY_MS and account.reserve_offline(needed):
            return  # no call waits again and again for what would not refuse it
        try:
            room = account.ask(
                needed, self._store(), self._clock, min(deadline_ms, now_ms + ASK_MS)
            )
        except errors.StoreError:
            account.failed_ms = self._clock.epoch_ms()
            if account.reserve_offline(needed):
                return
            raise
        if not room:
            raise _exceeded(account, needed, self._clock.epoch_ms())

    def _account(self, rule: Budget, scope_id: str, now_ms: int) -> Account:
        """Return the account of now; one whose window is over is put aside, to be closed."""
        key = (rule.name, scope_id)
        account = self._accounts.get(key)
        if account is not None and account.budget is rule and account.window.holds(now_ms):
            return account
        with self._lock:
            account = self._accounts.get(key)
            if account is None or not (account.window.holds(now_ms) and account.counts_by(rule)):
                try:
                    window = window_at(rule.window, now_ms, rule.time_zone)
                except ValueError as error:
                    message = f"The budget {rule.name!r} cannot hold, so nothing is spent: {error}"
                    raise errors.SettingError(message) from None
            else:
                window = account.window
            if account is None or account.window != window:
                if account is not None:
                    self._closed.append(account)
                self._opened += 1
                account = Account(rule, scope_id, window, self._opened)
                self._accounts[key] = account
            account.budget = rule
            return account

    def _tell(self, account: Account, now_ms: int, deadline_ms: int) -> None:
        row = account.row(self._environment_id(), now_ms)
        if row is None:
            return
        try:
            self._store().put_if(row, deadline_ms=deadline_ms)
        except errors.ConditionFailedError:
            return  # it was told, and the answer lost
        except errors.StoreError:
            account.not_told()
            raise

    def _warn(self, account: Account, now_ms: int, deadline_ms: int) -> None:
        """Say once in a window that a part of it is gone."""
        for percent in WARN_PERCENTS:
            if account.percent < percent or percent in account.warned:
                continue
            try:
                self._store().put_if(account.warning(percent, now_ms), deadline_ms=deadline_ms)
            except errors.ConditionFailedError:
                account.warned.add(percent)  # somebody else has said so
                continue
            account.warned.add(percent)
            self._log(
                f"The {account.budget.window}'s budget of "
                f"{_called(account.budget, account.scope_id)} ({account.budget.name}) is leased to "
                f"{account.percent} %: {dollars(account.standing.leased_pico_usd)} of "
                f"{dollars(account.limit or 0)}."
            )

    def _forget(self) -> None:
        with self._lock:
            self._closed = [account for account in self._closed if not account.idle]
            if len(self._accounts) > ACCOUNTS_MAX:
                idle = [key for key, account in self._accounts.items() if account.idle]
                for key in idle[: len(self._accounts) - ACCOUNTS_MAX // 2]:
                    del self._accounts[key]


class Reservation:
    """What one call may cost at most. It ends once; what comes after its end changes nothing."""

    def __init__(self, accounts: Sequence[Account], pico_usd: int, clock: Clock) -> None:
        self.pico_usd = pico_usd
        self.percent = max([account.percent for account in accounts], default=0)
        self._clock = clock
        self._lock = Lock()
        self._accounts = accounts

    def settle(self, cost_pico_usd: int) -> None:
        """Book what it has cost."""
        now_ms = self._clock.epoch_ms()
        for account in self._end():
            account.settle(self.pico_usd, cost_pico_usd, now_ms)

    def lose(self) -> None:
        """Book that nobody knows what it has cost: as much as it can have."""
        now_ms = self._clock.epoch_ms()
        for account in self._end():
            account.settle(self.pico_usd, self.pico_usd, now_ms, known=False)

    def release(self) -> None:
        """Book that it costs nothing."""
        for account in self._end():
            account.release(self.pico_usd)

    def _end(self) -> Sequence[Account]:
        with self._lock:
            accounts, self._accounts = self._accounts, ()
        return accounts


def _stopped(budget: Budget) -> errors.BudgetExceededError:
    if budget.why:
        return errors.BudgetExceededError(budget.why)
    opens = budget.name
    if budget.name.startswith(STOP_NAME):
        quoted = budget.only.replace("'", "'\\''")
        opens = f"--scope {budget.scope}" + (f" --id '{quoted}'" if quoted else "")
    message = (
        f"Spending is stopped for {_called(budget, budget.only)}: whoever stopped it opens it with "
        f"`lambdallm budget go {opens}`."
    )
    return errors.BudgetExceededError(message)


def _exceeded(account: Account, needed: int, now_ms: int) -> errors.BudgetExceededError:
    budget = account.budget
    limit = account.limit or 0
    left = max(0, limit - account.standing.leased_pico_usd)
    message = (
        f"The {budget.window}'s budget of {_called(budget, account.scope_id)} is {dollars(limit)}; "
        f"{dollars(left)} of it is left, and this call can cost up to {dollars(needed)}."
    )
    if account.window.name == "all":
        return errors.BudgetExceededError(message)
    opens = (account.window.end_ms - now_ms) / 1_000
    return errors.BudgetExceededError(message, retry_after_seconds=opens)


def _called(budget: Budget, scope_id: str) -> str:
    return f"{budget.scope} {scope_id!r}" if scope_id else f"the {budget.scope}"
