"""One session of one unit of work: read beside the handler, written in whole exchanges.

    begin ──► read HEAD and the newest turns ──────────► window
    append ─► open the exchange (once) ─┐
    append ─► …answered ────────────────┴─► write its turns ─► save, end: wait for that
    after_response: nothing of this before `end`, which opens and writes in one transaction; what
    does not fit into one, or has no answer in it, is waited for all the same

Opening is `transact{put EXCHANGE if absent, add 1 to HEAD}`, the addition pinned to the number
that was read, so that it hands out the exchange's own number; of two writers the second reads
the first one's number in the refusal and takes the next (`services.exchanges`).
"""

from __future__ import annotations

import time
from functools import partial

from lambdallm_extension import errors
from lambdallm_extension.domain import keys, memory
from lambdallm_extension.domain.metadata_changes import MetadataChange
from lambdallm_extension.ports import PRESENT, Add
from lambdallm_extension.services import window_room
from lambdallm_extension.services.exchange_writes import TURNS_PER_TRANSACTION
from lambdallm_extension.services.exchanges import ExchangeWriter
from lambdallm_extension.services.recent_sessions import RecentSessions
from lambdallm_extension.services.seen_exchanges import SeenExchanges, VainWaits
from lambdallm_extension.services.session_reads import LongSessions, SessionReader
from lambdallm_extension.services.tasks import Deferred, Lane

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lambdallm_extension.ports import Clock, Store
    from lambdallm_extension.services.recollection import Known, Recollection
    from lambdallm_extension.services.session_reads import SessionRead
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.sessions import Receipt, SessionRule, Turn, Window

PENDING_TURNS_MAX = 10_000
"""Of one unit of work, not answered yet: they are in memory until then."""


class SessionWork:
    """A session within one unit of work. Calls come from one handler, in order.

    `nonce` names this object among all that ever were: transactions are named after it.
    `continues` is the nonce of one whose unit of work goes on here, "" mostly. `deferred`: somebody
    comes for the window at once, and reads it on his own thread. `long_sessions` is what is known
    of the session's length, `recent_sessions` what is kept of it, `vain_waits` where it was
    waited for what did not come. `recollect` begins to read what
    its memory keeps beside the turns. `log` takes a sentence for whoever operates the function.
    """

    def __init__(  # noqa: PLR0913 - what a unit of work is made of
        self,
        rule: SessionRule,
        *,
        nonce: str,
        store: Store,
        workers: Workers,
        clock: Clock,
        deadline_ms: Callable[[], int],
        continues: str = "",
        long_sessions: LongSessions | None = None,
        recent_sessions: RecentSessions | None = None,
        vain_waits: VainWaits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        deferred: bool = False,
        recollect: Callable[[Store], Recollection] | None = None,
        log: Callable[[str], None] = lambda _sentence: None,
    ) -> None:
        self._rule = rule
        self._store = store
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._pk = keys.session_pk(rule["session_id"], rule.get("principal", ""))
        self._exchange = ExchangeWriter(
            rule, nonce, store=store, clock=clock, deadline_ms=deadline_ms, continues=continues
        )
        self._log = log
        self._lane = Lane(workers)
        self._upkeep = Lane(workers)
        self._pending: list[Turn] = []
        self._answered = 0
        self._metadata: MetadataChange | None = None
        self._clear = False
        self._opening = False
        self._closed = False
        self.save_ms: float | None = None
        self._recent = RecentSessions() if recent_sessions is None else recent_sessions
        self._reader = SessionReader(
            rule,
            store,
            workers,
            clock,
            long_sessions=long_sessions or LongSessions(),
            recent_sessions=self._recent,
            seen_exchanges=SeenExchanges(
                rule,
                store,
                clock,
                vain_waits=vain_waits or VainWaits(),
                deadline_ms=deadline_ms,
                sleep=sleep,
            ),
            deadline_ms=deadline_ms,
        )
        read = partial(self._reader.read, rule.get("after"))
        self._read_task = Deferred(read) if deferred else workers.start(read)
        self._workers = workers
        self._cleared = False
        self._recollection = None if recollect is None else recollect(store)

    # Reading

    def window(self, after: Receipt | None = None, question: str = "") -> Window:
        """Return what the handler sees, waiting for the read that `begin` has started.

        Args:
            after: What the handler has been told of: it is read again, and is there.
            question: What it is about to ask, "" where it did not say.

        Raises:
            StoreError: The read failed; nothing is known about the session.
        """
        if after is not None:
            self._read_task = Deferred(partial(self._reader.read, after))
        found = self._found()
        turns, cut = self._seen(found, question), found.cut
        recalls = self._recollection is not None
        if recalls or found.size * window_room.BYTES_MAX_PER_SIZE > window_room.WINDOW_MAX_BYTES:
            fitting = window_room.fitting(turns)
            cut = cut or len(fitting) < len(turns)
            turns = fitting
        if self._recollection is not None and self._recollection.cut:
            cut = True
        if cut:
            self._log(
                f"The window of event {self._rule['identity']!r} was cut to its newest "
                f"{len(turns)} messages, because more of them do not fit into this function's "
                "memory, or one reply: let the session's memory keep fewer messages, keep large "
                "ones elsewhere, or give the function more memory."
            )
        return {
            "session_id": self._rule["session_id"],
            "version": found.head.version,
            "turns": turns,
            "metadata": found.head.metadata,
        }

    def _seen(self, found: SessionRead, question: str) -> list[Turn]:
        """Return the newest turns, and what the session's memory brings back."""
        rule = self._rule
        if self._recollection is None:
            if not found.head.fixed:
                return memory.select(found.stored, rule["memory"], own_identity=rule["identity"])
            from lambdallm_extension.services.recollection import Recollection

            self._recollection = Recollection(
                rule,
                store=self._store,
                workers=self._workers,
                clock=self._clock,
                deadline_ms=self._deadline_ms,
            )
        return self._recollection.turns(found, question)

    def remembered(self) -> Known | None:
        """Return what is known now, for its memory; None where that is not to change.

        After `save`. An exchange that another delivery has written is that one's to remember; turns
        that were not read are not summed up.
        """
        own = self._exchange.kept()
        if self._recollection is None or own is None or self._cleared:
            return None
        found = self._found()
        return None if found.cut else self._recollection.known(found, own)

    # Writing

    def append(
        self,
        turns: list[Turn],
        *,
        metadata: dict[str, object] | None,
        clear: bool,
        metadata_keys: Iterable[str] | None = None,
        metadata_defaults: Iterable[str] = (),
    ) -> None:
        """Take turns. They are written as soon as the exchange is answered, or after the response.

        Args:
            turns: In order.
            metadata: What the session's metadata is now, None where nothing of it has changed.
            clear: Forget all earlier exchanges first.
            metadata_keys: The keys of it that were set or removed; None: all of it is replaced.
            metadata_defaults: Those of these that yield to what is stored.

        Raises:
            InvalidRequestError: The unit of work has ended, or has too much to say. Nothing of
                this was taken.
        """
        if self._closed:
            message = "The unit of work has ended; what is said now would not be kept."
            raise errors.InvalidRequestError(message)
        if len(self._pending) + len(turns) > PENDING_TURNS_MAX:
            message = f"More than {PENDING_TURNS_MAX} turns without an answer; save them first."
            raise errors.InvalidRequestError(message)
        before = self._pending, self._answered, self._metadata, self._clear, self._cleared
        try:
            self._take(turns, clear=clear)
            if metadata is not None:
                keys = None if metadata_keys is None else frozenset(metadata_keys)
                defaults = (keys or frozenset()).intersection(metadata_defaults)
                change = MetadataChange(metadata, keys, defaults)
                self._metadata = change if self._metadata is None else self._metadata.then(change)
            self._begin_writing(clear=clear)
        except errors.OverloadedError:
            self._pending, self._answered, self._metadata, self._clear, self._cleared = before
            raise

    def _take(self, turns: list[Turn], *, clear: bool) -> None:
        if clear:
            self._clear = self._cleared = True
            self._pending, self._answered = [], 0
        self._pending = [*self._pending, *turns]

    def _begin_writing(self, *, clear: bool) -> None:
        if self.waits and not self._opening:
            self._lane.add(self._open)
            self._opening = True
        if memory.is_answered(self._pending) and not clear:
            self._answered = len(self._pending)
            if self.waits or self._answered >= TURNS_PER_TRANSACTION:
                self.flush()

    def flush(self) -> None:
        """Start writing what was taken, answered or not.

        Raises:
            OverloadedError: There is no thread for it; it is still to be written.
        """
        pending, metadata, clear = self._pending, self._metadata, self._clear
        if not (pending or metadata is not None or clear):
            return
        write = self._write if self._opening else self._open_with
        self._lane.add(partial(write, pending, metadata, clear=clear))
        self._opening = True
        self._pending, self._answered, self._metadata, self._clear = [], 0, None, False

    def fail(self) -> None:
        """After a failed event: forget what nobody answered, and let a retry say the rest anew."""
        self._pending = self._pending[: self._answered]
        if self._pending:
            self.flush()
        self._metadata = None
        self._clear = False
        if self._opening:
            self._lane.add(self._exchange.reopen)

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True

    @property
    def may_answer_first(self) -> bool:
        """Whether the response may leave before the store has confirmed: a reader can tell then.

        It looks for the answered exchange, which has to come whole, with all that belongs to it.
        """
        if self.waits or self._opening:
            return False
        if not self._pending:
            return self._metadata is None and not self._clear
        return self._answered == len(self._pending) <= TURNS_PER_TRANSACTION

    @property
    def waits(self) -> bool:
        """Whether the handler's answer waits for the store."""
        return self._rule["durability"] == "before_response"

    @property
    def read_ms(self) -> float | None:
        """How long the read took, None before it is done."""
        return self._reader.took_ms

    def save(self, seconds: float) -> int:
        """Wait until the store has confirmed everything, and return the session's version.

        Raises:
            StoreError: It was refused, or nobody knows; the message says which.
        """
        self.flush()
        started = self._clock.monotonic()
        try:
            self._lane.wait(seconds)
        except errors.DeadlineError:
            message = (
                f"The store has not confirmed within {max(0.0, seconds):.1f} s what this event "
                f"said in session {self._rule['session_id']!r}: it may have been written."
            )
            raise errors.WriteUncertainError(message) from None
        self.save_ms = (self.save_ms or 0.0) + (self._clock.monotonic() - started) * 1_000
        own = self._exchange.kept() if self._closed else None
        if own is not None:
            self._recent.wrote(self._pk, own)
        return self.version

    @property
    def version(self) -> int:
        """Number of this unit's own exchange, 0 while none is open."""
        return self._exchange.number

    def _found(self) -> SessionRead:
        try:
            return self._read_task.wait(self._left())
        except errors.DeadlineError as error:
            message = f"Session {self._rule['session_id']!r} was not read in time. {error.detail}"
            raise errors.StoreUnavailableError(message) from None

    def _left(self) -> float:
        return (self._deadline_ms() - self._clock.epoch_ms()) / 1_000

    def _open(
        self,
        turns: Sequence[Turn] = (),
        metadata: MetadataChange | None = None,
        *,
        clear: bool = False,
    ) -> None:
        found = self._found()
        self._exchange.open(found.head, turns, metadata, clear=clear)
        if found.head.version:
            self._upkeep.add(self._extend)

    def _open_with(
        self, turns: Sequence[Turn], metadata: MetadataChange | None, *, clear: bool
    ) -> None:
        """Open and write, in one transaction if all of it fits into one."""
        if len(turns) <= TURNS_PER_TRANSACTION:
            self._open(turns, metadata, clear=clear)
        else:
            self._open()
            self._write(turns, metadata, clear=clear)

    def _write(
        self, turns: Sequence[Turn], metadata: MetadataChange | None, *, clear: bool
    ) -> None:
        if self._exchange.write(turns, metadata, clear=clear):
            self._upkeep.add(self._extend)

    def _extend(self) -> None:
        """Let the turns that were read, and our own, outlive the head, at most once in a period.

        Beside the handler, and waited for by nobody: the next exchange does it if this one fails.
        """
        now = self._clock.epoch_ms() // 1_000
        ttl = self._rule["ttl_seconds"]
        until = now + 2 * ttl
        read = self._found().take_expiring(now + ttl, until)
        for key in [*read, *self._exchange.expiring(now + ttl)]:
            add = Add(key, expires_at=until, condition=PRESENT)
            try:
                self._store.add_if(add, deadline_ms=self._deadline_ms())
            except errors.ConditionFailedError:
                continue  # the store deleted it since it was read: there is nothing to extend
