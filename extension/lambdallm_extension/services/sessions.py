"""One session of one unit of work: read beside the handler, written in whole exchanges.

    begin ──► read HEAD and the newest turns ──────────► window
    append ─► open the exchange (once) ─┐
    append ─► …answered ────────────────┴─► write its turns ─► save, end: wait for that

Opening is `transact{put EXCHANGE if absent, add 1 to HEAD}`, the addition pinned to the number
that was read, so that it hands out the exchange's own number; of two writers the second reads
the first one's number in the refusal and takes the next (`services.exchanges`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lambdallm_extension import errors
from lambdallm_extension.domain import keys, memory
from lambdallm_extension.ports import PRESENT, Add, Key
from lambdallm_extension.services import session_items
from lambdallm_extension.services.exchanges import TURNS_PER_TRANSACTION, ExchangeWriter
from lambdallm_extension.services.tasks import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Clock, Item, Store
    from lambdallm_extension.services.tasks import Task, Workers
    from lambdallm_wire.sessions import SessionRule, Turn, Window

PENDING_TURNS_MAX = 10_000
"""Of one unit of work, not answered yet: they are in memory until then."""

READ_MORE = 4
"""How many times more is read when a window is not full: a long exchange of its own stood there."""


class _Read(NamedTuple):
    head: session_items.Head
    stored: list[memory.StoredTurn]
    expiries: list[tuple[Key, int]]

    def expiring(self, epoch_seconds: int) -> list[Key]:
        """Return the turns that expire before then."""
        return [key for key, expires_at in self.expiries if expires_at < epoch_seconds]


class _Opened(NamedTuple):
    number: int
    turns: int
    """Turns that stand under this number in the store."""
    mine: bool
    """Whether this unit of work writes it; False once somebody else has answered it."""


class SessionWork:
    """A session within one unit of work. Calls come from one handler, in order.

    `nonce` names this object among all that ever were: transactions are named after it.
    `continues` is the nonce of one whose unit of work goes on here, "" mostly.
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
    ) -> None:
        self._rule = rule
        self._store = store
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._pk = keys.session_pk(rule["session_id"])
        self._exchange = ExchangeWriter(
            rule, nonce, store=store, clock=clock, deadline_ms=deadline_ms, continues=continues
        )
        self._lane = Lane(workers)
        self._upkeep = Lane(workers)
        self._pending: list[Turn] = []
        self._metadata: dict[str, object] | None = None
        self._clear = False
        self._opening = False
        self._closed = False
        self.read_ms: float | None = None
        self.save_ms: float | None = None
        self._head_task: Task[Item | None] = workers.start(self._read_head)
        self._read_task: Task[_Read] = workers.start(self._read)

    # Reading

    def _read_head(self) -> Item | None:
        return self._store.get(Key(self._pk, keys.HEAD), deadline_ms=self._deadline_ms())

    def _read(self) -> _Read:
        started = self._clock.monotonic()
        rule, own = self._rule["memory"], self._rule["identity"]
        limit = memory.read_limit(rule)
        while True:
            items = self._store.query(
                self._pk,
                keys.TURN_PREFIX,
                reverse=True,
                limit=limit,
                deadline_ms=self._deadline_ms(),
            )
            found = self._readable(items, self._head_task.wait(self._left()))
            if limit is None or len(items) < limit or memory.fills(found.stored, rule, own):
                break
            limit *= READ_MORE
        self.read_ms = (self._clock.monotonic() - started) * 1_000
        return found

    def _readable(self, items: list[Item], head_item: Item | None) -> _Read:
        """Leave out what is expired, cleared or void."""
        now = self._clock.epoch_ms() // 1_000
        turns = [session_items.read_turn(item) for item in items]
        last = max((turn.exchange for turn in turns), default=0)
        head = session_items.read_head(head_item, now=now, last_exchange=last)
        readable = [
            (turn, item)
            for turn, item in zip(turns, items, strict=True)
            if turn.exchange >= head.first_exchange
            and (item.expires_at is None or item.expires_at > now)
            and not session_items.is_void(item)
        ]
        return _Read(
            head,
            [turn for turn, _ in readable],
            [(item.key, item.expires_at) for _, item in readable if item.expires_at is not None],
        )

    def window(self) -> Window:
        """Return what the handler sees, waiting for the read that `begin` has started.

        Raises:
            StoreError: The read failed; nothing is known about the session.
        """
        head, stored, _ = self._read_task.wait(self._left())
        return {
            "session_id": self._rule["session_id"],
            "version": head.version,
            "turns": memory.select(
                stored, self._rule["memory"], own_identity=self._rule["identity"]
            ),
            "metadata": head.metadata,
        }

    # Writing

    def append(self, turns: list[Turn], *, metadata: dict[str, object] | None, clear: bool) -> None:
        """Take turns. They are written as soon as the exchange is answered.

        Raises:
            InvalidRequestError: The unit of work has ended.
        """
        if self._closed:
            message = "The unit of work has ended; what is said now would not be kept."
            raise errors.InvalidRequestError(message)
        if len(self._pending) + len(turns) > PENDING_TURNS_MAX:
            message = f"More than {PENDING_TURNS_MAX} turns without an answer; save them first."
            raise errors.InvalidRequestError(message)
        if clear:
            self._clear = True
            self._pending = []
        self._pending += turns
        if metadata is not None:
            self._metadata = metadata
        if not self._opening:
            self._opening = True
            self._lane.add(self._open)
        if memory.is_answered(self._pending) and not clear:
            self.flush()

    def flush(self) -> None:
        """Start writing what was taken, answered or not."""
        if not (self._pending or self._metadata is not None or self._clear):
            return
        pending, self._pending = self._pending, []
        metadata, self._metadata = self._metadata, None
        clear, self._clear = self._clear, False
        for start in range(0, max(1, len(pending)), TURNS_PER_TRANSACTION):
            batch = pending[start : start + TURNS_PER_TRANSACTION]
            first = start == 0
            self._lane.add(
                partial(
                    self._exchange.write,
                    batch,
                    metadata if first else None,
                    clear=clear and first,
                )
            )

    def fail(self) -> None:
        """After a failed event: forget what nobody answered, and let a retry say the rest anew."""
        self._pending = []
        self._metadata = None
        self._clear = False
        if self._opening:
            self._lane.add(self._exchange.reopen)

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True

    @property
    def waits(self) -> bool:
        """Whether the handler's answer waits for the store."""
        return self._rule["durability"] == "before_response"

    def save(self, seconds: float) -> int:
        """Wait until the store has confirmed everything, and return the session's version.

        Raises:
            StoreError: It was refused, or nobody knows; the message says which.
            DeadlineError: It is still under way.
        """
        self.flush()
        started = self._clock.monotonic()
        self._lane.wait(seconds)
        self.save_ms = (self.save_ms or 0.0) + (self._clock.monotonic() - started) * 1_000
        return self.version

    @property
    def version(self) -> int:
        """Number of this unit's own exchange, 0 while none is open."""
        return self._exchange.number

    def _left(self) -> float:
        return (self._deadline_ms() - self._clock.epoch_ms()) / 1_000

    def _open(self) -> None:
        found = self._read_task.wait(self._left())
        self._exchange.open(found.head)
        if found.head.version:
            self._upkeep.add(partial(self._extend, found))

    def _extend(self, found: _Read) -> None:
        """Let the turns that were read outlive the head, at most once in a period.

        Beside the handler, and waited for by nobody: the next exchange does it if this one fails.
        """
        now = self._clock.epoch_ms() // 1_000
        ttl = self._rule["ttl_seconds"]
        for key in found.expiring(now + ttl):
            add = Add(key, expires_at=now + 2 * ttl, condition=PRESENT)
            try:
                self._store.add_if(add, deadline_ms=self._deadline_ms())
            except errors.ConditionFailedError:
                continue  # the store deleted it since it was read: there is nothing to extend
