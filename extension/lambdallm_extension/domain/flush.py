"""How long the sidecar may hold the end of an invocation.

INVOKE            end                             deadline
──┼────────────────┼───────────┼────────────────────┼───
  │   handler      │ persisting│        never       │
  │                └── 2 s; 200 ms if the store failed last time; nothing after three times
  └── `begin` is waited for 100 ms
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.domain.circuit import State

BEGIN_GRACE_MS = 100
"""After INVOKE, how long a `begin` is waited for in an environment that has seen one before.

The runtime has the event at the same moment; what comes later works all the same, only not
after the response.
"""

PERSIST_MAX_MS = 2_000
"""After `end`, how long persisting may hold the environment."""

OUTAGE_MAX_MS = 200
"""The same while the store is failing: an outage of the store must not become one of the function.

Source: vendor outages have doubled durations and exhausted accounts' concurrency
(DataDog/datadog-lambda-extension#131, newrelic/newrelic-lambda-layers#202).
"""


def persist_max_ms(store: State) -> int:
    """Return how long persisting may hold the environment, as the store's circuit stands."""
    match store:
        case "closed":
            return PERSIST_MAX_MS
        case "failing" | "half_open":
            return OUTAGE_MAX_MS
        case "open":
            return 0


def reserve_ms(timeout_ms: float) -> float:
    """Kept free before the deadline: 5 % of the time there was, from 100 ms to 2 s."""
    return max(100.0, min(2_000.0, 0.05 * timeout_ms))
