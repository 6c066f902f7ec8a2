"""One environment's leases on accounts, and what stands of them in the store.

Shapes (pico-USD; `expires_at` some weeks after the window):
    BUDGET#<name>#<id>#<window>   HEAD           {"schema": 1, "leased": …, "leases": 3}
    BUDGET#<name>#<id>#<window>   WARN#80        {"schema": 1, "at": ms}
    BUDGET#<name>#<id>#<window>   LEASE#<env>.<n>   {"schema": 1, "sequence": 9, "granted": …,
                                  "spent": …, "reserved": …, "unknown": …, "calls": 14, "at": ms}

`leased` only grows before it is spent: an addition whose answer is lost may have been made, so it
counts as made and is never made again; a return whose answer is lost counts as not made. Both err
to the side where less is spent. What a dead environment has leased stays leased.

A row belongs to one `Account`: an environment that has forgotten one, and opens it again, begins
another row, so that all rows together are what was spent.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.domain import budgets, keys
from lambdallm_extension.domain.budgets import Lease, Pace, Standing
from lambdallm_extension.ports import ABSENT, Add, Condition, Item, Key, Put
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.budget_settings import Budget
    from lambdallm_extension.domain.budget_windows import Window
    from lambdallm_extension.ports import Clock, Store, Value

LEASE_ATTEMPTS = 4
"""Others may be first each time; a refusal says how the account stands by then."""

LOST_MAX = 2
"""Each loss of an answer strands a lease; a store that loses two in a row cannot be asked."""

FULL_MS = 2_000
"""So long nobody asks again for an account that had no room: what others return is small."""

KEPT_SECONDS = 40 * 86_400
"""Behind the end of its window: until the month's bill is there."""

RETURN_SHARE = 20_000
"""Less than this part of a limit is not worth a write: 500 lost environments strand 2.5 percent."""


class Account:
    """A budget's case in one window, as one environment sees it. Threads share it."""

    def __init__(self, budget: Budget, scope_id: str, window: Window, number: int) -> None:
        """Hold nothing of it yet; no other account of this environment has the number."""
        self.budget = budget
        self._number = number
        self._counted = False
        self.scope_id = scope_id
        self.window = window
        self.standing = Standing()
        self.pk = keys.budget_pk(budget.name, scope_id, window.name)
        self.asked_ms = 0
        self.failed_ms = 0
        self.warned: set[int] = set()
        self._lock = Lock()
        self._asking = Lock()
        self._lease = Lease()
        self._pace = Pace()
        self._unknown = 0
        self._calls = 0
        self._offline = 0
        self._full_until_ms = 0
        self._sequence = 0
        self._changed = False

    @property
    def limit(self) -> int | None:
        """In pico-USD; None: there is none."""
        return self.budget.limit_of(self.scope_id)

    def counts_by(self, rule: Budget) -> bool:
        """Say whether a rule has the same windows; a changed one may have others."""
        return (rule.window, rule.time_zone) == (self.budget.window, self.budget.time_zone)

    @property
    def percent(self) -> int:
        """How much of it is leased, as far as is known here; a limit of nothing is full."""
        return budgets.percent(self.standing.leased_pico_usd, self.limit)

    @property
    def lease(self) -> Lease:
        """What this environment holds of it."""
        return self._lease

    @property
    def offline(self) -> int:
        """What was spent, or is reserved, of the allowance for when the store cannot be asked."""
        return self._offline

    # A call

    def reserve(self, needed: int) -> bool:
        """Take it from what is leased; False when that is too little."""
        with self._lock:
            if self._lease.left < needed:
                return False
            self._lease = self._lease._replace(reserved=self._lease.reserved + needed)
            self._changed = True
            return True

    def settle(self, reserved: int, spent: int, now_ms: int, *, known: bool = True) -> None:
        """End a call that reserved so much."""
        with self._lock:
            lease = self._lease
            self._lease = lease._replace(
                reserved=lease.reserved - reserved, spent=lease.spent + spent
            )
            self._calls += 1
            self._unknown += 0 if known else spent
            self._pace.add(spent, now_ms)
            self._changed = True

    def release(self, reserved: int) -> None:
        """Forget a call that was never made, or refused."""
        with self._lock:
            self._lease = self._lease._replace(reserved=self._lease.reserved - reserved)
            self._changed = True

    def reserve_offline(self, needed: int) -> bool:
        """Take it from the allowance; it is granted then without anybody having been asked.

        A budget that only warns blocks nothing: what it lacks then is leased later (`make_up`).
        """
        with self._lock:
            if self._warns:
                self._lease = self._lease._replace(reserved=self._lease.reserved + needed)
                self._changed = True
                return True
            if self._offline + needed > self.budget.allowance_pico_usd:
                return False
            self._offline += needed
            lease = self._lease
            self._lease = lease._replace(
                granted=lease.granted + needed, reserved=lease.reserved + needed
            )
            self._changed = True
            return True

    # The store

    def ask(self, needed: int, store: Store, clock: Clock, deadline_ms: int) -> bool:
        """Lease more and reserve of it; False when the account has no room for it.

        One thread at a time asks for all that wait.

        Raises:
            StoreError: Nobody knows; nothing is reserved.
        """
        seconds = max(0.0, (deadline_ms - clock.epoch_ms()) / 1_000)
        if not self._asking.acquire(timeout=seconds):
            message = "The budget was not leased in time."
            raise errors.StoreUnavailableError(message)
        try:
            return self.reserve(needed) or self._lease_more(needed, store, clock, deadline_ms)
        finally:
            self._asking.release()

    def _lease_more(self, needed: int, store: Store, clock: Clock, deadline_ms: int) -> bool:
        lost = 0
        for _ in range(LEASE_ATTEMPTS):
            size = self._size(needed, clock.epoch_ms())
            if size is None:
                return False
            try:
                item = store.add_if(self._addition(size), deadline_ms=deadline_ms)
            except errors.ConditionFailedError as refusal:
                if refusal.current[0] is None:  # something stands there, and it is not said what
                    self.look(store, clock, deadline_ms)
                else:
                    self.standing = standing_of(refusal.current[0])
                if self._free() < self._lack(needed):
                    self._full_until_ms = clock.epoch_ms() + FULL_MS
                    return False
            except errors.WriteUncertainError:
                lost += 1
                if lost == LOST_MAX:
                    raise
            else:
                self._take(size, item, clock.epoch_ms())
                if self.reserve(needed):
                    return True
        message = "Others lease this budget at the same time; try again."
        raise errors.StoreUnavailableError(message)

    def make_up(self, store: Store, clock: Clock, deadline_ms: int) -> None:
        """Lease what a budget that only warns let through while nobody could be asked.

        Raises:
            StoreError: Nobody knows.
        """
        if self._warns and self._lease.left < 0:
            self.ask(0, store, clock, deadline_ms)

    def look(self, store: Store, clock: Clock, deadline_ms: int) -> None:
        """Read how it stands.

        Raises:
            StoreError: Nobody knows.
        """
        item = store.get(Key(self.pk, keys.HEAD), deadline_ms=deadline_ms)
        self.standing, self.asked_ms = standing_of(item), clock.epoch_ms()

    def give_back(self, store: Store, clock: Clock, deadline_ms: int, *, all_: bool) -> None:
        """Return what is not needed soon; everything where the environment ends.

        Raises:
            StoreError: It may not have been returned. It is not used again.
        """
        limit = self.limit
        if limit is None:
            return
        now_ms = clock.epoch_ms()
        with self._lock:
            unusable = all_ or self._is_full(now_ms)  # too little here may be enough with others'
            pace = 0 if unusable else self._pace.per_minute(now_ms)
            back = min(budgets.surplus(self._lease, pace), self._lease.granted - self._offline)
            if back <= (0 if all_ else limit // RETURN_SHARE):
                return
            self._lease = self._lease._replace(granted=self._lease.granted - back)
            self._changed = True
            ends = self._counted and not (self._lease.left or self._lease.reserved)
            self._counted = self._counted and not ends
        add = {"leased": -back, "leases": -1 if ends else 0}
        try:
            item = store.add_if(
                Add(Key(self.pk, keys.HEAD), add, condition=Condition(absent=False)),
                deadline_ms=deadline_ms,
            )
        except errors.ConditionFailedError:
            return  # its window is long over, and the account gone
        except errors.StoreUnavailableError:
            with self._lock:  # it was not sent, or refused: it is still ours
                self._lease = self._lease._replace(granted=self._lease.granted + back)
                self._counted = self._counted or ends
            raise
        self.standing = standing_of(item)

    def row(self, environment_id: str, now_ms: int) -> Put | None:
        """Return what tells others of this lease, None when nothing has changed since."""
        with self._lock:
            if not self._changed:
                return None
            self._changed = False
            self._sequence += 1
            lease = self._lease
            attributes: dict[str, Value] = {
                "schema": names.ITEM_SCHEMA_VERSION,
                "sequence": self._sequence,
                "granted": lease.granted,
                "spent": lease.spent,
                "reserved": lease.reserved,
                "unknown": self._unknown,
                "calls": self._calls,
                "at": now_ms,
            }
        key = Key(self.pk, keys.lease_sk(f"{environment_id}.{self._number}"))
        newer = Condition(at_most={"sequence": self._sequence - 1})
        return Put(Item(key, attributes, self._expires_at()), newer)

    def warning(self, percent: int, now_ms: int) -> Put:
        """Return what says that so much is leased; the first environment to put it says so."""
        attributes: dict[str, Value] = {"schema": names.ITEM_SCHEMA_VERSION, "at": now_ms}
        key = Key(self.pk, keys.warning_sk(percent))
        return Put(Item(key, attributes, self._expires_at()), ABSENT)

    def not_told(self) -> None:
        """Know that `row` did not reach the store."""
        with self._lock:
            self._changed = True

    @property
    def idle(self) -> bool:
        """Whether nothing is lost when it is forgotten."""
        with self._lock:
            lease = self._lease
            return not (self._changed or lease.reserved or lease.granted - lease.spent > 0)

    @property
    def _warns(self) -> bool:
        return self.budget.on_exceeded == "warn"

    def _lack(self, needed: int) -> int:
        return needed - self._lease.left

    def _free(self) -> int:
        return (self.limit or 0) - self.standing.leased_pico_usd

    def _size(self, needed: int, now_ms: int) -> int | None:
        """Return how much to ask for; None where it was refused a moment ago."""
        limit = self.limit or 0
        lack = self._lack(needed)
        if self._is_full(now_ms) and self._free() < lack:
            return None
        return budgets.lease_size(lack, limit, self.standing, self._pace.per_minute(now_ms))

    def _is_full(self, now_ms: int) -> bool:
        """Say whether it had no room a moment ago."""
        return 0 < self._full_until_ms - now_ms <= FULL_MS

    def _addition(self, size: int) -> Add:
        limit = self.limit or 0
        condition = Condition() if self._warns else Condition(at_most={"leased": limit - size})
        return Add(
            Key(self.pk, keys.HEAD),
            {"leased": size, "leases": 0 if self._counted else 1},
            {"schema": names.ITEM_SCHEMA_VERSION},
            self._expires_at(),
            condition,
        )

    def _take(self, size: int, item: Item, now_ms: int) -> None:
        self.standing, self.asked_ms = standing_of(item), now_ms
        with self._lock:
            self._lease = self._lease._replace(granted=self._lease.granted + size)
            self._changed = self._counted = True

    def _expires_at(self) -> int | None:
        """Return when nobody needs it any more, epoch seconds; never, of one without an end."""
        ends = self.window.end_ms // 1_000
        return ends + KEPT_SECONDS if self.window.name != "all" else None


def standing_of(item: Item | None) -> Standing:
    """Read an account's head; there is none before its first lease.

    Raises:
        StoreRefusedError: It is not one that was written here.
    """
    if item is None:
        return Standing()
    leased, leases = item.attributes.get("leased"), item.attributes.get("leases")
    if type(leased) is int and type(leases) is int:
        return Standing(leased, max(0, leases))
    message = (
        f"The item pk={item.key.pk!r} sk={item.key.sk!r} is not a budget's, or was changed. Mend "
        "or delete it; until then nothing is spent of this budget."
    )
    raise errors.StoreRefusedError(message)
