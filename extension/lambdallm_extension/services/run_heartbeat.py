"""Leases that are renewed where nothing stops a process between or in invocations.

There a lease is short, and whoever holds a run says every few seconds that he still does: where
his machine is gone, somebody else goes on half a minute later, and not at his deadline. Elsewhere
a lease lasts as long as its invocation can: a frozen process renews nothing.
"""

from __future__ import annotations

from threading import Condition, Thread

from lambdallm_extension import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.services.run_work import RunWork

LEASE_SECONDS = 30.0
"""Two beats may be lost on the way to a store that is away for a moment."""

BEAT_SECONDS = 10.0


class Heartbeat:
    """Renews the leases of all runs of one environment. One thread, as long as there are any."""

    def __init__(self, log: Callable[[str], None], *, beat_seconds: float = BEAT_SECONDS) -> None:
        """Hold nothing yet.

        Args:
            log: Takes a sentence when a lease could not be renewed.
            beat_seconds: Between two renewals.
        """
        self._log = log
        self._beat_seconds = beat_seconds
        self._changed = Condition()
        self._runs: list[RunWork] = []
        self._thread: Thread | None = None

    def hold(self, run: RunWork) -> None:
        """Renew a run's lease until it is closed."""
        with self._changed:
            self._runs.append(run)
            if self._thread is None:
                self._thread = Thread(target=self._beat_on, name="lambdallm-leases", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Renew nothing more: the environment ends, or is another one now."""
        with self._changed:
            self._runs.clear()
            self._changed.notify_all()

    def beat(self) -> None:
        """Renew the leases of all runs that are not closed, once."""
        with self._changed:
            self._runs = [run for run in self._runs if not run.closed]
            runs = [*self._runs]
        for run in runs:
            try:
                run.renew(LEASE_SECONDS)
            except errors.RunLostError:
                continue  # it is closed now; whoever asks for more of it is told
            except errors.StoreError as error:
                self._log(f"The lease of run {run.terms.run_id} was not renewed: {error}")

    @property
    def beating(self) -> bool:
        """Whether its thread is there."""
        return self._thread is not None

    def _beat_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._runs, self._beat_seconds)
                self._runs = [run for run in self._runs if not run.closed]
                if not self._runs:
                    self._thread = None
                    return
            self.beat()
