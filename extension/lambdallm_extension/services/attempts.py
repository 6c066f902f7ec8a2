"""Asking until somebody answers: again after a failure that passes, and others behind the first.

Only what made no generation is asked again, and only before the first token. One deadline bounds
all of it, the waits included.
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.domain import retry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from lambdallm_extension.services.calls import Call
    from lambdallm_extension.services.hedging import Hedge
    from lambdallm_extension.services.model_health import Candidate, Health

    T = TypeVar("T")

RETRIES_MAX = 10


class Attempts:
    """The attempts of one call."""

    def __init__(
        self,
        candidates: list[Candidate],
        call: Call,
        health: Health,
        *,
        retries: int,
        deadline_ms: int,
    ) -> None:
        """Begin with the first candidate that is well.

        Args:
            candidates: First choice first, at least one.
            call: Gets an intent for each attempt, and each failure.
            health: Of all models.
            retries: Further attempts with each of them.
            deadline_ms: Epoch milliseconds.
        """
        chosen, last_try = health.choose(candidates)
        self._waiting = chosen[1:]
        self.candidate = chosen[0]
        self._call = call
        self._health = health
        self._retries = 0 if last_try else min(RETRIES_MAX, max(0, retries))
        self._failures = 0
        self._deadline_ms = deadline_ms
        self._earlier: errors.ExtensionError | None = None

    def run(
        self, ask: Callable[[Candidate], T], hedge: Hedge[T] | None = None, *, whole: bool = True
    ) -> T:
        """Ask until answered or hopeless.

        Args:
            ask: Asks a candidate.
            hedge: Asks another one beside it; None: nobody is.
            whole: Whether that is an answer; of one that has only begun, whoever reads it on
                tells `Health` how it `ended`.

        Raises:
            ProviderError: What the last one failed with.
            SettingError: The last one's key or address is missing.
            DeadlineError: No time is left to ask, or to ask again.
        """
        while True:
            left_ms = self._deadline_ms - self._health.clock.epoch_ms()
            if left_ms < retry.USEFUL_MS:
                message = "Too little time is left in this invocation to ask a model."
                raise errors.DeadlineError(message) from self._earlier
            self._call.intend(self.candidate.model, self.candidate)
            self._health.asking(self.candidate)  # a call that a budget refuses asks nobody
            try:
                if hedge is None:
                    answer = ask(self.candidate)
                else:
                    self.candidate, outcome = hedge.ask(
                        ask, self.candidate, self._waiting, self._health
                    )
                    answer = outcome()
            except errors.ProviderError as error:
                self.failed(error)
            except errors.SettingError as error:
                if not self._waiting:
                    raise error from self._earlier
                self._go_on(error)  # its key or address is missing; others may have theirs
            else:
                if whole:
                    self.succeeded()
                return answer

    def succeeded(self) -> None:
        """Know that the candidate has answered."""
        self._health.succeeded(self.candidate)

    def failed(self, error: errors.ProviderError) -> None:
        """Wait for the next attempt, or go on to the next candidate.

        Raises:
            ProviderError: There is neither.
        """
        self._call.refused(error)
        self._health.failed(self.candidate, error)
        if error.answered_no:
            wait_ms = self._wait_ms(error)
            if wait_ms is not None:
                self._failures += 1
                self._health.sleep(wait_ms / 1_000)
                return
            if self._waiting:
                self._go_on(error)
                return
        if self._earlier is not None:
            raise error from self._earlier
        raise error

    def _go_on(self, error: errors.ExtensionError) -> None:
        self.candidate, self._waiting = self._waiting[0], self._waiting[1:]
        self._failures, self._earlier = 0, error

    def _wait_ms(self, error: errors.ProviderError) -> int | None:
        """Return how long to wait before asking again; None: do not ask again."""
        if not error.retryable or self._failures >= self._retries:
            return None
        wait_ms = retry.delay_ms(
            self._failures,
            retry_after_seconds=error.retry_after_seconds,
            remaining_ms=self._deadline_ms - self._health.clock.epoch_ms(),
            random=self._health.random,
        )
        return wait_ms if wait_ms is not None and self._health.may_retry() else None
