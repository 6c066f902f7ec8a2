"""A run that one unit of work has open: what it may do while it holds the run's lease.

open ──► intend ──► intend ──► … ──► close, or release when its process is gone
          one transaction each: the head is still ours, the step before is stored, the intent is
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Add, Check, Condition, Key, Put
from lambdallm_extension.services import run_items
from lambdallm_extension.services.write_attempts import WriteAttempts
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambdallm_extension.ports import Action, Clock, Item, Store, Value
    from lambdallm_extension.services.open_streams import Partial
    from lambdallm_extension.services.run_books import Place, RunBooks
    from lambdallm_extension.services.run_items import Generation
    from lambdallm_wire.runs import FinishedStep, RunCosts, RunStatus, Wait

SKEW_MS = 1_000
"""Of the clocks of two environments; AWS keeps them within milliseconds of each other."""

ACTIONS_MAX = 100
"""In one transaction. Source: DynamoDB API reference, "TransactWriteItems", 2026-10."""


class Terms(NamedTuple):
    """What a run was opened with.

    Attributes:
        pk: Its partition.
        run_id: As its owner names it.
        attempt: Which one this is: nobody else's writes are taken under this number.
        leased_until_ms: Nobody else opens it until then.
        max_cost_pico_usd: All attempts together may cost so much; None: no limit of its own.
        ttl_seconds: So long after the last attempt it is kept.
    """

    pk: str
    run_id: str
    attempt: int
    leased_until_ms: int
    max_cost_pico_usd: int | None
    ttl_seconds: int


class RunWork:
    """One attempt of a run. Threads share it: their writes follow each other."""

    def __init__(
        self,
        terms: Terms,
        books: RunBooks,
        store: Store,
        clock: Clock,
        *,
        deadline_ms: Callable[[], int],
        open_answers: Callable[[], Sequence[Partial]],
    ) -> None:
        """Hold a run.

        Args:
            terms: What it was opened with.
            books: What it has done.
            store: Where it lies.
            clock: Time.
            deadline_ms: Until when the store may take (epoch milliseconds).
            open_answers: Returns what has come of the answers that are on their way.
        """
        self.terms = terms
        self._open_answers = open_answers
        self.books = books
        self.clock = clock
        self._store = store
        self._deadline_ms = deadline_ms
        self._lock = Lock()
        self._writes = WriteAttempts(
            f"{terms.pk}\0{terms.attempt}", store=store, clock=clock, deadline_ms=deadline_ms
        )
        self._leased_until_ms = terms.leased_until_ms
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether this attempt has ended."""
        return self._closed

    def refuse_unless_held(self) -> None:
        """Make sure that nobody else can have opened the run, by the clock on the wall.

        Raises:
            RunLostError: Somebody can, after a freeze that outlasted the lease.
        """
        if self._closed or self.clock.epoch_ms() >= self._leased_until_ms - SKEW_MS:
            raise errors.RunLostError(_LEASE_OVER.format(self.terms.run_id, self.terms.attempt))

    def renew(self, until_ms: int) -> None:
        """Hold the run for longer, where nothing but this process itself ends the attempt.

        Raises:
            RunLostError, StoreError: It is not held any more, or nobody knows.
        """
        with self._lock:
            self._send([self._head({"leased_until": until_ms})])
            self._leased_until_ms = until_ms

    def store_steps(self, finished: Sequence[FinishedStep], waits: Sequence[Wait] = ()) -> RunCosts:
        """Store what is done, and what is waited for.

        Raises:
            RunLostError, StoreError: As `intend`.
        """
        if finished or waits:
            self._write(finished, [self._wait(wait) for wait in waits], {})
        return self.books.costs()

    def intend(
        self,
        place: Place,
        generation: Generation,
        finished: Sequence[FinishedStep],
        record: Item,
    ) -> None:
        """Store the steps before and the intent to ask a model, in one transaction.

        Raises:
            RunLostError: The run is somebody else's now, or stopped. Nothing was written.
            StoreError: It could not be written; the model is not to be asked.
        """
        self.refuse_unless_held()
        intent = Put(self._generation(place, generation))
        self._write(finished, [intent, Put(record)], {})
        self.books.keep(place, generation)
        self.refuse_unless_held()  # the store may have taken its time

    def keep(self, place: Place, generation: Generation, *, deadline_ms: int) -> None:
        """Write what has come of a generation so far, over what was there.

        Raises:
            StoreError: It could not be written.
        """
        item = self._generation(place, generation)
        self._store.put_if(Put(item), deadline_ms=deadline_ms)

    def close(
        self,
        status: RunStatus,
        finished: Sequence[FinishedStep],
        *,
        output: str | None = None,
        error: str = "",
        waits: Sequence[Wait] = (),
    ) -> RunCosts:
        """End the attempt: store the rest, how it ended, and let go of the lease.

        Raises:
            RunLostError, StoreError: As `intend`.
        """
        more: list[Action] = [self._wait(wait) for wait in waits]
        if output is not None:
            more.append(run_items.put_value(self.terms.pk, keys.OUTPUT, output, self._outlives()))
        more += self._answers()
        at_ms = self.clock.epoch_ms()
        ends: dict[str, Value] = {
            "status": status, "error": error, "leased_until": 0, "at": at_ms
        }  # fmt: skip
        self._write(finished, more, ends)
        self._closed = True
        return self.books.costs()

    def keep_partials(self) -> None:
        """Write what has come of answers that are on their way, at once: the process is gone.

        Raises:
            StoreError: It could not be written.
        """
        if self._closed:
            return
        self._note_open_answers()
        for place, generation in self.books.unstored(self.terms.attempt):
            if generation.answer:
                self.keep(place, generation, deadline_ms=self._deadline_ms())

    def release(self) -> None:
        """Let go of a run whose process is gone, and keep what the models had said.

        Raises:
            RunLostError, StoreError: As `intend`.
        """
        if not self._closed:
            self._note_open_answers()
            self.close("interrupted", [])

    def migrate(self, renamed: Mapping[str, str]) -> None:
        """Take finished steps over under their new names, and leave out those that have none.

        Raises:
            RunLostError, StoreError: As `intend`; it can be done again.
        """
        moved = self.books.rename(renamed)
        self.store_steps([step for _, step in moved if step is not None])
        for key, _ in moved:
            gone = Key(self.terms.pk, keys.step_sk(key))
            self._store.delete(gone, deadline_ms=self._deadline_ms())

    def declare(self, version: str, declared: Sequence[tuple[str, str]]) -> None:
        """Write which chain the run goes on as.

        Raises:
            RunLostError, StoreError: As `intend`.
        """
        with self._lock:
            text = plain_json.dumps(declared)
            self._send([self._head({"version": version, "declared": text})])

    def abandon(self) -> None:
        """Do nothing more with it: another engine goes on."""
        self._closed = True

    def _note_open_answers(self) -> None:
        for partial in self._open_answers():
            self.books.cut(partial.call_id, partial.answer.text)

    def _answers(self) -> list[Action]:
        """Return what writes the answers that no finished step tells of."""
        unstored = self.books.unstored(self.terms.attempt)
        return [Put(self._generation(place, each)) for place, each in unstored]

    def _write(
        self, finished: Sequence[FinishedStep], more: Sequence[Action], assign: dict[str, Value]
    ) -> None:
        at_ms, until = self.clock.epoch_ms(), self._outlives()
        puts: list[Action] = [
            run_items.put_step(self.terms.pk, step, self.terms.attempt, at_ms, until)
            for step in finished
        ]
        with self._lock:
            while len(puts) + len(more) >= ACTIONS_MAX:
                room = ACTIONS_MAX - 1
                batch, puts = puts[:room], puts[room:]
                if not batch:
                    batch, more = [*more[:room]], more[room:]
                self._store_once(batch, {})
            self._store_once([*puts, *more], assign)
        self.books.finish(finished)

    def _store_once(self, actions: list[Action], assign: dict[str, Value]) -> None:
        """Write under the lease; a step that is stored already stays as it was stored first."""
        while True:
            steps = len([each for each in actions if _is_step(each)])
            try:
                self._send([self._head(assign, steps), *actions])
            except errors.ConditionFailedError as error:
                there = [item is not None for item in error.current[1:]]
                if not any(there):
                    raise
                stored = zip(actions, there, strict=True)
                actions = [each for each, stands in stored if not stands]
            else:
                return

    def _send(self, actions: Sequence[Action]) -> None:
        try:
            self._writes.send(actions)
        except errors.ConditionFailedError as error:
            head = error.current[0] if error.current else None
            if head is not None or not any(error.current):
                raise self._lost(head) from error
            raise

    def _head(self, assign: dict[str, Value], steps: int = 0) -> Action:
        key = Key(self.terms.pk, keys.HEAD)
        ours = Condition(equals={"attempt": self.terms.attempt, "status": "running"})
        if not assign and not steps:
            return Check(key, ours)
        add = {"steps": steps} if steps else {}
        return Add(key, add=add, assign=assign, expires_at=self._expires(), condition=ours)

    def _lost(self, head: Item | None) -> errors.RunLostError:
        self._closed = True
        run_id = self.terms.run_id
        if head is None:
            return errors.RunLostError(f"Run {run_id!r} is not there any more: it was deleted.")
        found = run_items.RunHead.of(head)
        if found.status == "stopped":
            return errors.RunLostError(f"Run {run_id!r} was stopped: {found.error}")
        return errors.RunLostError(
            f"Run {run_id!r} is at attempt {found.attempt} ({found.status}); this was attempt "
            f"{self.terms.attempt}, whose lease is over. Nothing was written, and no model asked."
        )

    def _wait(self, wait: Wait) -> Put:
        from lambdallm_extension.domain import fingerprints

        hashed = fingerprints.of_text(wait.get("secret", ""))
        return run_items.put_wait(self.terms.pk, wait, hashed, self._outlives())

    def _generation(self, place: Place, generation: Generation) -> Item:
        key = Key(self.terms.pk, keys.generation_sk(*place))
        return generation.to_item(key, self.clock.epoch_ms(), self._outlives())

    def _expires(self) -> int:
        return self.clock.epoch_ms() // 1_000 + self.terms.ttl_seconds

    def _outlives(self) -> int:
        """Return when what is written now may be deleted: the head lives no longer."""
        return self.clock.epoch_ms() // 1_000 + 2 * self.terms.ttl_seconds


def _is_step(action: Action) -> bool:
    return isinstance(action, Put) and action.item.key.sk.startswith(keys.STEP_PREFIX)


_LEASE_OVER = (
    "The lease of run {!r} is over: attempt {} stood still for too long, and another one may go "
    "on with it. No model was asked."
)
