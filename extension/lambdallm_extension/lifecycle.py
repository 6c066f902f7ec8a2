"""The loop over `/next`: from one event to the next, holding the environment as short as possible.

              INVOKE                                        INVOKE
    /next ──────┬──────── hold ────────┬─────── /next ────────┬──
                │ SDK seen last time?  │
                │   no:  release at once (a `begin` still works: its `end` then waits)
                │   yes: until `end` or the death of the process, and all is persisted
                └─ always released before the deadline, whatever happens

Lambda freezes the environment when the runtime and every extension are waiting. So holding keeps
it awake to finish writing after the response; it is billed, and it ends soon.
"""

from __future__ import annotations

from lambda_runtime_api import events, http1
from lambda_runtime_api.declarations import Protocol
from lambda_runtime_api.extensions import ApiRefusedError
from lambdallm_extension.domain import flush
from lambdallm_extension.domain.moments import Moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from lambdallm_extension.ports import Clock

FREEZE_SECONDS = 1.0
"""A longer gap between two events may have been a freeze, in which connections die."""

SHUTDOWN_RESERVE_MS = 300
"""Kept free at the end of Shutdown, to exit before SIGKILL.

Source: the phase lasts 2,000 ms with external extensions, up to 300 of them the runtime's
(Lambda developer guide, "Extensions API", 2026-10).
"""

REFUSALS_MAX = 30
"""Failed attempts in a row, a second apart, after which nobody is left to wait for."""


class Events(Protocol):
    """Where events come from: `lambda_runtime_api.extensions.ExtensionClient`."""

    def next_event(self) -> Mapping[str, Any]:
        """Wait for one."""
        ...


class Host(Protocol):
    """What the loop asks of the engine."""

    def invoked(self, request_id: str, deadline_ms: int) -> None:
        """Know which invocation runs now, and until when."""
        ...

    def hold(self, request_id: str) -> None:
        """Know which invocation is being held for, "" for none."""
        ...

    def wait_begun(self, request_id: str, seconds: float) -> bool:
        """Wait for the invocation's `begin`."""
        ...

    def wait_ended(self, request_id: str, seconds: float) -> bool:
        """Wait for its `end`, or for the death of its process."""
        ...

    def wait_persisted(self, seconds: float) -> bool:
        """Wait until everything taken so far is written."""
        ...

    def hold_ms(self) -> int:
        """Return how long persisting may hold the environment, as the store has answered lately."""
        ...

    def renew(self) -> bool:
        """Make anew what Init made and a snapshot has cloned; say whether there was any."""
        ...

    def reopen(self) -> None:
        """Replace connections that may have died."""
        ...

    def finish(self, seconds: float) -> None:
        """Write what is left, as far as the time goes; say what was not; let go of everything."""
        ...


class Lifecycle:
    """Takes events until SHUTDOWN."""

    def __init__(
        self,
        client: Events,
        host: Callable[[], Host | None],
        clock: Clock,
        sleep: Callable[[float], None],
        log: Callable[[str], None],
    ) -> None:
        """Take what it needs; `run` starts.

        Args:
            client: The Extensions API, registered.
            host: The engine, or None while it is still loading.
            clock: Time.
            sleep: How to pause after a refusal.
            log: Gets a sentence about what went wrong.
        """
        self._client = client
        self._host = host
        self._clock = clock
        self._sleep = sleep
        self._log = log
        self._released = Moment.of(clock)
        self._previous = ""

    def run(self) -> events.Shutdown | None:
        """Take events until SHUTDOWN, or (None) until nobody answers any more."""
        refusals = 0
        while refusals < REFUSALS_MAX:
            try:
                event = events.parse_event(self._client.next_event())
            except (ApiRefusedError, OSError, http1.ProtocolError, ValueError) as error:
                refusals += 1
                if refusals == 1:
                    self._log(f"The Extensions API answered no event ({error}); asking again.")
                self._sleep(min(1.0, 0.05 * 2**refusals))
                continue
            refusals = 0
            if isinstance(event, events.Shutdown):
                self._shut_down(event)
                return event
            if isinstance(event, events.Invoke):
                try:
                    self._hold(event)
                except Exception as error:  # noqa: BLE001 - a fault of ours must not end the loop
                    self._log(f"Holding the environment failed ({type(error).__name__}: {error}).")
                self._released = Moment.of(self._clock)
        return None

    def _hold(self, invoke: events.Invoke) -> None:
        host = self._host()
        if host is None:
            return
        now_ms = self._clock.epoch_ms()
        if not host.renew() and self._gap_seconds() > FREEZE_SECONDS:
            host.reopen()
        host.invoked(invoke.request_id, invoke.deadline_ms)
        release_ms = invoke.deadline_ms - flush.reserve_ms(invoke.deadline_ms - now_ms)
        previous, self._previous = self._previous, invoke.request_id
        if not (host.wait_begun(previous, 0) or host.wait_begun(invoke.request_id, 0)):
            return
        host.hold(invoke.request_id)
        if host.wait_begun(invoke.request_id, self._left(release_ms, flush.BEGIN_GRACE_MS)) and (
            host.wait_ended(invoke.request_id, self._left(release_ms))
        ):
            host.wait_persisted(self._left(release_ms, host.hold_ms()))
        host.hold("")

    def _gap_seconds(self) -> float:
        return Moment.of(self._clock).seconds_since(self._released)

    def _shut_down(self, shutdown: events.Shutdown) -> None:
        host = self._host()
        if host is None:
            return
        host.finish(self._left(shutdown.deadline_ms - SHUTDOWN_RESERVE_MS))

    def _left(self, until_ms: float, most_ms: float | None = None) -> float:
        left_ms = until_ms - self._clock.epoch_ms()
        return max(0.0, left_ms if most_ms is None else min(left_ms, most_ms)) / 1_000
