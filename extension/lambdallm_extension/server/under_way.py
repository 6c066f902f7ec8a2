"""Calls that are under way: whose they are, and who is told of them when they end."""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Telemetry
    from lambdallm_extension.server.replies import Body
    from lambdallm_extension.services.metering import Totals
    from lambdallm_extension.services.works import Work


class Payer(Protocol):
    """Who a call is accounted to."""

    work_id: str
    totals: Totals
    deadline_ms: int

    def begin(self) -> None:
        """Know that a call is under way."""
        ...

    def end(self) -> None:
        """Know that it has ended."""
        ...

    def report(self) -> None:
        """Tell what nobody was told of yet."""
        ...


class UnderWay:
    """The payers of all calls that are under way. Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._payers: list[Payer] = []

    def begin(self, payer: Payer) -> None:
        """Begin a call; `end` must follow."""
        with self._lock:
            self._payers.append(payer)
        payer.begin()

    def end(self, payer: Payer) -> None:
        """End a call."""
        with self._lock:
            self._payers.remove(payer)
        payer.end()

    def report(self) -> None:
        """Tell what the calls that are still under way have been booked with: nobody will later."""
        with self._lock:
            payers = [*self._payers]
        for payer in payers:
            payer.report()


class UnitOfWork:
    """A unit of work as the payer of its calls."""

    def __init__(self, work: Work, telemetry: Telemetry) -> None:
        self.work_id = work.work_id
        self.totals = work.totals
        self.deadline_ms = work.store_deadline_ms()
        self._work = work
        self._telemetry = telemetry

    def begin(self) -> None:
        """Be waited for when the unit's process dies."""
        self._work.calling().__enter__()

    def end(self) -> None:
        """Be reported late, when the unit's own report came too early."""
        self._work.calling().__exit__()
        self.report()

    def report(self) -> None:
        """Report what was booked after the unit's own report."""
        late = self._work.late_report()
        if late is not None:
            self._telemetry.emit(late)


class LeftUnit(UnitOfWork):
    """A unit of work as the payer of an answer that nobody waits for, at its end neither."""

    def begin(self) -> None:
        """Be reported late, and nothing else."""

    def end(self) -> None:
        """Be reported late, when the unit's own report came too early."""
        self.report()


class Counted:
    """A call that is under way while the context lasts."""

    def __init__(self, under_way: UnderWay, payer: Payer) -> None:
        self._under_way = under_way
        self._payer = payer

    def __enter__(self) -> None:
        self._under_way.begin(self._payer)

    def __exit__(self, *_: object) -> None:
        self._under_way.end(self._payer)


class CountedBody:
    """A body that counts as a call under way until it is closed."""

    def __init__(self, body: Body, under_way: UnderWay, payer: Payer) -> None:
        """Take a body whose call has begun."""
        self._under_way = under_way
        self.read = body.read
        self._body = body
        self._payer = payer
        self._closed = False

    def close(self) -> None:
        """Close it, and count it no longer; twice does no harm."""
        if self._closed:
            return
        self._closed = True
        try:
            self._body.close()
        finally:
            self._under_way.end(self._payer)
