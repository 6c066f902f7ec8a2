"""A run that one unit of work has open: what it may do while it holds the run's lease.

open ──► intend ──► intend ──► … ──► close, or release when its process is gone
          one transaction each: the head is still ours, the step before is stored, the intent is
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.domain.moments import Moment
from lambdallm_extension.ports import Add, Check, Condition, Key, Put
from lambdallm_extension.services import run_books, run_items, run_terms
from lambdallm_extension.services.run_records import CarriedRecords
from lambdallm_extension.services.write_attempts import WriteAttempts
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.ports import Action, Clock, Item, Store, Value
    from lambdallm_extension.services.open_streams import Partial
    from lambdallm_extension.services.resuming import Resuming
    from lambdallm_extension.services.run_books import Place, RunBooks
    from lambdallm_extension.services.run_items import Generation
    from lambdallm_extension.services.run_migration import Migration
    from lambdallm_extension.services.run_terms import Terms
    from lambdallm_wire.runs import FinishedStep, RunCosts, RunStatus, Wait

ACTIONS_MAX = 100
"""In one transaction. Source: DynamoDB API reference, "TransactWriteItems", 2026-10."""


class RunWork:
    """One attempt of a run. Threads share it: their writes follow each other.

    Attributes:
        ended_as: How it was closed; "" as long as it was not.
        records: Of its calls, as far as they are not written.
    """

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
        self.resuming: Resuming | None = None
        self._open_answers = open_answers
        self.books = books
        self.clock = clock
        self._store = store
        self.deadline_ms = deadline_ms
        self._lock = Lock()
        self._writes = WriteAttempts(
            f"{terms.pk}\0{terms.life}\0{terms.attempt}",
            store=store,
            clock=clock,
            deadline_ms=deadline_ms,
        )
        self._lease = terms.lease
        self._closed = False
        self._regenerated_before = 0
        self._one_partition = False
        self.ended_as = ""
        self.records = CarriedRecords()

    def load(self, books: RunBooks) -> None:
        """Know what earlier attempts have done."""
        self.books = books
        self._regenerated_before = books.costs()["regenerated"]

    @property
    def regenerated(self) -> int:
        """How many generations this attempt has made that an earlier one had made already."""
        return self.books.costs()["regenerated"] - self._regenerated_before

    @property
    def closed(self) -> bool:
        """Whether this attempt has ended."""
        return self._closed

    def refuse_unless_held(self) -> None:
        """Make sure that nobody else can have opened the run.

        Raises:
            RunLostError: Somebody can, after a freeze that outlasted the lease.
        """
        if self._closed or self._lease.is_over(Moment.of(self.clock)):
            raise run_terms.over(self.terms)

    def renew(self, seconds: float) -> None:
        """Hold the run for longer, where nothing but this process itself ends the attempt.

        Raises:
            RunLostError, StoreError: It is not held any more, or nobody knows.
        """
        with self._lock:
            now = Moment.of(self.clock)
            until_ms = min(now.epoch_ms + round(seconds * 1_000), self._lease.held_until_ms)
            if until_ms > self._lease.until_ms:
                self._send([self._head({"leased_until": until_ms})])
                self._lease = self._lease._replace(until_ms=until_ms, at=now)

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
        intent = Put(self._generation(place, generation))
        try:
            self.refuse_unless_held()
            self._write(finished, [intent, Put(record)], {})
        except errors.WriteUncertainError:  # it may stand there: the end says that nobody was asked
            self.books.keep(place, generation._replace(state=run_books.FAILED))
            raise
        except BaseException:
            self.books.withdraw(place)
            raise
        self.books.wrote(place, generation)
        try:
            self.refuse_unless_held()  # the store may have taken its time
        except errors.RunLostError:
            self.books.keep(place, generation._replace(state=run_books.FAILED))
            raise

    def keep(self, place: Place, generation: Generation, *, deadline_ms: int) -> None:
        """Write what has come of a generation, over what was known of it before.

        Raises:
            StoreError: It could not be written.
        """
        before = Condition(
            equals={"call": generation.call_id}, at_most={"written": generation.written - 1}
        )
        item = self._generation(place, generation)
        try:  # noqa: SIM105 - contextlib costs 3 ms of a start
            self._store.put_if(Put(item, before), deadline_ms=deadline_ms)
        except errors.ConditionFailedError:
            pass  # more is known there already, or the run was deleted
        self.books.wrote(place, generation)

    def keep_unwritten(self, *, deadline_ms: int) -> None:
        """Write how this attempt's generations stand, under nobody's lease: they are its own.

        Raises:
            StoreError: It could not be written.
        """
        for place, generation in self.books.unwritten(self.terms.attempt):
            self.keep(place, generation, deadline_ms=deadline_ms)

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
            more.append(run_items.put_value(self._writing(), keys.OUTPUT, output))
        told = {call for step in finished for call in step.get("calls", ())}
        unwritten = self.books.unwritten(self.terms.attempt)
        answers = [(place, each) for place, each in unwritten if each.call_id not in told]
        more += [Put(self._generation(place, each)) for place, each in answers]
        at_ms = self.clock.epoch_ms()
        ends: dict[str, Value] = {
            "status": status, "error": error, "leased_until": 0, "at": at_ms
        }  # fmt: skip
        self._write(finished, more, ends)
        self._closed, self.ended_as = True, status
        self.records.let_go()
        for place, each in answers:
            self.books.wrote(place, each)
        self.keep_unwritten(deadline_ms=self.deadline_ms())  # what has come in between
        costs = self.books.costs()
        if self.resuming is not None:
            costs["resumed"] = self.resuming.end(status)
        return costs

    def keep_partials(self) -> None:
        """Write what has come of answers that are on their way, at once: the process is gone.

        Raises:
            StoreError: It could not be written.
        """
        self._note_open_answers()
        self.keep_unwritten(deadline_ms=self.deadline_ms())

    def release(self) -> None:
        """Let go of a run whose process is gone, and keep what the models had said.

        Raises:
            RunLostError, StoreError: As `intend`. What the models had said is kept all the same
                where another attempt has the run.
        """
        self._note_open_answers()
        try:
            if not self._closed:
                self.close("interrupted", [])
        except errors.RunLostError:
            self.keep_unwritten(deadline_ms=self.deadline_ms())
            raise
        self.keep_unwritten(deadline_ms=self.deadline_ms())

    def migrate(
        self, migration: Migration, version: str, declared: Sequence[tuple[str, str]]
    ) -> None:
        """Take finished steps over under their new names, and write which chain it goes on as.

        Steps that belong together move in one transaction, and the head says so at last: done
        again after a death in between, it goes on.

        Raises:
            RunLostError, StoreError: As `intend`; it can be done again.
        """
        with self._lock:
            for group in migration.groups(self._writing(), ACTIONS_MAX - 1):
                self._send([self._head({}), *group])
            text = plain_json.dumps(declared)
            self._send([self._head({"version": version, "declared": text})])
        migration.note(self.books)

    def abandon(self) -> None:
        """Do nothing more with it but keep what was said: another engine goes on.

        Raises:
            StoreError: That could not be written.
        """
        self._closed = True
        self.records.let_go()
        self.keep_partials()

    def _note_open_answers(self) -> None:
        for partial in self._open_answers():
            self.books.cut(partial.call_id, partial.answer.text)

    def _write(
        self, finished: Sequence[FinishedStep], more: Sequence[Action], assign: dict[str, Value]
    ) -> None:
        writing, attempt = self._writing(), self.terms.attempt
        steps = {step["key"]: step for step in reversed(finished)}  # the first of two of a key
        puts: list[Action] = [run_items.put_step(writing, each, attempt) for each in steps.values()]
        carried = self.records.take()
        more = [*more, *[Put(record) for record, _ in carried]]
        try:
            with self._lock:
                while len(puts) + len(more) >= ACTIONS_MAX:
                    room = ACTIONS_MAX - 1
                    batch, puts = puts[:room], puts[room:]
                    if not batch:
                        batch, more = [*more[:room]], more[room:]
                    steps |= self._store_once(batch, {})
                steps |= self._store_once([*puts, *more], assign)
        except BaseException:
            self.records.give_back(carried)
            raise
        self.books.finish(steps.values())

    def _store_once(
        self, actions: list[Action], assign: dict[str, Value]
    ) -> dict[str, FinishedStep]:
        """Write under the lease; return the steps that were stored before: they stay as they are.

        Those that an earlier run of this id has left, or a migration, are written over.
        """
        stored: dict[str, FinishedStep] = {}
        while True:
            if self._one_partition:
                actions = self._write_records(actions)
            steps = len([each for each in actions if _is_step(each)])
            try:
                self._send([self._head(assign, steps), *actions])
            except errors.OnePartitionError:
                self._one_partition = True
            except errors.ConditionFailedError as error:
                if not any(error.current[1:]):
                    raise
                actions, steps_there = run_items.what_is_left(
                    actions, error.current[1:], self.terms.life
                )
                stored |= steps_there
            else:
                return stored

    def _write_records(self, actions: Sequence[Action]) -> list[Action]:
        """Write the calls' own records, where that cannot be one transaction with the rest.

        They come first: a record without its intent in the run tells of a call that is not made.
        """
        own: list[Action] = []
        for action in actions:
            if isinstance(action, Put) and action.item.key.pk != self.terms.pk:
                self._store.put_if(action, deadline_ms=self.deadline_ms())
            else:
                own.append(action)
        return own

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
        terms = self.terms
        ours = Condition(equals={"life": terms.life, "attempt": terms.attempt, "status": "running"})
        if not assign and not steps:
            return Check(key, ours)
        add = {"steps": steps} if steps else {}
        return Add(key, add=add, assign=assign, expires_at=self._expires(), condition=ours)

    def _lost(self, head: Item | None) -> errors.RunLostError:
        self._closed = True
        self.records.let_go()
        return run_terms.lost(self.terms, head)

    def _wait(self, wait: Wait) -> Put:
        from lambdallm_extension.domain import fingerprints

        hashed = fingerprints.of_text(wait.get("secret", ""))
        return run_items.put_wait(self._writing(), wait, hashed)

    def _generation(self, place: Place, generation: Generation) -> Item:
        key = Key(self.terms.pk, keys.generation_sk(*place))
        writing = self._writing()
        return generation.to_item(key, writing.life, writing.at_ms, writing.expires_at)

    def _writing(self) -> run_items.Writing:
        terms = self.terms
        return run_items.Writing(terms.pk, terms.life, self.clock.epoch_ms(), self._outlives())

    def _expires(self) -> int:
        """Return when it is over: never while it is held, however short its time is."""
        until_ms = max(self.clock.epoch_ms(), self._lease.held_until_ms)
        return until_ms // 1_000 + self.terms.ttl_seconds

    def _outlives(self) -> int:
        """Return when what is written now may be deleted: the head lives no longer."""
        return self._expires() + self.terms.ttl_seconds


def _is_step(action: Action) -> bool:
    return isinstance(action, Put) and action.item.key.sk.startswith(keys.STEP_PREFIX)
