"""Who may be asked, and how they have answered lately: circuits, and a budget of retries."""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain.model_circuit import ModelCircuit
from lambdallm_extension.domain.retry import RetryBudget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm_extension import errors
    from lambdallm_extension.model_ports import Provider
    from lambdallm_extension.ports import Clock, Random


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

    def is_well(self, candidate: Candidate) -> bool:
        """Say whether nothing keeps a further call from a model: its circuit is closed."""
        with self._lock:
            circuit = self._circuits.get(candidate.place)
        return circuit is None or circuit.state(self.clock.epoch_ms()) == "closed"

    def succeeded(self, candidate: Candidate) -> None:
        """Know that a model answered, or refused for a reason that is not its own."""
        with self._lock:
            circuit = self._circuits.get(candidate.place)
            if circuit is not None:
                self._circuits[candidate.place] = circuit.succeeded(self.clock.epoch_ms())

    def failed(self, candidate: Candidate, error: errors.ProviderError) -> None:
        """Know that a model did not answer, as far as that is its own fault."""
        if not error.retryable and error.answered_no:
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
