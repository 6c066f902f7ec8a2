"""Units of work from `begin` to `end`, or to the death of their process.

A unit lives in a table under its work id; calls, sessions and totals hang on it. Its end, or the
end of its control connection, writes what is still to be written and emits one report.
"""

from __future__ import annotations

from functools import partial
from threading import Condition

from lambdallm_extension import errors
from lambdallm_extension.domain import flush, memory
from lambdallm_extension.services.recent_sessions import RecentSessions
from lambdallm_extension.services.seen_exchanges import VainWaits
from lambdallm_extension.services.session_reads import LongSessions
from lambdallm_extension.services.sessions import SessionWork
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.services.unattributed import Unattributed
from lambdallm_extension.services.works import KILLED, Ending, Work, trace_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lambdallm_extension.ports import Clock, Store, Telemetry
    from lambdallm_extension.services.metering import Recorder
    from lambdallm_extension.services.recollection import Recollection
    from lambdallm_extension.services.remembering import Remembering
    from lambdallm_extension.services.session_archive import SessionArchive
    from lambdallm_wire.invocations import BeginRequest, EndReply, EndRequest
    from lambdallm_wire.sessions import SessionRule

WORKS_MAX = 4_096
"""Units open at once; Managed Instances run at most 64 invocations. The oldest makes way."""

BEGUN_MAX = 128
"""Invocations whose `begin` is remembered: the loop over `/next` asks for this one and the last."""

LONGEST_MS = 900_000
"""Of an invocation: Lambda's limit, for calls of which nothing else is known."""

LAST_MS = 1_500
"""For what a killed process left: Shutdown lasts 2,000 ms, and 300 of them are kept free."""

GONE_SECONDS = 0.2
"""A process that Lambda has ended is seen to be gone so soon; Shutdown's event may be sooner."""


class Invocations:
    """The table of open units of work."""

    def __init__(  # noqa: PLR0913 - what hangs on units of work
        self,
        store: Callable[..., Store],
        recorder: Callable[[], Recorder],
        workers: Workers,
        clock: Clock,
        telemetry: Telemetry,
        *,
        environment_id: Callable[[], str],
        remembering: Callable[[], Remembering],
    ) -> None:
        """Start with nothing open.

        Args:
            store: Opens the store for a declared session, or another one by its URL; raises
                SettingError without one.
            recorder: The call records' writer.
            workers: Threads for session reads.
            clock: Time.
            telemetry: Gets one report a unit.
            environment_id: This environment's id, made at the first use.
            remembering: Opens what makes summaries and vectors, at its first use.
        """
        self._store = store
        self._recorder = recorder
        self._workers = workers
        self._finishers = Workers()
        self._clock = clock
        self._telemetry = telemetry
        self._environment_id = environment_id
        self._remembering = remembering
        self._long_sessions = LongSessions()
        self._recent_sessions = RecentSessions()
        self._vain_waits = VainWaits()
        self._works: dict[str, Work] = {}
        self._changed = Condition()
        self._begun: dict[str, None] = {}
        self._ending = 0
        self._number = 0
        self._held_request = ""
        self._invoked = ("", 0)
        self.never_frozen = False
        """Whether nobody stops this process after a response, as on Managed Instances."""
        self.return_leases: Callable[[float], object] = lambda _seconds: None
        """Tells what was spent, and returns what is not needed, in so many seconds."""

    def begin(self, request: BeginRequest, connection: int) -> str:
        """Open a unit of work and start reading its session.

        One of the same id makes way, and so do those whose deadline is long past.

        Returns:
            Who writes its exchange, "" without a session.

        Raises:
            SettingError: A session is declared and no store.
        """
        work = Work(request, connection, self._clock)
        rule = request.get("session")
        writer = ""
        if rule is not None:
            writer = f"{self._environment_id()}:{self._next_number()}"
            work.session = SessionWork(
                rule,
                nonce=writer,
                continues=request.get("continues", ""),
                long_sessions=self._long_sessions,
                recent_sessions=self._recent_sessions,
                vain_waits=self._vain_waits,
                deferred=request.get("window_follows", False),
                store=self._store(*_place(rule)),
                workers=self._workers,
                clock=self._clock,
                deadline_ms=work.store_deadline_ms,
                recollect=self._recollect(work, rule),
                log=self._telemetry.log,
            )
        with self._changed:
            gone = [
                other
                for other in self._works.values()
                if other.work_id == work.work_id or other.expired
            ]
            if len(self._works) - len(gone) >= WORKS_MAX:
                gone.append(next(iter(self._works.values())))
            self._remove(gone)
            self._works[work.work_id] = work
            self._begun[work.request_id] = None
            while len(self._begun) > BEGUN_MAX:
                del self._begun[next(iter(self._begun))]
            self._changed.notify_all()
        if gone:
            self._finish_beside(gone, KILLED)
        return writer

    def archive(self, allowed_ms: int, deadline_ms: int | None) -> SessionArchive:
        """Return the use case of whoever looks after sessions.

        Args:
            allowed_ms: Time for it where no deadline is given.
            deadline_ms: Epoch milliseconds.

        Raises:
            SettingError: There is no store.
        """
        from lambdallm_extension.services.session_archive import SessionArchive

        deadline_ms = deadline_ms or self._clock.epoch_ms() + allowed_ms
        return SessionArchive(self._store(), self._workers, self._clock, deadline_ms=deadline_ms)

    def find(self, work_id: str) -> Work:
        """Return an open unit of work.

        Raises:
            InvalidRequestError: It was never begun, or has ended.
        """
        work = self._works.get(work_id)
        if work is None:
            message = f"Unit of work {work_id!r} is not open: begin it first."
            raise errors.InvalidRequestError(message)
        return work

    def attribute(self, trace_header: str) -> Work | None:
        """Return whose a call is that brings no unit of work, None where nobody knows.

        Where one invocation runs at a time, its only open unit; where several may, and beside
        it, the one whose trace the call carries. Sessions by hand have units of no invocation.

        Args:
            trace_header: `X-Amzn-Trace-Id` of the call, "" when there is none.
        """
        root = trace_root(trace_header)
        works = [work for work in [*self._works.values()] if not work.expired]
        works = [work for work in works if work.request_id == self._invoked[0]] or works
        traced = [work for work in works if root and work.trace_root == root]
        if len(traced) == 1:
            return traced[0]
        alone = len(works) == 1 and not self.never_frozen
        if alone and not (root and works[0].trace_root):
            return works[0]
        return None

    def unattributed(self) -> Unattributed:
        """Return the payer of a call that is nobody's."""
        request_id, deadline_ms = self._invoked
        now_ms = self._clock.epoch_ms()
        return Unattributed(
            self._telemetry,
            self._clock,
            self._environment_id,
            request_id=request_id,
            deadline_ms=_early(deadline_ms, now_ms)
            if deadline_ms > now_ms
            else now_ms + LONGEST_MS,
        )

    def invoked(self, request_id: str, deadline_ms: int) -> None:
        """Know which invocation runs now."""
        self._invoked = (request_id, deadline_ms)

    def session(self, work_id: str) -> SessionWork:
        """Return the session of an open unit of work.

        Raises:
            InvalidRequestError: There is none.
        """
        session = self.find(work_id).session
        if session is None:
            message = "No session was declared: use @handler(session=Session(…))."
            raise errors.InvalidRequestError(message)
        return session

    def end(self, request: EndRequest, connection: int) -> EndReply:
        """Close a unit of work, and return its totals once what is waited for is stored.

        Raises:
            InvalidRequestError: It is not open, or belongs to another process.
            StoreError: Its session could not be written; the unit is closed all the same.
        """
        work = self.find(request["work_id"])
        with self._changed:
            if self._works.get(work.work_id) is not work or work.connection != connection:
                message = f"Unit of work {work.work_id!r} belongs to another connection."
                raise errors.InvalidRequestError(message)
            self._remove([work])
        ending = Ending(
            request.get("outcome", "ok"), request.get("error_code", ""), request.get("handler_ms")
        )
        if self._may_answer_first(work):
            self._finish_beside([work], ending)
        else:
            self._finish(work, ending)
            if not self._goes_on(work):
                self._recorder().wait(flush.OUTAGE_MAX_MS / 1_000)
        self._return_leases(work)
        return work.reply()

    def disconnected(self, connection: int) -> None:
        """Close every unit of work of a process that is gone."""
        with self._changed:
            gone = [work for work in self._works.values() if work.connection == connection]
            self._remove(gone)
        self._finish_late(gone, KILLED)

    def hold(self, request_id: str) -> None:
        """Know that the environment stays awake until this invocation is persisted."""
        self._held_request = request_id

    def wait_begun(self, request_id: str, seconds: float) -> bool:
        """Wait for the `begin` of an invocation; False when it did not come in time."""
        with self._changed:
            return self._changed.wait_for(lambda: request_id in self._begun, seconds)

    def wait_ended(self, request_id: str, seconds: float) -> bool:
        """Wait until no unit of work of an invocation, "" of any, is open; False when one is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(request_id in ("", w.request_id) for w in self._works.values()),
                seconds,
            )

    def wait_persisted(self, seconds: float) -> bool:
        """Wait until nothing is being closed; False when something still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._ending, seconds)

    @property
    def unsaved(self) -> int:
        """How many units of work are still being closed."""
        return self._ending

    def _next_number(self) -> int:
        with self._changed:
            self._number += 1
            return self._number

    def _remove(self, works: Iterable[Work]) -> None:
        """Take units off the table; the caller has the lock, and finishes them."""
        for work in works:
            del self._works[work.work_id]
            self._ending += 1
        self._changed.notify_all()

    def _may_answer_first(self, work: Work) -> bool:
        """Say whether the response may leave before the store has answered.

        Not when the environment could be frozen in between: nobody would finish then.
        """
        session = work.session
        return self._goes_on(work) and session is not None and session.may_answer_first

    def _goes_on(self, work: Work) -> bool:
        """Say whether this process can finish what it began after the response."""
        return self.never_frozen or self._held_request == work.request_id

    def _return_leases(self, work: Work) -> None:
        """Let go of what is leased, where no end of an invocation does it later."""
        seconds = flush.OUTAGE_MAX_MS / 1_000
        if self.never_frozen:
            try:
                self._workers.start(partial(self.return_leases, seconds))
            except errors.OverloadedError:
                return  # the next one tells more
        elif not self._goes_on(work):
            self.return_leases(seconds)

    def _finish_beside(self, works: list[Work], ending: Ending) -> None:
        """Finish on another thread, which is not one of the workers: it waits for them.

        The thread is one that waits for work, mostly: a new one would take the interpreter before
        whoever asked has his answer.
        """
        try:
            self._finishers.start(partial(self._finish_late, works, ending))
        except errors.OverloadedError:  # the environment has no more threads: who asked waits
            self._finish_late(works, ending)

    def _finish_late(self, works: list[Work], ending: Ending) -> None:
        """Finish when nobody is there to be told of a failure."""
        for work in works:
            work.grant(LAST_MS)
            try:
                work.keep_partials()
                seconds = work.store_seconds()
                if work.runs and not self.never_frozen:  # Shutdown began as the process ended
                    seconds = min(seconds, LAST_MS / 1_000)
                work.wait_called(seconds - work.release_seconds)
                self._finish(work, ending)
            except Exception as error:  # noqa: BLE001 - the next one is to be finished too
                self._telemetry.log(
                    f"The session of {work.work_id} was not saved, or a run not let go of, as far "
                    f"as is known: {error}"
                )

    def _finish(self, work: Work, ending: Ending) -> None:
        try:
            work.save(ending)
        except errors.ExtensionError as error:
            if ending.outcome == "ok":
                ending = ending._replace(outcome="error", error_code=error.code)
            raise
        finally:
            try:
                dropped = self._recorder().take_dropped()
                report = work.report(
                    ending,
                    environment_id=self._environment_id(),
                    records_dropped=dropped.records,
                )
                if dropped.records:
                    self._telemetry.log(
                        f"{dropped.records} call records were not stored: {dropped.reason}"
                    )
                self._telemetry.emit(report)
                if ending.outcome == "ok" and _remembers(work.begin.get("session")):
                    self._remembering().remember(work)
            finally:
                with self._changed:
                    self._ending -= 1
                    self._changed.notify_all()

    def _recollect(self, work: Work, rule: SessionRule) -> Callable[[Store], Recollection] | None:
        """Return what reads a memory beside the turns, None where there is none."""
        if not _remembers(rule):
            return None
        return partial(self._remembering().recollection, work, rule, self._workers)


def _remembers(rule: SessionRule | None) -> bool:
    """Say whether a session keeps something beside its turns."""
    return rule is not None and rule["memory"].get("strategy") in memory.REMEMBERING


def _early(deadline_ms: int, now_ms: int) -> int:
    """Return when a call must have ended for its caller to hear of it before the deadline."""
    if deadline_ms <= now_ms:
        return now_ms + LONGEST_MS  # nobody knows of an invocation
    return deadline_ms - round(flush.reserve_ms(deadline_ms - now_ms))


def _place(rule: SessionRule) -> tuple[str, ...]:
    """Return the URL of a session's own store, nothing where it has none."""
    url = rule.get("store", "")
    return (url,) if url else ()
