"""Opening runs: one attempt at a time, of a chain that is still the one it began as.

put HEAD if absent ──► new
      └── it stands there ──► expired ──► put HEAD over it: what is left is of another life
                          ├── completed, stopped ──► told as it ended
                          ├── its lease holds ──► RunBusyError, with the time to wait
                          ├── another definition ──► refused, and the difference named
                          └── attempt + 1, under the condition that it stands as seen ──► read all
"""

from __future__ import annotations

from itertools import count
from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.domain.moments import Moment
from lambdallm_extension.ports import ABSENT, Condition, Key, Put
from lambdallm_extension.services import run_items, run_refusals, session_items
from lambdallm_extension.services.run_books import RunBooks
from lambdallm_extension.services.run_calls import RunCall
from lambdallm_extension.services.run_heartbeat import LEASE_SECONDS
from lambdallm_extension.services.run_items import RunHead
from lambdallm_extension.services.run_terms import SKEW_MS, Lease, Terms
from lambdallm_extension.services.run_work import RunWork
from lambdallm_extension.services.write_attempts import WriteAttempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Clock, Item, Store
    from lambdallm_extension.run_ports import Resumer
    from lambdallm_extension.services.open_streams import OpenStreams
    from lambdallm_extension.services.run_archive import RunArchive
    from lambdallm_extension.services.run_heartbeat import Heartbeat
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_extension.services.works import Work
    from lambdallm_wire.chat import ChatRequest
    from lambdallm_wire.runs import OpenedRun, OpenRun, RunStatus

AFTER_DEADLINE_MS = 2_000
"""An owner's last write comes so late at most: Lambda's Shutdown phase."""

TTL_SECONDS = 7 * 86_400
"""A run is kept so long after its last attempt, unless its chain says otherwise."""

LOSSES_MAX = 20
"""Of races for one attempt; each has a winner, whose lease then stands."""

LIFE_CHARACTERS = 12
"""Of 16 possible ones each: for the few runs of one id."""

_openings = count()
_hanging = Lock()


class Runs:
    """Opens the runs of units of work."""

    def __init__(  # noqa: PLR0913 - what runs stand on
        self,
        store: Callable[[], Store],
        workers: Workers,
        clock: Clock,
        environment_id: Callable[[], str],
        streams: OpenStreams,
        *,
        log: Callable[[str], None],
        resumer: Callable[[], Resumer],
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """Stand on these; see `parts.Parts`.

        Without a heartbeat, leases last as long as their units of work can.
        """
        self._heartbeat = heartbeat
        self._resumer = resumer
        self._streams = streams
        self._store = store
        self._workers = workers
        self._clock = clock
        self._environment_id = environment_id
        self._log = log

    def open(self, message: OpenRun, work: Work) -> OpenedRun:
        """Begin a run, or go on with it.

        Raises:
            RunBusyError: Another attempt is under way. Nothing was begun.
            StoreRefusedError: Its chain is another one now; the difference is named.
            StoreError: The store did not answer.
        """
        pk = keys.run_pk(message["run_id"], message.get("owner", ""))
        over: Item | None = None
        for _ in range(LOSSES_MAX):
            found = self._begin(pk, message, work, over)
            if isinstance(found, RunWork):
                return self._opened(found)
            over = found if found is None or self._is_over(found) else None
            if found is None or over is not None:
                continue
            head = RunHead.of(found)
            run_refusals.refuse_other(message, head)
            if head.status in ("completed", "stopped"):
                return self._ended(pk, head, work)
            run_refusals.refuse_busy(message, head, self._clock.epoch_ms())
            opened = self._go_on(pk, message, work, found)
            if opened is not None:
                return opened
        detail = f"Too many invocations want run {message['run_id']!r} at once; try again."
        raise errors.RunBusyError(detail, retry_after_seconds=run_refusals.BUSY_MIN_SECONDS)

    def archive(self, allowed_ms: int) -> RunArchive:
        """Return the use case of whoever looks after runs."""
        from lambdallm_extension.services.run_archive import RunArchive

        deadline_ms = self._clock.epoch_ms() + allowed_ms
        return RunArchive(self._store(), self._workers, self._clock, deadline_ms=deadline_ms)

    def find(self, work: Work, run_id: str) -> RunWork:
        """Return a run that a unit of work has open.

        Raises:
            InvalidRequestError: It has not.
        """
        run = work.runs.get(run_id)
        if run is None:
            reason = f"Run {run_id!r} is not open here: open it first."
            raise errors.InvalidRequestError(reason)
        return run

    def call(self, request: ChatRequest, work: Work) -> RunCall:
        """Return a run's question as the run sees it.

        Raises:
            InvalidRequestError: The run is not open here.
        """
        said = request["run"]
        run = self.find(work, said["run_id"])
        place = (said["step"], run.terms.attempt, said.get("number", 0))
        return RunCall(run, place, said.get("finished", ()), request, self._workers)

    def _begin(
        self, pk: str, message: OpenRun, work: Work, over: Item | None
    ) -> RunWork | Item | None:
        """Put a new head; return what stands there, the run where it is ours now.

        Args:
            pk: Of the run.
            message: What is asked for.
            work: Whose it is to be.
            over: A head that has expired, which the new one takes the place of. What is left of
                that run stays where it is: it is of another life.
        """
        lease, now_ms = self._lease(work), self._clock.epoch_ms()
        ttl = message.get("ttl_seconds", TTL_SECONDS)
        head = RunHead(
            life=self._name_life(pk, work),
            name=message["name"],
            version=message.get("version", ""),
            declared=run_refusals.declared(message),
            status="running",
            attempt=1,
            claim=message.get("claim", ""),
            leased_until_ms=lease.until_ms,
            environment=self._environment_id(),
            work=work.work_id,
            steps=0,
            seen_steps=0,
            stalls=0,
            waited=0,
            error="",
            begun_ms=now_ms,
            at_ms=now_ms,
        )
        expires_at = lease.held_until_ms // 1_000 + ttl
        put = Put(head.to_item(Key(pk, keys.HEAD), expires_at), _unchanged(over))
        writing = run_items.Writing(pk, head.life, now_ms, expires_at + ttl)
        actions = [put, run_items.put_value(writing, keys.INPUT, message.get("input", "null"))]
        if "event" in message:
            actions.append(run_items.put_value(writing, keys.EVENT, message["event"]))
        try:
            self._writes(pk, work).send(actions)
        except errors.ConditionFailedError as error:
            return error.current[0]
        run = self._hang(pk, message, work, head, lease)
        run.books.input = message.get("input", "null")
        return run

    def _go_on(self, pk: str, message: OpenRun, work: Work, found: Item) -> OpenedRun | None:
        """Take the next attempt; None where somebody else was first."""
        head, lease = RunHead.of(found), self._lease(work)
        now_ms, ttl = self._clock.epoch_ms(), message.get("ttl_seconds", TTL_SECONDS)
        again = head.claim != "" and head.claim == message.get("claim")
        waited = head.status == "waiting"
        progressed = head.steps > head.seen_steps or waited or again
        taken = head._replace(
            status="running",
            attempt=head.attempt + 1,
            claim=message.get("claim", ""),
            leased_until_ms=lease.until_ms,
            environment=self._environment_id(),
            work=work.work_id,
            seen_steps=head.steps,
            stalls=0 if progressed else head.stalls + 1,
            waited=head.waited + (waited or again),
            error="",
            at_ms=now_ms,
        )
        given_up = run_refusals.given_up(message, taken)
        if given_up:
            taken = taken._replace(status="failed", error=given_up, leased_until_ms=0)
        until_ms = now_ms if given_up else lease.held_until_ms  # never over while it is held
        item = taken.to_item(Key(pk, keys.HEAD), until_ms // 1_000 + ttl)
        try:
            self._writes(pk, work).send([Put(item, _unchanged(found))])
        except errors.ConditionFailedError:
            return None
        if given_up:
            work.stalled_runs += 1
            self._log(f"{STALLED} {message['run_id']}: {given_up}")
            return self._told(self._read(pk, taken, work), "failed", taken.attempt, given_up)
        run = self._hang(pk, message, work, taken, lease)  # released, if it cannot be read
        run.load(self._read(pk, taken, work))
        self._migrate(run, message, head)
        return self._opened(run)

    def _read(self, pk: str, head: RunHead, work: Work) -> RunBooks:
        items = self._store().query(pk, "", deadline_ms=work.store_deadline_ms())
        return RunBooks(items, head.life)

    def _hang(self, pk: str, message: OpenRun, work: Work, head: RunHead, lease: Lease) -> RunWork:
        terms = Terms(
            pk,
            message["run_id"],
            head.attempt,
            head.life,
            lease,
            message.get("max_cost_pico_usd"),
            message.get("ttl_seconds", TTL_SECONDS),
        )
        run = RunWork(
            terms,
            RunBooks(()),
            self._store(),
            self._clock,
            deadline_ms=work.store_deadline_ms,
            open_answers=lambda: self._streams.of(work.work_id),
        )
        with _hanging:  # an opening that was sent twice may be answered twice at once
            other = work.runs.get(message["run_id"])
            if other is None or other.closed or other.terms.attempt < head.attempt:
                work.runs[message["run_id"]] = run
        if self._heartbeat is not None:
            self._heartbeat.hold(run)
        if "resume" in message:
            self._watch(run, message)
        return run

    def _watch(self, run: RunWork, message: OpenRun) -> None:
        """Let somebody go on with the run where this attempt does not finish it."""
        from lambdallm_extension.services.resuming import Resuming

        run.resuming = Resuming(
            message["resume"],
            run.terms,
            message.get("attempts_max", run_refusals.ATTEMPTS_MAX),
            self._resumer(),
            run.deadline_ms,
            self._log,
        )
        run.resuming.begin()

    def _migrate(self, run: RunWork, message: OpenRun, before: RunHead) -> None:
        """Take finished steps over under their new names; the head says so when they are stored."""
        version = message.get("version", "")
        if version == before.version:
            return
        from lambdallm_extension.services.run_migration import Migration

        renamed = message.get("migrations", {}).get(before.version, {})
        run.migrate(Migration(run.books, renamed, version), version, run_refusals.declared(message))

    def _opened(self, run: RunWork) -> OpenedRun:
        return self._told(run.books, "running", run.terms.attempt)

    def _ended(self, pk: str, head: RunHead, work: Work) -> OpenedRun:
        books = self._read(pk, head, work)
        return self._told(books, head.status, head.attempt, head.error)

    def _told(self, books: RunBooks, status: RunStatus, attempt: int, error: str = "") -> OpenedRun:
        return {
            "status": status,
            "attempt": attempt,
            "error": error,
            "input": books.input,
            "output": books.output,
            "steps": [*books.steps.values()],
            "waits": books.waits,
            **books.costs(),
        }

    def _is_over(self, item: Item) -> bool:
        return item.expires_at is not None and item.expires_at <= self._clock.epoch_ms() // 1_000

    def _lease(self, work: Work) -> Lease:
        now = Moment.of(self._clock)
        held_until_ms = work.deadline_ms + AFTER_DEADLINE_MS + SKEW_MS
        if self._heartbeat is None:
            return Lease(held_until_ms, now, held_until_ms)
        short_ms = now.epoch_ms + round(LEASE_SECONDS * 1_000)
        return Lease(min(short_ms, held_until_ms), now, held_until_ms)

    def _name_life(self, pk: str, work: Work) -> str:
        return session_items.token(*self._nonce(pk, work))[:LIFE_CHARACTERS]

    def _nonce(self, pk: str, work: Work) -> tuple[object, ...]:
        """Return what no other opening has: an environment counts its own."""
        return pk, work.work_id, self._environment_id(), next(_openings), self._clock.monotonic()

    def _writes(self, pk: str, work: Work) -> WriteAttempts:
        nonce = session_items.token(*self._nonce(pk, work))
        return WriteAttempts(
            nonce, store=self._store(), clock=self._clock, deadline_ms=work.store_deadline_ms
        )


def _unchanged(found: Item | None) -> Condition:
    """Return what holds of a head until somebody writes it."""
    if found is None:
        return ABSENT
    told = ("life", "attempt", "status", "leased_until", "steps", "at")
    return Condition(
        absent=False,
        equals={name: found.attributes[name] for name in told if name in found.attributes},
    )


STALLED = "Run stopped without progress:"
