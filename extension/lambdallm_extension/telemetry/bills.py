"""Bills of invocations, as the platform tells them: priced, joined, written, summed up by day."""

from __future__ import annotations

import posix

from lambda_runtime_api.telemetry import Report, RuntimeDone
from lambdallm_extension.ports import InvocationBill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.domain.compute_prices import Compute, Place
    from lambdallm_extension.services.invocation_costs import InvocationCosts
    from lambdallm_extension.settings import Settings

LAST_SECONDS = 0.1
"""At the end of an environment, for the bill of its last invocation: it comes beside SHUTDOWN."""


def place_of(settings: Settings) -> Place:
    """Return what decides the price of this environment's invocations."""
    from lambdallm_extension.domain.compute_prices import Place, storage_mb

    try:
        storage = posix.statvfs("/tmp")  # noqa: S108 - what Lambda bills is this very folder
        size_mb = storage.f_blocks * storage.f_frsize >> 20
    except OSError:
        size_mb = 0  # nobody can tell how large it is, so it counts as the one that is free
    return Place(
        settings.region,
        posix.uname().machine,
        settings.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", ""),
        storage_mb(size_mb),
    )


class Bills:
    """Takes what the platform tells of the invocations of one environment."""

    def __init__(
        self,
        costs: InvocationCosts,
        settings: Settings,
        has_begun: Callable[[str], bool],
        write: Callable[[InvocationBill], None],
    ) -> None:
        """Take what it needs.

        Args:
            costs: What lines have told of invocations.
            settings: Where this runs.
            has_begun: Whether an invocation has used lambdallm, though no line says so yet.
            write: Gets each bill once, with what the invocation has cost beside. An invocation that
                has not used lambdallm is left in peace.
        """
        self._costs = costs
        self._settings = settings
        self._place: Place | None = None
        self._has_begun = has_begun
        self._write = write

    def come(self, they_do: Callable[[], bool]) -> None:
        """Know what says whether the platform tells anything here."""
        self._costs.come = they_do

    def expect(self, request_id: str) -> None:
        """Know that an invocation has begun."""
        self._costs.expect(request_id)

    def take(self, events: Sequence[Report | RuntimeDone]) -> None:
        """Take what was told; what was told before, or of other invocations, changes nothing."""
        for event in events:
            if isinstance(event, Report):
                self._close(event)
            else:
                self._costs.done(event)

    def finish(self, seconds: float) -> None:
        """Take what comes at the end; estimate what does not come any more.

        Lambda tells the bill of an invocation that has failed when the extensions have ended, and
        before that how long the function has run.
        """
        for done in self._costs.wait_closed(min(seconds, LAST_SECONDS)):
            billed_ms = int(done.duration_ms) + 1
            self._close(
                Report(done.request_id, done.status, billed_ms, self._settings.memory_mb),
                estimated=True,
            )

    def _close(self, report: Report, *, estimated: bool = False) -> None:
        spent = self._costs.close(report.request_id)
        if spent is None or not (spent.lines or self._has_begun(report.request_id)):
            return
        compute = self._price(report)
        if compute.pico_usd is None:
            return
        self._write(
            InvocationBill(
                request_id=report.request_id,
                status=report.status,
                billed_ms=report.billed_ms,
                memory_mb=report.memory_mb,
                memory_used_mb=report.memory_used_mb,
                init_ms=report.init_ms,
                estimated=estimated,
                compute_pico_usd=compute.pico_usd,
                basis=compute.basis,
                price_region=compute.region,
                cost_pico_usd=spent.cost_pico_usd,
                overhead_pico_usd=spent.overhead_pico_usd,
                unpriced_calls=spent.unpriced_calls,
            )
        )

    def _price(self, report: Report) -> Compute:
        """Return what Lambda bills. The prices are loaded with the first one, not in Init."""
        from lambdallm_extension.domain import compute_prices

        if self._place is None:
            self._place = place_of(self._settings)
        return compute_prices.price(self._place, report.billed_ms, report.memory_mb)
