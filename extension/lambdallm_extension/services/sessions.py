"""One session of one unit of work: read beside the handler, written in whole exchanges.

    begin ──► read HEAD and the newest turns ──────────► window
    append ─► open the exchange (once) ─┐
    append ─► …answered ────────────────┴─► write its turns ─► save, end: wait for that

Opening is `transact{put EXCHANGE if absent, add 1 to HEAD}`, the addition pinned to the number
that was read, so that it hands out the exchange's own number; of two writers the second reads
the first one's number in the refusal and takes the next. An exchange's turns are written in one
transaction, and only by whoever holds the exchange: never half of one, never two mixed, and a
redelivered event finds it answered and writes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from lambdallm_extension import errors
from lambdallm_extension.domain import keys, memory
from lambdallm_extension.ports import ABSENT, PRESENT, Add, Condition, Key, Put
from lambdallm_extension.services import session_items
from lambdallm_extension.services.tasks import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Action, Clock, Item, Store, Value
    from lambdallm_extension.services.tasks import Task, Workers
    from lambdallm_wire.sessions import SessionRule, Turn, Window

OPEN_ATTEMPTS_MAX = 50
"""Writers that may win the number before us; each loss costs one round trip."""

TURNS_PER_TRANSACTION = 90
"""DynamoDB takes 100 actions in one; the exchange's own and some voids come with them."""

UNCERTAIN_RETRIES_MAX = 2
"""Before the store's own retries are trusted; an outage of seconds is longer than a handler."""


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
    """

    def __init__(  # noqa: PLR0913 - the ports it stands on
        self,
        rule: SessionRule,
        work_id: str,
        *,
        nonce: str,
        store: Store,
        workers: Workers,
        clock: Clock,
        deadline_ms: Callable[[], int],
    ) -> None:
        self._rule = rule
        self._work_id = work_id
        self._nonce = nonce
        self._store = store
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._pk = keys.session_pk(rule["session_id"])
        self._exchange_key = Key(self._pk, keys.exchange_sk(rule["identity"]))
        self._lane = Lane(workers)
        self._pending: list[Turn] = []
        self._metadata: dict[str, object] | None = None
        self._clear = False
        self._opened: _Opened | None = None
        self._opening = False
        self._written = 0
        self.read_ms: float | None = None
        self.save_ms: float | None = None
        self._head_task: Task[Item | None] = workers.start(self._read_head)
        self._read_task: Task[_Read] = workers.start(self._read)

    # Reading

    def _read_head(self) -> Item | None:
        return self._store.get(Key(self._pk, keys.HEAD), deadline_ms=self._deadline_ms())

    def _read(self) -> _Read:
        started = self._clock.monotonic()
        items = self._store.query(
            self._pk,
            keys.TURN_PREFIX,
            reverse=True,
            limit=memory.read_limit(self._rule["memory"]),
            deadline_ms=self._deadline_ms(),
        )
        head_item = self._head_task.wait(self._left())
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
        self.read_ms = (self._clock.monotonic() - started) * 1_000
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
        """Take turns. They are written as soon as the exchange is answered."""
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
                partial(self._write, batch, metadata if first else None, clear=clear and first)
            )

    def discard(self) -> None:
        """Forget turns that nobody answered: their event failed and will come again, or not."""
        self._pending = []
        self._metadata = None
        self._clear = False

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
        return self._opened.number if self._opened else 0

    def _left(self) -> float:
        return (self._deadline_ms() - self._clock.epoch_ms()) / 1_000

    def _open(self) -> None:
        head = self._read_task.wait(self._left()).head
        for _ in range(OPEN_ATTEMPTS_MAX):
            token = session_items.token(self._nonce, head.next_exchange)
            try:
                self._transact(self._opening_actions(head), token)
            except errors.ConditionFailedError as refusal:
                exchange, head_item = refusal.current
                head = self._as_it_stands(head, head_item)
                if exchange is not None:
                    taken = session_items.read_exchange(exchange)
                    if taken.number >= head.first_exchange:
                        self._opened = _Opened(taken.number, taken.turns, mine=not taken.answered)
                        return
                    head = head._replace(stale_exchange=taken.number)
            else:
                self._opened = _Opened(head.next_exchange, 0, mine=True)
                self._extend(head)
                return
        message = "Too many writers in this session at once. Nothing was written; try again."
        raise errors.StoreUnavailableError(message)

    def _as_it_stands(self, head: session_items.Head, item: Item | None) -> session_items.Head:
        """Return the head that refused us, or the one we read: then it is still the same."""
        if item is None:
            return head
        now = self._clock.epoch_ms() // 1_000
        return session_items.read_head(item, now=now, last_exchange=head.next_exchange - 1)

    def _opening_actions(self, head: session_items.Head) -> list[Action]:
        now = self._clock.epoch_ms() // 1_000
        ttl = self._rule["ttl_seconds"]
        exchange = session_items.exchange_item(
            self._exchange_key,
            number=head.next_exchange,
            writer=self._work_id,
            expires_at=now + 2 * ttl,
        )
        condition = ABSENT
        if head.stale_exchange is not None:
            condition = Condition(equals={"number": head.stale_exchange})
        return [
            Put(exchange, condition),
            session_items.count_exchange(Key(self._pk, keys.HEAD), head, expires_at=now + ttl),
        ]

    def _extend(self, head: session_items.Head) -> None:
        """Let the turns that were read outlive the head, at most once in a period."""
        if head.version == 0:
            return
        now = self._clock.epoch_ms() // 1_000
        ttl = self._rule["ttl_seconds"]
        for key in self._read_task.wait(0).expiring(now + ttl):
            add = Add(key, expires_at=now + 2 * ttl, condition=PRESENT)
            try:
                self._store.add_if(add, deadline_ms=self._deadline_ms())
            except errors.ConditionFailedError:
                continue  # the store deleted it since it was read: there is nothing to extend

    def _write(self, turns: list[Turn], metadata: dict[str, object] | None, *, clear: bool) -> None:
        opened = self._opened
        if opened is None or not opened.mine:
            return  # a redelivery: the exchange stands, answered by its first delivery
        first = 0 if clear else self._written
        last = first + len(turns)
        actions: list[Action] = []
        if turns or (clear and opened.turns):
            actions = self._turn_actions(opened, turns, first)
        if metadata is not None or clear:
            actions.append(
                session_items.change_head(
                    Key(self._pk, keys.HEAD),
                    metadata=metadata,
                    first_exchange=opened.number if clear else None,
                )
            )
        token = session_items.token(self._nonce, opened.number, last, len(actions), clear)
        try:
            self._transact(actions, token)
        except errors.ConditionFailedError as refusal:
            if not self._was_applied(refusal, last):
                self._opened = opened._replace(mine=False)
                return
        self._written = last
        self._opened = _Opened(opened.number, last, mine=True)

    def _turn_actions(self, opened: _Opened, turns: list[Turn], first: int) -> list[Action]:
        """Begin with the exchange itself: it refuses everything when it is no longer ours."""
        expires_at = self._clock.epoch_ms() // 1_000 + 2 * self._rule["ttl_seconds"]
        assign: dict[str, Value] = {
            "turns": first + len(turns),
            "writer": self._work_id,
            "answered": memory.is_answered(turns),
        }
        condition = Condition(equals={"number": opened.number, "turns": opened.turns})
        return [
            Add(self._exchange_key, assign=assign, expires_at=expires_at, condition=condition),
            *session_items.turn_puts(
                self._pk,
                opened.number,
                self._rule["identity"],
                turns,
                first=first,
                replaced=opened.turns,
                expires_at=expires_at,
            ),
        ]

    def _was_applied(self, refusal: errors.ConditionFailedError, turns: int) -> bool:
        """Say whether the refusal comes from our own write, whose answer was lost."""
        item = refusal.current[0]
        if item is None or not item.key.sk.startswith("EXCHANGE#"):
            return False
        exchange = session_items.read_exchange(item)
        return exchange.writer == self._work_id and exchange.turns == turns

    def _transact(self, actions: list[Action], token: str) -> None:
        """Send a transaction until its fate is known: under one token it is done once."""
        for _ in range(UNCERTAIN_RETRIES_MAX):
            try:
                self._store.transact(actions, token=token, deadline_ms=self._deadline_ms())
            except errors.WriteUncertainError:
                continue
            return
        self._store.transact(actions, token=token, deadline_ms=self._deadline_ms())
