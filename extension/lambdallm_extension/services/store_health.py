"""How the store has answered lately, and how long an environment may be held for it.

Everybody who writes beside the handler tells it what came of that; the loop over `/next` asks it.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.domain import flush
from lambdallm_extension.domain.circuit import Circuit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock


class StoreHealth:
    """A circuit breaker over the store. Safe to share between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._circuit = Circuit()

    def succeeded(self) -> None:
        """The store has answered, be it with a refusal."""
        with self._lock:
            self._circuit = Circuit()

    def failed(self) -> None:
        """The store did not answer, or not in time."""
        with self._lock:
            self._circuit = self._circuit.failed(self._clock.epoch_ms())

    @property
    def open(self) -> bool:
        """Whether it is to be left alone for now."""
        return self._circuit.state(self._clock.epoch_ms()) == "open"

    def hold_ms(self) -> int:
        """Return how long persisting may hold the environment after `end`."""
        return flush.persist_max_ms(self._circuit.state(self._clock.epoch_ms()))
