"""Writing one exchange: opened once, written in transactions, taken over, never mixed.

    open ──► mine ──► write ──► write … ──► (the event failed) reopen
      │        ▲  └─ refused: another delivery of the event was first
      │        │        answered     ► not mine: what we say is dropped
      │        └─────── not answered ► take it over, all we said again
      └─ it stands already: answered ► not mine; not answered ► mine

Every write has one condition: the exchange stands as we last saw it, by number of turns and by
writer. So of two deliveries that both hold it, one write wins, and the other one learns of it.

A write on an exchange that has turns already, or that another writer has opened, may change what
somebody has seen, and counts as a rewrite in the head, in the same transaction: so a reader knows
by the head alone whether turns that it has kept still stand (`services.recent_sessions`). Most
exchanges get all their turns at once.

What does not fit into one transaction is written in several, and counts as answered with the last
of them: a delivery that dies in between has left a question, which its retry takes over.

A unit of work that moves from a lost engine to another one is a single delivery with two writers:
the second `continues` the first. It is told all that was said, and replaces even an answer of the
first one; that one may come to life again, and is then refused.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import memory
from lambdallm_extension.services import hidden_sessions, session_heads, session_items
from lambdallm_extension.services.exchange_writes import (
    TURNS_PER_TRANSACTION,
    ExchangeWrites,
    Held,
    Step,
)
from lambdallm_extension.services.write_attempts import WriteAttempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.domain.metadata_changes import MetadataChange
    from lambdallm_extension.ports import Clock, Item, Key, Put, Store
    from lambdallm_wire.sessions import SessionRule, Turn

TAKE_OVERS_MAX = 8
"""Deliveries of one event at once that may be first; more than two have never been heard of."""


class Own(NamedTuple):
    """An exchange that one unit of work has written whole.

    `born` is what the session counts its rewrites from, if this exchange began it.
    """

    number: int
    items: list[Item]
    born: int | None


class ExchangeWriter:
    """Writes the exchange of one event, for one unit of work. Not for two threads at once.

    `nonce` names this object among all that ever were: an event that is delivered twice has one
    identity and one request id, but two writers.
    """

    def __init__(
        self,
        rule: SessionRule,
        nonce: str,
        *,
        store: Store,
        clock: Clock,
        deadline_ms: Callable[[], int],
        continues: str = "",
    ) -> None:
        self._nonce = nonce
        self._continues = continues
        self._clock = clock
        self._writes = ExchangeWrites(rule, nonce)
        self._attempts = WriteAttempts(nonce, store=store, clock=clock, deadline_ms=deadline_ms)
        self._head: session_items.Head | None = None
        self._held: Held | None = None
        self._mine = False
        self._said: list[Turn] = []
        self._outlives = 0
        self._born: int | None = None
        self._take_overs = 0

    @property
    def number(self) -> int:
        """The exchange's number, 0 before it is open."""
        return self._held.number if self._held else 0

    def open(
        self,
        head: session_items.Head,
        turns: Sequence[Turn] = (),
        metadata: MetadataChange | None = None,
        *,
        clear: bool = False,
    ) -> None:
        """Take the exchange that stands under the event's identity, or the next number.

        Args:
            head: As it was read.
            turns: Written with it, at most `TURNS_PER_TRANSACTION`.
            metadata: Written with it.
            clear: Hide what came before it.

        Raises:
            StoreError: Nothing was written.
        """
        while True:
            at = self._clock.epoch_ms()
            counted = self._writes.counting(head, turns, metadata, clear=clear, at=at)
            try:
                self._attempts.send(self._writes.opening(head, counted, turns, at=at))
            except errors.ConditionFailedError as refusal:
                item, head_item = refusal.current[:2]
                if head.version and hidden_sessions.is_deleted(head_item):
                    raise _deleted() from None
                head = self._as_it_stands(head, head_item)
                if item is not None:
                    taken = session_items.read_exchange(item)
                    if head.holds(taken, item.expires_at, now=self._now()):
                        self._head, self._held = head, Held(*taken)
                        self._mine = self._may_write(self._held) or taken.writer == self._nonce
                        if turns or metadata is not None or clear:
                            self.write(turns, metadata, clear=clear)
                        return
                    head = head._replace(stale=taken)
            else:
                answered = memory.is_answered(turns)
                self._held = Held(head.next_exchange, len(turns), self._nonce, answered)
                self._mine = True
                self._said, self._outlives = [*turns], self._writes.outlives(at)
                if head.version == 0:
                    self._born = self._writes.birth
                self._head = session_heads.after(head, counted)
                return
            self._attempts.lost()

    def write(self, turns: Sequence[Turn], metadata: MetadataChange | None, *, clear: bool) -> bool:
        """Write turns behind those written before; the head's changes come with the first ones.

        Returns:
            Whether the session's expiry was moved.

        Raises:
            StoreError: The turns of the transaction that failed, and those behind, were not
                written. The exchange is not answered then.
        """
        left, moved, self._take_overs = [*turns], False, 0
        if clear:
            self._said = []
        while left or metadata is not None or clear:
            held, head = self._held, self._head
            if held is None or head is None or not self._mine:
                break  # a redelivery: the exchange stands, answered by another delivery
            clear = clear and head.first_exchange <= held.number
            if held.writer != self._nonce or clear:
                left, self._said = [*self._said, *left], []
            step = self._step(held, left, metadata, clear=clear)
            has_moved = self._do(step, head)
            if has_moved is None:
                self._attempts.lost()
                continue
            moved = moved or has_moved
            left, metadata, clear = left[len(step.batch) :], None, False
        return moved

    def reopen(self) -> None:
        """After a failed event: let its next delivery say it all again, in the same place."""
        held = self._held
        if held is None or not self._mine or held.writer != self._nonce or not held.answered:
            return
        try:
            self._attempts.send(self._writes.reopening(held))
        except errors.ConditionFailedError:
            self._mine = False  # another delivery has taken it over, which is as good
        else:
            self._held = held._replace(answered=False)

    def kept(self) -> Own | None:
        """Return the exchange as it stands in the store, None unless all of it is ours."""
        held = self._held
        if held is None or not self._mine or held.writer != self._nonce:
            return None
        if not held.answered or held.turns != len(self._said):
            return None
        return Own(held.number, [put.item for put in self._own_turns(held)], self._born)

    def expiring(self, epoch_seconds: int) -> list[Key]:
        """Return the exchange's own turns, if one of them may expire before then."""
        held = self._held
        if held is None or not self._said or self._outlives >= epoch_seconds:
            return []
        return [put.item.key for put in self._own_turns(held)]

    def _own_turns(self, held: Held) -> list[Put]:
        return self._writes.turns(held.number, self._said, first=0, expires_at=self._outlives)

    def _step(
        self,
        held: Held,
        left: Sequence[Turn],
        metadata: MetadataChange | None,
        *,
        clear: bool,
    ) -> Step:
        """Return the next write: as much of what is left as a transaction takes."""
        batch = left[:TURNS_PER_TRANSACTION]
        said = [*self._said, *batch]
        answered = memory.is_answered(batch) and len(batch) == len(left)
        if not batch:
            answered = held.answered and not clear and held.writer == self._nonce
        wrote = Held(held.number, len(said), self._nonce, answered)
        return Step(held, wrote, said, batch, metadata, clear)

    def _do(self, step: Step, head: session_items.Head) -> bool | None:
        """Write a step; return whether it moved the session's expiry, None if it was refused."""
        at = self._clock.epoch_ms()
        actions, changed = self._writes.going_on(step, head, at=at)
        try:
            if step.batch or step.clear:
                for earlier in self._writes.blanking_before(step, len(actions), at=at):
                    self._attempts.send(earlier)
                actions += self._writes.blanking(step, len(actions), at=at)
            if actions:
                self._attempts.send(actions)
        except errors.ConditionFailedError as refusal:
            self._learn(refusal, step.wrote)
            if self._held != step.wrote or step.wrote == step.held:
                return None
        if step.batch or step.clear:
            until = self._writes.outlives(at)
            again = len(step.said) == len(step.batch)
            self._outlives = until if again else min(self._outlives, until)
            self._held, self._said = step.wrote, [*step.said]
        if changed is None:
            return False
        self._head = session_heads.after(head, changed)
        return changed.expires_at is not None

    def _may_write(self, held: Held) -> bool:
        """Say whether an exchange that somebody else has written is ours to write anew."""
        return not held.answered or held.writer == self._continues != ""

    def _now(self) -> int:
        return self._clock.epoch_ms() // 1_000

    def _as_it_stands(self, head: session_items.Head, item: Item | None) -> session_items.Head:
        """Return the head that refused us, or the one we read: then it is still the same."""
        if item is None:
            return head
        return session_items.read_head(item, now=self._now(), last_exchange=head.next_exchange - 1)

    def _learn(self, refusal: errors.ConditionFailedError, wrote: Held) -> None:
        """Take in why a write was refused.

        Raises:
            StoreRefusedError: The session expired, and somebody has begun it anew.
            StoreUnavailableError: It is gone, or too many deliveries want the exchange.
        """
        refused_by = [item for item in refusal.current if item is not None]
        for item in refused_by:
            if item.key == self._writes.key:
                self._held = Held(*session_items.read_exchange(item))
                self._mine = self._may_write(self._held) or self._held == wrote
                self._take_overs += 1
            else:
                self._learn_head(item)
        if not refused_by:
            raise _deleted()  # some time ago, or moved to another id
        if self._take_overs > TAKE_OVERS_MAX:
            raise _contested()

    def _learn_head(self, item: Item) -> None:
        if hidden_sessions.is_deleted(item):
            raise _deleted()
        before, number = self._head, self.number
        self._head = session_items.read_head(item, now=0, last_exchange=number)
        was_over = before is not None and (before.expires_at or 0) <= self._now()
        if was_over and self._head.first_exchange > number:
            raise _expired()  # somebody has begun the session anew


def _contested() -> errors.StoreUnavailableError:
    message = "Too many deliveries of this event at once; what it said was not stored."
    return errors.StoreUnavailableError(message)


def _expired() -> errors.StoreRefusedError:
    message = "The session expired while it was in use. Nothing was written; start a new one."
    return errors.StoreRefusedError(message)


def _deleted() -> errors.StoreUnavailableError:
    return errors.StoreUnavailableError(
        "The session was deleted or moved while this event was being handled. Nothing was written; "
        "what the event says when it comes again begins a new session."
    )
