"""Units of work from `begin` to `end`, or to the death of their process.

A unit lives in a table under its work id; calls, sessions and totals hang on it. Its end, or the
end of its control connection, writes what is still to be written and emits one report.
"""

from __future__ import annotations

from functools import partial
from threading import Condition
from typing import TYPE_CHECKING, NamedTuple

from lambdallm_extension import errors
from lambdallm_extension.domain import flush
from lambdallm_extension.ports import InvocationReport
from lambdallm_extension.services.metering import Totals
from lambdallm_extension.services.sessions import SessionWork
from lambdallm_wire.chat import input_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Clock, Store, Telemetry
    from lambdallm_extension.services.metering import Recorder
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.invocations import BeginRequest, EndReply, EndRequest

WORKS_MAX = 4_096
"""Units open at once; Managed Instances run at most 64 invocations, batches 10,000 records."""


class Work:
    """One unit of work."""

    def __init__(
        self, begin: BeginRequest, connection: int, session: SessionWork | None, clock: Clock
    ) -> None:
        self.begin = begin
        self.connection = connection
        self.session = session
        self.totals = Totals()
        self._clock = clock

    @property
    def deadline_ms(self) -> int:
        """Epoch milliseconds at which Lambda ends the invocation."""
        return self.begin["deadline_epoch_ms"]

    def left_seconds(self) -> float:
        """Time until then."""
        return (self.deadline_ms - self._clock.epoch_ms()) / 1_000


class _Ending(NamedTuple):
    outcome: str
    error_code: str
    handler_ms: float | None


KILLED = _Ending("killed", "", None)
"""The process was gone before it could say `end`."""


class Invocations:
    """The table of open units of work."""

    def __init__(
        self,
        store: Callable[[], Store],
        recorder: Callable[[], Recorder],
        workers: Workers,
        clock: Clock,
        telemetry: Telemetry,
        *,
        environment_id: Callable[[], str],
    ) -> None:
        """Start with nothing open.

        Args:
            store: Opens the store for a declared session; raises SettingError without one.
            recorder: The call records' writer.
            workers: Threads for session reads.
            clock: Time.
            telemetry: Gets one report a unit.
            environment_id: This environment's id, made at the first use.
        """
        self._store = store
        self._recorder = recorder
        self._workers = workers
        self._clock = clock
        self._telemetry = telemetry
        self._environment_id = environment_id
        self._works: dict[str, Work] = {}
        self._changed = Condition()
        self._begun: dict[str, None] = {}
        self._ending = 0
        self._number = 0
        self._held_request = ""

    def begin(self, request: BeginRequest, connection: int) -> None:
        """Open a unit of work and start reading its session.

        Raises:
            SettingError: A session is declared and no store.
            ExtensionError: Too many units are open.
        """
        work_id = request["work_id"]
        if len(self._works) >= WORKS_MAX:
            message = f"{WORKS_MAX} units of work are open; end some first."
            raise errors.ExtensionError(message)
        for previous in self._take(lambda work: work.begin["work_id"] == work_id):
            self._finish(previous, KILLED)
        session = None
        rule = request.get("session")
        if rule is not None:
            session = SessionWork(
                rule,
                work_id,
                nonce=f"{self._environment_id()}:{self._next_number()}",
                store=self._store(),
                workers=self._workers,
                clock=self._clock,
                deadline_ms=lambda: request["deadline_epoch_ms"],
            )
        with self._changed:
            self._works[work_id] = Work(request, connection, session, self._clock)
            self._begun[request["request_id"]] = None
            while len(self._begun) > WORKS_MAX:
                del self._begun[next(iter(self._begun))]
            self._changed.notify_all()

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

    def end(self, request: EndRequest) -> EndReply:
        """Close a unit of work, and return its totals once what is waited for is stored.

        Raises:
            StoreError: Its session could not be written; the unit is closed all the same.
        """
        self.find(request["work_id"])
        for work in self._take(lambda work: work.begin["work_id"] == request["work_id"]):
            ending = _Ending(
                request.get("outcome", "ok"),
                request.get("error_code", ""),
                request.get("handler_ms"),
            )
            if self._may_answer_first(work):
                self._workers.start(partial(self._finish_late, work, ending))
                return _totals(work)
            self._finish(work, ending)
            if self._held_request != work.begin["request_id"]:
                self._recorder().wait(flush.OUTAGE_MAX_MS / 1_000)
            return _totals(work)
        message = "The unit of work was ended by another connection."
        raise errors.InvalidRequestError(message)

    def disconnected(self, connection: int) -> None:
        """Close every unit of work of a process that is gone."""
        for work in self._take(lambda work: work.connection == connection):
            self._finish_late(work, KILLED)

    def hold(self, request_id: str) -> None:
        """Know that the environment stays awake until this invocation is persisted."""
        self._held_request = request_id

    def wait_begun(self, request_id: str, seconds: float) -> bool:
        """Wait for the `begin` of an invocation; False when it did not come in time."""
        with self._changed:
            return self._changed.wait_for(lambda: request_id in self._begun, seconds)

    def wait_ended(self, request_id: str, seconds: float) -> bool:
        """Wait until no unit of work of an invocation is open; False when one still is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: (
                    not any(work.begin["request_id"] == request_id for work in self._works.values())
                ),
                seconds,
            )

    def wait_persisted(self, seconds: float) -> bool:
        """Wait until nothing is being closed; False when something still is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._ending, seconds)

    def _next_number(self) -> int:
        with self._changed:
            self._number += 1
            return self._number

    def _take(self, belongs: Callable[[Work], bool]) -> list[Work]:
        with self._changed:
            taken = [work for work in self._works.values() if belongs(work)]
            for work in taken:
                del self._works[work.begin["work_id"]]
            self._ending += len(taken)
            self._changed.notify_all()
        return taken

    def _may_answer_first(self, work: Work) -> bool:
        """Say whether the response may leave before the store has answered.

        Not when the environment could be frozen in between: nobody would finish then.
        """
        held = self._held_request == work.begin["request_id"]
        return held and work.session is not None and not work.session.waits

    def _finish_late(self, work: Work, ending: _Ending) -> None:
        """Finish when nobody is there to be told of a failure."""
        try:
            self._finish(work, ending)
        except errors.ExtensionError as error:
            self._telemetry.log(f"The session of {work.begin['work_id']} was not saved: {error}")

    def _finish(self, work: Work, ending: _Ending) -> None:
        try:
            self._save(work, ending)
        except errors.ExtensionError as error:
            if ending.outcome == "ok":
                ending = ending._replace(outcome="error", error_code=error.code)
            raise
        finally:
            self._telemetry.emit(self._report(work, ending))
            with self._changed:
                self._ending -= 1
                self._changed.notify_all()

    def _save(self, work: Work, ending: _Ending) -> None:
        """Write what the session still holds; a failed handler leaves no unanswered turns."""
        session = work.session
        if session is None:
            return
        if ending.outcome != "ok":
            session.discard()
        session.save(work.left_seconds())

    def _report(self, work: Work, ending: _Ending) -> InvocationReport:
        totals, session = work.totals, work.session
        return InvocationReport(
            work_id=work.begin["work_id"],
            request_id=work.begin["request_id"],
            environment_id=self._environment_id(),
            outcome=ending.outcome,
            error_code=ending.error_code,
            cold_start=work.begin.get("cold_start", False),
            models=tuple(totals.models),
            calls=totals.calls,
            errors=totals.errors,
            throttles=totals.throttles,
            usage=totals.usage,
            cost_pico_usd=totals.cost_pico_usd,
            unpriced_calls=totals.unpriced_calls,
            model_latency_ms=totals.latency_ms,
            handler_ms=ending.handler_ms,
            session_read_ms=session.read_ms if session else None,
            session_save_ms=session.save_ms if session else None,
            records_dropped=self._recorder().take_dropped(),
            epoch_ms=self._clock.epoch_ms(),
        )


def _totals(work: Work) -> EndReply:
    totals = work.totals
    return {
        "calls": totals.calls,
        "input_tokens": input_tokens(totals.usage),
        "output_tokens": totals.usage["output_tokens"],
        "cost_pico_usd": totals.cost_pico_usd,
        "unpriced_calls": totals.unpriced_calls,
        "session_version": work.session.version if work.session else 0,
    }
