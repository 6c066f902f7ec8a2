"""A circuit breaker for one model at one place: whoever fails too often is left alone for a while.

    closed ──5 failures, and half of all, in 30 s──► open ──pause──► half-open ──success──► closed
                                                      ▲                 └──failure──► open, longer

Half-open lets one call through. Times are wall-clock: an environment may be frozen meanwhile.
Source: the numbers are those that gateways agree on (LiteLLM's cooldowns, Envoy's outlier
detection; 2026-11), with a pause that the server's own `Retry-After` makes longer.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    State = Literal["closed", "open", "half_open"]

WINDOW_MS = 30_000
FAILURES_MIN = 5
"""Fewer in a window are chance, whatever their share."""

OUTCOMES_MAX = 64
"""Remembered of a window; more of them say nothing more."""

FIRST_PAUSE_MS = 1_000
PAUSE_MAX_MS = 60_000
"""So that an outage that is over is noticed within a minute."""

PROBE_MS = 15_000
"""So long the one call of `half_open` may take before another one is let through."""


class ModelCircuit(NamedTuple):
    """How a model has answered lately.

    Attributes:
        outcomes: When a call ended, and whether it was answered; oldest first.
        openings: How often it was opened since it last answered.
        retry_at_ms: When the next call may be tried; 0 while it is closed.
        failed_at_ms: The last failure.
        probing: Whether the one call of `half_open` is under way.
    """

    outcomes: tuple[tuple[int, bool], ...] = ()
    openings: int = 0
    retry_at_ms: int = 0
    failed_at_ms: int = 0
    probing: bool = False

    def state(self, now_ms: int) -> State:
        """Say where it stands."""
        if not self.retry_at_ms:
            return "closed"
        return "open" if now_ms < self.retry_at_ms else "half_open"

    def probed(self, now_ms: int) -> ModelCircuit:
        """Return the circuit while its one call is under way, or was given up without a word."""
        return self._replace(retry_at_ms=now_ms + PROBE_MS, probing=True)

    def succeeded(self, now_ms: int) -> ModelCircuit:
        """Return the circuit after an answer, a refusal for the caller's own fault among them."""
        if self.retry_at_ms:
            return ModelCircuit()
        return ModelCircuit(self._with(now_ms, answered=True), failed_at_ms=self.failed_at_ms)

    def failed(self, now_ms: int, retry_after_ms: float = 0) -> ModelCircuit:
        """Return the circuit after a failure.

        One that ends while the circuit is open was asked before it opened, mostly: of many calls
        at once that fail together, the first ones open it, and the others say nothing new.

        Args:
            now_ms: Epoch milliseconds.
            retry_after_ms: How long the server asked to be left alone.
        """
        if self.state(now_ms) == "open" and not self.probing:
            asked_ms = now_ms + int(min(PAUSE_MAX_MS, retry_after_ms))
            return self._replace(retry_at_ms=max(self.retry_at_ms, asked_ms), failed_at_ms=now_ms)
        outcomes = self._with(now_ms, answered=False)
        failures = sum(not answered for _, answered in outcomes)
        opens = self.retry_at_ms or (failures >= FAILURES_MIN and 2 * failures >= len(outcomes))
        if not opens:
            return ModelCircuit(outcomes, failed_at_ms=now_ms)
        pause_ms = max(retry_after_ms, FIRST_PAUSE_MS * 2**self.openings)
        retry_at_ms = now_ms + int(min(PAUSE_MAX_MS, pause_ms))
        return ModelCircuit((), self.openings + 1, retry_at_ms, now_ms)

    def _with(self, now_ms: int, *, answered: bool) -> tuple[tuple[int, bool], ...]:
        recent = [outcome for outcome in self.outcomes if now_ms - outcome[0] < WINDOW_MS]
        return (*recent[1 - OUTCOMES_MAX :], (now_ms, answered))
