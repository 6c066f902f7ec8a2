"""Opening runs: one attempt at a time, of a chain that is still the one it began as.

put HEAD if absent ──► new
      └── it stands there ──► completed, stopped ──► told as it ended
                          ├── its lease holds ──► RunBusyError, with the time to wait
                          ├── another definition ──► refused, and the difference named
                          └── attempt + 1, under the condition that it stands as seen ──► read all
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.domain import fingerprints, keys
from lambdallm_extension.ports import ABSENT, Condition, Key, Put
from lambdallm_extension.services import run_items
from lambdallm_extension.services.run_books import RunBooks
from lambdallm_extension.services.run_calls import RunCall
from lambdallm_extension.services.run_items import RunHead
from lambdallm_extension.services.run_work import SKEW_MS, RunWork, Terms
from lambdallm_extension.services.write_attempts import WriteAttempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Clock, Item, Store
    from lambdallm_extension.services.open_streams import OpenStreams
    from lambdallm_extension.services.run_archive import RunArchive
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_extension.services.works import Work
    from lambdallm_wire.chat import ChatRequest
    from lambdallm_wire.runs import OpenedRun, OpenRun, RunStatus

AFTER_DEADLINE_MS = 2_000
"""An owner's last write comes so late at most: Lambda's Shutdown phase."""

TTL_SECONDS = 7 * 86_400
"""A run is kept so long after its last attempt, unless its chain says otherwise."""

ATTEMPTS_MAX = 100
"""So often a run is opened, unless its chain says otherwise."""

STALLS_MAX = 5
"""Attempts in a row that finish no step: the next one would not either."""

LOSSES_MAX = 20
"""Of races for one attempt; each has a winner, whose lease then stands."""

BUSY_MIN_SECONDS = 1.0


class Runs:
    """Opens the runs of units of work."""

    def __init__(
        self,
        store: Callable[[], Store],
        workers: Workers,
        clock: Clock,
        environment_id: Callable[[], str],
        streams: OpenStreams,
        log: Callable[[str], None],
    ) -> None:
        """Stand on these; see `parts.Parts`."""
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
        for _ in range(LOSSES_MAX):
            found = self._begin(pk, message, work)
            if found is None:
                run = self._hang(pk, message, work, RunBooks(()), 1)
                run.books.input = message.get("input", "null")
                return self._opened(run)
            head = RunHead.of(found)
            if self._is_over(found):
                self._clear(pk, work)
                continue
            self._refuse_other(message, head)
            if head.status in ("completed", "stopped"):
                return self._ended(pk, head, work)
            self._refuse_busy(message, head)
            opened = self._go_on(pk, message, work, found)
            if opened is not None:
                return opened
        detail = f"Too many invocations want run {message['run_id']!r} at once; try again."
        raise errors.RunBusyError(detail, retry_after_seconds=BUSY_MIN_SECONDS)

    def archive(self, allowed_ms: int) -> RunArchive:
        """Return the use case of whoever looks after runs."""
        from lambdallm_extension.services.run_archive import RunArchive

        deadline_ms = self._clock.epoch_ms() + allowed_ms
        return RunArchive(self._store(), self._clock, deadline_ms=deadline_ms)

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

    def _begin(self, pk: str, message: OpenRun, work: Work) -> Item | None:
        """Put a new head; return the one that stands there, None where it is ours now."""
        now_ms = self._clock.epoch_ms()
        ttl = message.get("ttl_seconds", TTL_SECONDS)
        head = RunHead(
            name=message["name"],
            version=message.get("version", ""),
            declared=_declared(message),
            status="running",
            attempt=1,
            claim=message.get("claim", ""),
            leased_until_ms=self._lease(work),
            environment=self._environment_id(),
            work=work.work_id,
            steps=0,
            seen_steps=0,
            stalls=0,
            error="",
            begun_ms=now_ms,
            at_ms=now_ms,
        )
        expires_at = now_ms // 1_000 + ttl
        actions = [Put(head.to_item(Key(pk, keys.HEAD), expires_at), ABSENT)]
        value = message.get("input", "null")
        actions.append(run_items.put_value(pk, keys.INPUT, value, expires_at + ttl))
        try:
            self._writes(pk, work).send(actions)
        except errors.ConditionFailedError as error:
            return error.current[0]
        return None

    def _go_on(self, pk: str, message: OpenRun, work: Work, found: Item) -> OpenedRun | None:
        """Take the next attempt; None where somebody else was first."""
        head = RunHead.of(found)
        now_ms, ttl = self._clock.epoch_ms(), message.get("ttl_seconds", TTL_SECONDS)
        again = head.claim != "" and head.claim == message.get("claim")
        progressed = head.steps > head.seen_steps or head.status == "waiting" or again
        stalls = 0 if progressed else head.stalls + 1
        taken = head._replace(
            status="running",
            attempt=head.attempt + 1,
            claim=message.get("claim", ""),
            leased_until_ms=self._lease(work),
            environment=self._environment_id(),
            work=work.work_id,
            seen_steps=head.steps,
            stalls=stalls,
            error="",
            at_ms=now_ms,
        )
        given_up = self._given_up(message, taken)
        if given_up:
            taken = taken._replace(status="failed", error=given_up, leased_until_ms=0)
        as_seen = Condition(
            equals={name: found.attributes[name] for name in ("attempt", "status", "leased_until")}
        )
        item = taken.to_item(Key(pk, keys.HEAD), now_ms // 1_000 + ttl)
        try:
            self._writes(pk, work).send([Put(item, as_seen)])
        except errors.ConditionFailedError:
            return None
        books = RunBooks(self._store().query(pk, "", deadline_ms=work.store_deadline_ms()))
        if given_up:
            self._log(f"{STALLED} {message['run_id']}: {given_up}")
            return self._told(books, "failed", taken.attempt, given_up)
        run = self._hang(pk, message, work, books, taken.attempt)
        self._migrate(run, message, head)
        return self._opened(run)

    def _hang(
        self, pk: str, message: OpenRun, work: Work, books: RunBooks, attempt: int
    ) -> RunWork:
        terms = Terms(
            pk,
            message["run_id"],
            attempt,
            self._lease(work),
            message.get("max_cost_pico_usd"),
            message.get("ttl_seconds", TTL_SECONDS),
        )
        run = RunWork(
            terms,
            books,
            self._store(),
            self._clock,
            deadline_ms=work.store_deadline_ms,
            open_answers=lambda: self._streams.of(work.work_id),
        )
        work.runs[message["run_id"]] = run
        return run

    def _migrate(self, run: RunWork, message: OpenRun, before: RunHead) -> None:
        """Take finished steps over under their new names; the head says so when they are stored."""
        version = message.get("version", "")
        if version == before.version:
            return
        run.migrate(message.get("migrations", {}).get(before.version, {}))
        run.declare(version, _declared(message))

    def _opened(self, run: RunWork) -> OpenedRun:
        return self._told(run.books, "running", run.terms.attempt)

    def _ended(self, pk: str, head: RunHead, work: Work) -> OpenedRun:
        books = RunBooks(self._store().query(pk, "", deadline_ms=work.store_deadline_ms()))
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

    def _refuse_other(self, message: OpenRun, head: RunHead) -> None:
        """Refuse to go on with what is another chain now.

        Raises:
            StoreRefusedError: It is; the message names the difference.
        """
        run_id = message["run_id"]
        if head.name != message["name"]:
            detail = (
                f"Run {run_id!r} is one of chain {head.name!r}, not of {message['name']!r}. "
                "Nothing was run: give this chain another run_id."
            )
            raise errors.StoreRefusedError(detail)
        version = message.get("version", "")
        if version != head.version and head.version in message.get("migrations", {}):
            return
        different = fingerprints.difference(
            head.declared, _declared(message), versions=(head.version, version)
        )
        if different:
            detail = (
                f"Run {run_id!r} cannot go on: {different}. Its results would be mixed from two "
                "chains. Finish it with the code that it began with, say with Chain(migrations=…) "
                "what became of each step, or begin anew under another run_id."
            )
            raise errors.StoreRefusedError(detail)

    def _refuse_busy(self, message: OpenRun, head: RunHead) -> None:
        now_ms = self._clock.epoch_ms()
        if head.status != "running" or head.leased_until_ms + SKEW_MS <= now_ms:
            return
        if head.claim and head.claim == message.get("claim"):
            return  # the same attempt, under another engine: the first one is lost
        seconds = max(BUSY_MIN_SECONDS, (head.leased_until_ms + SKEW_MS - now_ms) / 1_000)
        detail = (
            f"Run {message['run_id']!r} is under way in another invocation, until it ends or for "
            f"{seconds:.0f} s at most. Nothing was begun; ask again then."
        )
        raise errors.RunBusyError(detail, retry_after_seconds=seconds)

    def _given_up(self, message: OpenRun, taken: RunHead) -> str:
        """Say why no further attempt is made, "" where one is."""
        attempts_max = message.get("attempts_max", ATTEMPTS_MAX)
        if taken.attempt > attempts_max:
            return f"{attempts_max} attempts were made, and none finished it."
        if taken.stalls >= STALLS_MAX:
            return f"{STALLS_MAX} attempts in a row have finished no step: it makes no progress."
        return ""

    def _is_over(self, item: Item) -> bool:
        return item.expires_at is not None and item.expires_at <= self._clock.epoch_ms() // 1_000

    def _clear(self, pk: str, work: Work) -> None:
        """Delete what an expired run has left, the head last."""
        store, deadline_ms = self._store(), work.store_deadline_ms()
        left = store.outline(pk, deadline_ms=deadline_ms)
        for item in sorted(left, key=lambda each: each.key.sk == keys.HEAD):
            store.delete(item.key, deadline_ms=deadline_ms)

    def _lease(self, work: Work) -> int:
        return work.deadline_ms + AFTER_DEADLINE_MS + SKEW_MS

    def _writes(self, pk: str, work: Work) -> WriteAttempts:
        nonce = f"{pk}\0{work.work_id}\0{self._environment_id()}\0{self._clock.monotonic()}"
        return WriteAttempts(
            nonce, store=self._store(), clock=self._clock, deadline_ms=work.store_deadline_ms
        )


STALLED = "Run stopped without progress:"


def _declared(message: OpenRun) -> tuple[tuple[str, str], ...]:
    return tuple([(each["key"], each["fingerprint"]) for each in message.get("declared", ())])
