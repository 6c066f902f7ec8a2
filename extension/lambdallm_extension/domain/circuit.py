"""A circuit breaker as a value: whoever fails again and again is left alone for a while.

    closed ──3 failures in a row──► open ──5 s──► half-open ──success──► closed
                                     ▲                └──failure──► open, for twice as long

Times are wall-clock: an environment may be frozen meanwhile, and a timer would not know.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    State = Literal["closed", "failing", "open", "half_open"]

FAILURES_MAX = 3
"""In a row; one alone is a throttle or a connection that died in a freeze."""

FIRST_PAUSE_MS = 5_000
"""About as long as a DynamoDB partition needs to split, or a replica to take over."""

PAUSE_MAX_MS = 60_000
"""So that an outage that is over is noticed within a minute."""


class Circuit(NamedTuple):
    """How often somebody has failed in a row, and from when on he may be tried again."""

    failures: int = 0
    retry_at_ms: int = 0

    def state(self, now_ms: int) -> State:
        """Say where it stands: `failing` is closed after a failure, `half_open` allows one try."""
        if self.failures >= FAILURES_MAX:
            return "open" if now_ms < self.retry_at_ms else "half_open"
        return "failing" if self.failures else "closed"

    def failed(self, now_ms: int) -> Circuit:
        """Return the circuit after a failure; one that was open already stays as it is."""
        if self.state(now_ms) == "open":
            return self
        failures = self.failures + 1
        pause_ms = FIRST_PAUSE_MS * 2 ** max(0, failures - FAILURES_MAX)
        return Circuit(failures, now_ms + min(PAUSE_MAX_MS, pause_ms))
