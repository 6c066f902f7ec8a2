"""Asking until somebody answers: again after a failure that passes, and others behind the first.

Only what made no generation is asked again, and only before the first token. One deadline bounds
all of it, the waits included.
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import retry
from lambdallm_extension.domain.model_circuit import ModelCircuit
from lambdallm_extension.domain.retry import RetryBudget
from lambdallm_extension.services.calls import answered_no

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from lambdallm_extension.model_ports import Provider
    from lambdallm_extension.ports import Clock, Random
    from lambdallm_extension.services.calls import Call
    from lambdallm_extension.services.hedging import Hedge

    T = TypeVar("T")

RETRIES_MAX = 10


class Candidate(NamedTuple):
    """One model that may be asked.

    Attributes:
        model: As it was named: `provider/model`.
        model_id: The provider's own id of it.
        provider: Who answers; None for a provider of the caller's own.
        provider_name: What stands before the slash.
        region: Where, "" for the environment's own.
        parameters: What its alias says of requests that do not say it themselves.
    """

    model: str
    model_id: str
    provider: Provider | None
    provider_name: str
    region: str = ""
    parameters: Mapping[str, Any] = {}

    @property
    def place(self) -> tuple[str, str, str]:
        """What has a circuit of its own."""
        return self.provider_name, self.region, self.model_id


class Health:
    """How models have answered lately, and how many retries are left. Threads share it."""

    def __init__(
        self,
        clock: Clock,
        random: Random,
        sleep: Callable[[float], None],
        *,
        retry_share: float = 0.1,
    ) -> None:
        """Start with everybody well.

        Args:
            clock: Wall clock.
            random: Chance, for waits.
            sleep: How to wait.
            retry_share: Of all calls, that may be retries.
        """
        self.clock = clock
        self.random = random
        self.sleep = sleep
        self._retry_share = retry_share
        self._lock = Lock()
        self._budget = RetryBudget()
        self._circuits: dict[tuple[str, str, str], ModelCircuit] = {}

    def choose(self, candidates: list[Candidate]) -> tuple[list[Candidate], bool]:
        """Leave out who is to be left alone; where that is everybody, try who failed longest ago.

        Returns:
            The candidates, and whether there is just that one try.
        """
        now_ms = self.clock.epoch_ms()
        with self._lock:
            self._budget = self._budget.earn(self._retry_share)
            circuits = [self._circuits.get(one.place, ModelCircuit()) for one in candidates]
            well = [
                candidate
                for candidate, circuit in zip(candidates, circuits, strict=True)
                if circuit.state(now_ms) != "open"
            ]
        if well:
            return well, False
        oldest = min(range(len(candidates)), key=lambda index: circuits[index].failed_at_ms)
        return [candidates[oldest]], True

    def asking(self, candidate: Candidate) -> None:
        """Know that a model is being asked: of one that was failing, nobody else does meanwhile."""
        now_ms = self.clock.epoch_ms()
        with self._lock:
            circuit = self._circuits.get(candidate.place)
            if circuit is not None and circuit.state(now_ms) == "half_open":
                self._circuits[candidate.place] = circuit.probed(now_ms)

    def succeeded(self, candidate: Candidate) -> None:
        """Know that a model answered, or refused for a reason that is not its own."""
        with self._lock:
            circuit = self._circuits.get(candidate.place)
            if circuit is not None:
                self._circuits[candidate.place] = circuit.succeeded(self.clock.epoch_ms())

    def failed(self, candidate: Candidate, error: errors.ProviderError) -> None:
        """Know that a model did not answer, as far as that is its own fault."""
        if not error.retryable and answered_no(error):
            self.succeeded(candidate)
            return
        with self._lock:
            circuit = self._circuits.get(candidate.place, ModelCircuit())
            self._circuits[candidate.place] = circuit.failed(
                self.clock.epoch_ms(), (error.retry_after_seconds or 0) * 1_000
            )

    def ended(self, candidate: Candidate, error: errors.ProviderError | None) -> None:
        """Know how an answer ended that had begun; None: well.

        A good end while the model is left alone is that of an answer which began before, and says
        nothing of those who ask now.
        """
        if error is not None:
            self.failed(candidate, error)
            return
        with self._lock:
            circuit = self._circuits.get(candidate.place, ModelCircuit())
        if circuit.probing or circuit.state(self.clock.epoch_ms()) != "open":
            self.succeeded(candidate)

    def may_retry(self) -> bool:
        """Take one retry out of the budget; False when there is none left."""
        with self._lock:
            taken = self._budget.take()
            if taken is None:
                return False
            self._budget = taken
        return True


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
            self._health.asking(self.candidate)
            self._call.intend(self.candidate.model)
            try:
                if hedge is None:
                    answer = ask(self.candidate)
                else:
                    self.candidate, answer = hedge.ask(
                        ask, self.candidate, self._waiting, self._health
                    )
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
        if answered_no(error):
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
