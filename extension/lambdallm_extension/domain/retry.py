"""When to ask again: full jitter, the server's own word first, never beyond the deadline.

And how often in all: retries are a share of the calls, so that an outage is not answered with
several times the load.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Random

FIRST_DELAY_MS = 200
"""Upper bound of the first wait; doubled each time. Throttles of Bedrock last about a second."""

DELAY_MAX_MS = 8_000

USEFUL_MS = 250
"""Less than this after the wait is no use: a TLS round trip and the first token take longer."""


def delay_ms(
    attempt: int, *, retry_after_seconds: float | None, remaining_ms: float, random: Random
) -> int | None:
    """Return how long to wait before the next attempt, or None when it makes no sense.

    Args:
        attempt: 0 after the first failure.
        retry_after_seconds: What the server asked for; it is not shortened.
        remaining_ms: Until the deadline.
        random: Chance.
    """
    if retry_after_seconds is not None:
        wait = retry_after_seconds * 1_000
    else:
        wait = random.uniform(0, min(DELAY_MAX_MS, FIRST_DELAY_MS * 2**attempt))
    if wait + USEFUL_MS > remaining_ms:
        return None
    return int(wait)


BUDGET_MAX = 10.0
"""Retries that may be saved up: as many as a burst of failures after a quiet time may take."""


class RetryBudget(NamedTuple):
    """How many retries are left: each call earns a share of one, each retry takes a whole one."""

    left: float = BUDGET_MAX

    def earn(self, share: float) -> RetryBudget:
        """Return the budget after a call."""
        return RetryBudget(min(BUDGET_MAX, self.left + share))

    def take(self) -> RetryBudget | None:
        """Return the budget after a retry, None when there is none left."""
        return RetryBudget(self.left - 1) if self.left >= 1 else None
