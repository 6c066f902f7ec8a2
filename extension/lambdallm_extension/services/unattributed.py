"""A call that belongs to no unit of work: nobody knows which invocation has made it."""

from __future__ import annotations

from lambdallm_extension.services.metering import Totals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Clock, Telemetry

OUTCOME = "unattributed"


class Unattributed:
    """Pays for one call, and reports it when it has ended."""

    work_id = ""

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Clock,
        environment_id: Callable[[], str],
        *,
        request_id: str,
        deadline_ms: int,
    ) -> None:
        """Begin with nothing spent.

        Args:
            telemetry: Gets the report.
            clock: Its time.
            environment_id: This environment's.
            request_id: Of the invocation that runs now, "" where several may.
            deadline_ms: When the call must have ended, epoch milliseconds.
        """
        self.totals = Totals()
        self.deadline_ms = deadline_ms
        self._telemetry = telemetry
        self._clock = clock
        self._environment_id = environment_id
        self._request_id = request_id

    def begin(self) -> None:
        """Do nothing: nobody waits for it."""

    def end(self) -> None:
        """Report what was used."""
        self.report()

    def report(self) -> None:
        """Report what was used and not reported yet, if anything was."""
        counts = self.totals.take_unreported()
        if not (counts.calls or counts.errors or counts.blocked):
            return
        self._telemetry.emit(
            counts.report(
                work_id="",
                request_id=self._request_id,
                environment_id=self._environment_id(),
                outcome=OUTCOME,
                epoch_ms=self._clock.epoch_ms(),
            )
        )
