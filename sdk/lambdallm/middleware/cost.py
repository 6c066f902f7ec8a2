"""What invocations cost, and a stop for one execution environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdallm import _errors, _log, _settings
from lambdallm._middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

DAY_MS = 86_400_000
_CHOICES = ("block", "downgrade", "warn")


class CostTrackingMiddleware(Middleware):
    """Adds up what this execution environment spends, and stops it at a limit.

    The limits hold within one environment only: ten of them may spend ten times as much, and a
    new one starts at zero. It bounds a loop that runs away; it is no cap on an account's bill.
    """

    def __init__(
        self,
        daily_budget_usd: float = 50.0,
        monthly_budget_usd: float = 1_000.0,
        on_exceeded: str = "block",
        alert_threshold: float = 0.8,
        cost_store: Any = None,
        *,
        clock: Callable[[], int] = _settings.epoch_ms,
    ) -> None:
        """Set it up.

        Args:
            daily_budget_usd: For one UTC day of this environment.
            monthly_budget_usd: For 30 days of this environment.
            on_exceeded: `block` answers 429, `downgrade` asks the handler's fallback model
                instead, `warn` writes a line.
            alert_threshold: Part of a budget from which a warning is written, once a period.
            cost_store: Has `record(cost_usd)`; told what each invocation cost.
            clock: Epoch milliseconds.

        Raises:
            ConfigurationError: `on_exceeded` is none of the three.
        """
        if on_exceeded not in _CHOICES:
            message = f"on_exceeded={on_exceeded!r}: use {', '.join(map(repr, _CHOICES))}."
            raise _errors.ConfigurationError(message)
        self.on_exceeded = on_exceeded
        self.alert_threshold = alert_threshold
        self._cost_store = cost_store
        self._clock = clock
        self._periods = (
            _Period("day", DAY_MS, daily_budget_usd),
            _Period("30 days", 30 * DAY_MS, monthly_budget_usd),
        )

    @property
    def spent_today_usd(self) -> float:
        """What this environment has spent this UTC day."""
        return self._periods[0].spent(self._clock())

    def before_invoke(self, event: Any, context: Any) -> Any:
        """Let the invocation pass while there is money.

        Raises:
            BudgetExceededError: A limit is reached, and `on_exceeded` is `block`.
        """
        now = self._clock()
        for period in self._periods:
            if period.spent(now) >= period.limit_usd:
                self._exceeded(period, now, context)
        return event

    def after_invoke(self, event: Any, result: Any, context: Any) -> Any:
        """Add what it cost."""
        self._record(context)
        return result

    def on_error(self, event: Any, error: Exception, context: Any) -> None:
        """Add what it cost before it failed."""
        self._record(context)

    def _record(self, context: Any) -> None:
        cost = context.total_cost - (context.metrics.get("cost.recorded_usd") or 0.0)
        context.metrics.record("cost.recorded_usd", context.total_cost)
        now = self._clock()
        for period in self._periods:
            if period.add(now, cost, self.alert_threshold):
                _log.write(
                    "WARNING",
                    f"This environment has spent {self.alert_threshold:.0%} of its budget "
                    f"of ${period.limit_usd:g} for one {period.name}.",
                    spent_usd=period.spent(now),
                )
        if self._cost_store is not None:
            self._cost_store.record(cost)

    def _exceeded(self, period: _Period, now: int, context: Any) -> None:
        message = (
            f"This environment has spent its budget of ${period.limit_usd:g} for one {period.name}."
        )
        if self.on_exceeded == "block":
            raise _errors.BudgetExceededError(
                message, retry_after_seconds=period.left_ms(now) / 1_000
            )
        if self.on_exceeded == "downgrade" and context.fallback_model is not None:
            context.model = context.fallback_model
        _log.write("WARNING", message, on_exceeded=self.on_exceeded)


class _Period:
    """Money of one stretch of time; it starts anew when the next one begins."""

    def __init__(self, name: str, length_ms: int, limit_usd: float) -> None:
        self.name = name
        self.limit_usd = limit_usd
        self._length_ms = length_ms
        self._number = 0
        self._spent_usd = 0.0
        self._alerted = False

    def spent(self, now_ms: int) -> float:
        number = now_ms // self._length_ms
        if number != self._number:
            self._number, self._spent_usd, self._alerted = number, 0.0, False
        return self._spent_usd

    def add(self, now_ms: int, cost_usd: float, alert_threshold: float) -> bool:
        """Add, and say whether the threshold was crossed by it."""
        self._spent_usd = self.spent(now_ms) + cost_usd
        crossed = self._spent_usd >= alert_threshold * self.limit_usd and not self._alerted
        self._alerted = self._alerted or crossed
        return crossed

    def left_ms(self, now_ms: int) -> int:
        return self._length_ms - now_ms % self._length_ms
