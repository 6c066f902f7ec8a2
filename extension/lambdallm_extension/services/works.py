"""One unit of work: what hangs on it while it is open, and what is reported when it ends."""

from __future__ import annotations

from threading import Condition

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import flush
from lambdallm_extension.services.metering import Totals
from lambdallm_wire.tokens import input_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock, InvocationReport
    from lambdallm_extension.services.metering import Counts
    from lambdallm_extension.services.run_work import RunWork
    from lambdallm_extension.services.sessions import SessionWork
    from lambdallm_wire.invocations import BeginRequest, EndReply

RELEASE_SECONDS = 0.5
"""For one transaction, of what a killed process has left."""

EXPIRED_MS = 5_000
"""So long after its deadline a unit is closed: nobody can end it any more."""


def trace_root(header: str) -> str:
    """Return the trace of an `X-Amzn-Trace-Id` header, "" when there is none.

    Shape: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1
    """
    for field in header.split(";"):
        name, _, value = field.strip().partition("=")
        if name == "Root":
            return value
    return ""


class Ending(NamedTuple):
    """How a unit of work ended."""

    outcome: str
    error_code: str
    handler_ms: float | None


MOVED = "moved"
"""The outcome of a unit that another engine has taken over: it writes what was said."""

KILLED = Ending("killed", "", None)
"""The process was gone before it could say `end`."""

FORKED = "forked"
"""The outcome of a child's own unit, whose process is gone: a child ends whenever it is done."""

LATE = Ending("late", "", None)
"""Calls that were answered after their unit's own report: its handler did not wait for them."""


class _Calls:
    """Model calls that are under way: each is a context of this."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._open = 0

    def __enter__(self) -> None:
        with self._changed:
            self._open += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def wait_for_none(self, seconds: float) -> bool:
        """Wait until no call is under way; False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)


class Work:
    """One unit of work. Its calls may come from several threads."""

    def __init__(self, begin: BeginRequest, connection: int, clock: Clock) -> None:
        """Begin now; a session is hung on it afterwards."""
        self.begin = begin
        self.connection = connection
        self.session: SessionWork | None = None
        self.runs: dict[str, RunWork] = {}
        self.stalled_runs = 0
        self.tags: dict[str, str] = dict(begin.get("tags", {}))
        self.totals = Totals(self._scopes)
        self._clock = clock
        self._calls = _Calls()
        self._reported_as = ""
        now_ms = clock.epoch_ms()
        reserve_ms = flush.reserve_ms(self.deadline_ms - now_ms)
        self._store_deadline_ms = max(now_ms, self.deadline_ms - round(reserve_ms))

    @property
    def work_id(self) -> str:
        """Its name in every message."""
        return self.begin["work_id"]

    @property
    def request_id(self) -> str:
        """The invocation it belongs to."""
        return self.begin["request_id"]

    def _scopes(self) -> dict[str, str]:
        """Return what its calls belong to, for budgets."""
        session = self.begin.get("session")
        scopes = {"tenant": self.begin.get("tenant") or ""}
        if session is not None:
            scopes |= {"session": session["session_id"], "user": session.get("principal", "")}
        for name, value in self.tags.items():
            scopes[name if name in ("user", "tenant") else f"tag:{name}"] = value
        return {scope: value for scope, value in scopes.items() if value}

    @property
    def deadline_ms(self) -> int:
        """Epoch milliseconds at which Lambda ends the invocation."""
        return self.begin["deadline_epoch_ms"]

    @property
    def trace_root(self) -> str:
        """Its trace, "" where the SDK did not say."""
        return trace_root(self.begin.get("trace_id", ""))

    @property
    def expired(self) -> bool:
        """Whether its deadline is long past."""
        return self._clock.epoch_ms() > self.deadline_ms + EXPIRED_MS

    def store_deadline_ms(self) -> int:
        """Until when the store may take: early enough to tell the handler that it did not."""
        return self._store_deadline_ms

    def grant(self, milliseconds: int) -> None:
        """Give the store at least so much time from now: after a kill, Shutdown is left."""
        until_ms = self._clock.epoch_ms() + milliseconds
        self._store_deadline_ms = max(self._store_deadline_ms, until_ms)

    def store_seconds(self) -> float:
        """Time that is left for the store."""
        return (self._store_deadline_ms - self._clock.epoch_ms()) / 1_000

    @property
    def release_seconds(self) -> float:
        """Kept free to let go of runs, when a killed process's calls are waited for."""
        return RELEASE_SECONDS if self.runs else 0.0

    def keep_partials(self) -> None:
        """Write at once what its runs' models have said so far: the process is gone.

        Beside what they go on to say; a store that fails now is asked again at the end.
        """
        for run in self.runs.values():
            try:  # noqa: SIM105 - contextlib costs 3 ms of a start
                run.keep_partials()
            except errors.StoreError:
                pass

    def save(self, ending: Ending) -> None:
        """Write what its runs and its session still hold; a failed event leaves room for a retry.

        Raises:
            StoreError: Not all of it could be written.
        """
        failed: errors.StoreError | None = None
        for run in self.runs.values():
            try:
                if ending.outcome == MOVED:
                    run.abandon()  # whoever took it over writes what is done
                else:
                    run.release()
            except errors.RunLostError:
                continue  # nothing more of it is ours to write
            except errors.StoreError as error:
                failed = failed or error  # the others are let go of all the same
        if self.session is not None:
            self._save_session(self.session, ending)
        if failed is not None:
            raise failed

    def _save_session(self, session: SessionWork, ending: Ending) -> None:
        session.close()
        if ending.outcome == MOVED:
            return  # whoever took it over refuses what we still have
        if ending.outcome != "ok":
            session.fail()
        session.save(self.store_seconds())

    def calling(self) -> _Calls:
        """Be known as a model call that is under way, while the context lasts."""
        return self._calls

    def wait_called(self, seconds: float) -> bool:
        """Wait until no model call is under way; its usage is in the totals then."""
        return self._calls.wait_for_none(seconds)

    def reply(self) -> EndReply:
        """Return the totals as `end` answers them."""
        totals = self.totals
        return {
            "calls": totals.calls,
            "input_tokens": input_tokens(totals.usage),
            "output_tokens": totals.usage["output_tokens"],
            "cost_pico_usd": totals.cost_pico_usd,
            "unpriced_calls": totals.unpriced_calls,
            "session_version": self.session.version if self.session else 0,
        }

    def report(
        self, ending: Ending, *, environment_id: str, records_dropped: int
    ) -> InvocationReport:
        """Return what telemetry is told when the unit ends."""
        if ending is KILLED and self.begin.get("forked") is True:
            ending = ending._replace(outcome=FORKED)
        self._reported_as = environment_id
        session = self.session
        report = self._report(ending, self.totals.take_unreported())
        return self._with_runs(report)._replace(
            cold_start=self.begin.get("cold_start", False) is True,
            session_read_ms=session.read_ms if session else None,
            session_save_ms=session.save_ms if session else None,
            records_dropped=records_dropped,
        )

    def _with_runs(self, report: InvocationReport) -> InvocationReport:
        """Say in a report how attempts at runs have ended."""
        if not (self.runs or self.stalled_runs):
            return report
        runs = self.runs.values()
        ended = [run.ended_as for run in runs]
        return report._replace(
            runs_completed=ended.count("completed"),
            runs_failed=ended.count("failed"),
            runs_stalled=self.stalled_runs,
            runs_regenerated=sum([run.regenerated for run in runs]),
        )

    def late_report(self) -> InvocationReport | None:
        """Return what telemetry is told of calls that the unit's own report came too early for.

        Everything is told once, whichever comes first: `report` says that it was there before it
        takes what was counted, and a call counts before it looks here.
        """
        if not self._reported_as:
            return None
        counts = self.totals.take_unreported()
        told = counts.calls or counts.errors or counts.blocked
        return self._report(LATE, counts) if told else None

    def _billed_as(self) -> str:
        """Return the invocation that Lambda knows: a forked child's is `REQUEST.PID` here."""
        forked = self.begin.get("forked") is True
        return self.request_id.rpartition(".")[0] if forked else self.request_id

    def _report(self, ending: Ending, counts: Counts) -> InvocationReport:
        return counts.report(
            work_id=self.work_id,
            request_id=self._billed_as(),
            environment_id=self._reported_as,
            outcome=ending.outcome,
            epoch_ms=self._clock.epoch_ms(),
        )._replace(error_code=ending.error_code, handler_ms=ending.handler_ms)
