"""What may be spent: rules, the time they hold for, and how much of it one environment takes.

A *budget* is a rule: so many USD for each day of each tenant. An *account* is one case of it: the
21st of November of tenant `acme`. Environments do not ask for each call: they lease a part of an
account's limit, and admit from that.

    limit   ├──────── leased by all ─────────┬── free ──┤
    lease   ├── spent ──┬─ reserved ─┬─ left ┤              of one environment
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

WARN_PERCENTS = (50, 80, 100)
DOWNGRADE_PERCENT = 80
FULL_PERCENT = 100

LARGEST_SHARE = 200
"""A lease is at most this part of a limit, so that one lost environment strands half a percent."""

ENVIRONMENTS_SHARE = 4
"""All environments together take at most a quarter of what is free at once: the last ones too."""

LEASES_A_MINUTE = 4
"""So often a busy environment asks the store: what is lost with it is that of 15 seconds."""

MINUTE_MS = 60_000
"""A lease is meant to last so long; what is left beyond that goes back when it is not needed."""


class Standing(NamedTuple):
    """How an account stood when the store was asked last.

    Attributes:
        leased_pico_usd: By all environments, spent or not.
        leases: Environments that hold a part of it which is not spent.
    """

    leased_pico_usd: int = 0
    leases: int = 0


class Lease(NamedTuple):
    """One environment's part of one account, in pico-USD.

    Attributes:
        granted: Of the account's limit, in all.
        spent: Of that, by calls that are over.
        reserved: By calls that are under way, each at the most it can cost.
    """

    granted: int = 0
    spent: int = 0
    reserved: int = 0

    @property
    def left(self) -> int:
        """What may still be reserved. Below 0 when a call has cost more than was reserved."""
        return self.granted - self.spent - self.reserved


def lease_size(needed: int, limit: int, standing: Standing, per_minute: int) -> int:
    """Return how much to lease at once, at least what is needed.

    Args:
        needed: What the next call can cost at most.
        limit: Of the account.
        standing: Of the account.
        per_minute: What this environment has spent of it in the last minute.
    """
    free = max(0, limit - standing.leased_pico_usd)
    fair = free // (ENVIRONMENTS_SHARE * max(1, standing.leases))
    return max(needed, min(per_minute // LEASES_A_MINUTE, limit // LARGEST_SHARE, fair))


def percent(leased: int, limit: int | None) -> int:
    """Return how much of a limit is leased: of nothing, all of it is gone; of no limit, nothing."""
    if limit is None:
        return 0
    return leased * 100 // limit if limit else FULL_PERCENT


def surplus(lease: Lease, per_minute: int) -> int:
    """Return what goes back where an environment may not be asked again for long."""
    return max(0, lease.left - per_minute)


class Pace:
    """What has been spent in the last minute, as far as an environment remembers it."""

    __slots__ = ("_before", "_began_ms", "_now")

    def __init__(self) -> None:
        self._began_ms = 0
        self._before = 0
        self._now = 0

    def add(self, pico_usd: int, now_ms: int) -> None:
        """Know of a call that is over."""
        self._turn(now_ms)
        self._now += pico_usd

    def per_minute(self, now_ms: int) -> int:
        """Return what a minute like the last one costs."""
        self._turn(now_ms)
        share = 1_000 - (now_ms - self._began_ms) * 1_000 // MINUTE_MS
        return self._now + self._before * share // 1_000

    def _turn(self, now_ms: int) -> None:
        """Begin another minute when one is over; a clock that was set back begins one, too."""
        passed = now_ms - self._began_ms
        if not 0 <= passed < MINUTE_MS:
            self._before = self._now if 0 <= passed < 2 * MINUTE_MS else 0
            self._began_ms, self._now = now_ms, 0
