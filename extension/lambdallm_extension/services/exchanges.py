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

A unit of work that moves from a lost engine to another one is a single delivery with two writers:
the second `continues` the first. It is told all that was said, and replaces even an answer of the
first one; that one may come to life again, and is then refused.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import fixed_turns, keys, memory
from lambdallm_extension.ports import ABSENT, Add, Check, Condition, Key, Put
from lambdallm_extension.services import hidden_sessions, session_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.ports import Action, Clock, Item, Store, Value
    from lambdallm_wire.sessions import SessionRule, Turn

OPEN_ATTEMPTS_MAX = 50
"""Writers that may win the number before us; each loss costs one round trip."""

TAKE_OVERS_MAX = 8
"""Deliveries of one event at once that may be first; more than two have never been heard of."""

ACTIONS_MAX = 100
"""In one transaction. Source: DynamoDB API reference, "TransactWriteItems", 2026-10."""

TURNS_PER_TRANSACTION = 90
"""Of these; those on the exchange and the head come with them."""

UNCERTAIN_RETRIES_MAX = 2
"""On top of the store's own retries: under its token a transaction is done once."""


class _Held(NamedTuple):
    """The exchange as we last saw it."""

    number: int
    turns: int
    writer: str
    answered: bool


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
        self._rule = rule
        self._nonce = nonce
        self._continues = continues
        self._store = store
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._pk = keys.session_pk(rule["session_id"], rule.get("principal", ""))
        self._head_key = Key(self._pk, keys.HEAD)
        self._key = Key(self._pk, keys.exchange_sk(rule["identity"]))
        self._held: _Held | None = None
        self._mine = False
        self._said: list[Turn] = []
        self._sent = 0
        self._expires_at = 0
        self._born: int | None = None

    @property
    def number(self) -> int:
        """The exchange's number, 0 before it is open."""
        return self._held.number if self._held else 0

    def open(
        self,
        head: session_items.Head,
        turns: Sequence[Turn] = (),
        metadata: dict[str, object] | None = None,
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
        for _ in range(OPEN_ATTEMPTS_MAX):
            try:
                self._transact(self._opening_actions(head, turns, metadata, clear=clear))
            except errors.ConditionFailedError as refusal:
                item, head_item = refusal.current[:2]
                if head.version and hidden_sessions.is_deleted(head_item):
                    raise _deleted() from None
                head = self._as_it_stands(head, head_item)
                if item is not None:
                    taken = session_items.read_exchange(item)
                    if head.holds(taken, item.expires_at, now=self._now()):
                        self._held = _Held(*taken)
                        self._mine = self._may_write(self._held) or taken.writer == self._nonce
                        if turns or metadata is not None or clear:
                            self.write(list(turns), metadata, clear=clear)
                        return
                    head = head._replace(stale=taken)
            else:
                answered = memory.is_answered(turns)
                self._held = _Held(head.next_exchange, len(turns), self._nonce, answered)
                self._mine = True
                self._said = list(turns)
                if head.version == 0:
                    self._born = session_items.birth(self._nonce, self._rule["identity"])
                return
        message = "Too many writers in this session at once. Nothing was written; try again."
        raise errors.StoreUnavailableError(message)

    def write(self, turns: list[Turn], metadata: dict[str, object] | None, *, clear: bool) -> None:
        """Write turns behind those written before, in one transaction with the head's changes.

        Raises:
            StoreError: Nothing of it was written.
        """
        if clear:
            self._said = []
        for _ in range(TAKE_OVERS_MAX):
            held = self._held
            if held is None or not self._mine:
                return  # a redelivery: the exchange stands, answered by another delivery
            ours = held.writer == self._nonce and not clear
            first = len(self._said) if ours else 0
            batch = turns if ours else [*self._said, *turns]
            wrote = _Held(held.number, first + len(batch), self._nonce, memory.is_answered(batch))
            if not batch:
                wrote = wrote._replace(answered=held.answered and ours)
            actions = self._actions(held, wrote, batch, metadata, clear=clear)
            if not actions:
                return
            try:
                if batch or clear:
                    actions += self._make_room(held, wrote, len(actions))
                self._transact(actions)
            except errors.ConditionFailedError as refusal:
                clear = self._learn(refusal, wrote, clear=clear)
                if self._held != wrote:
                    continue
            self._held = wrote if batch or clear else held
            self._said += turns
            return
        message = "Too many deliveries of this event at once; what it said was not stored."
        raise errors.StoreUnavailableError(message)

    def reopen(self) -> None:
        """After a failed event: let its next delivery say it all again, in the same place."""
        held = self._held
        if held is None or not self._mine or held.writer != self._nonce or not held.answered:
            return
        add = Add(self._key, assign={"answered": False}, condition=_as(held))
        try:
            self._transact([add])
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
        puts = session_items.turn_puts(
            self._pk,
            held.number,
            self._rule["identity"],
            self._said,
            first=0,
            expires_at=self._expires_at,
        )
        return Own(held.number, [put.item for put in puts], self._born)

    def _may_write(self, held: _Held) -> bool:
        """Say whether an exchange that somebody else has written is ours to write anew."""
        return not held.answered or held.writer == self._continues != ""

    def _now(self) -> int:
        return self._clock.epoch_ms() // 1_000

    def _as_it_stands(self, head: session_items.Head, item: Item | None) -> session_items.Head:
        """Return the head that refused us, or the one we read: then it is still the same."""
        if item is None:
            return head
        return session_items.read_head(item, now=self._now(), last_exchange=head.next_exchange - 1)

    def _opening_actions(
        self,
        head: session_items.Head,
        turns: Sequence[Turn],
        metadata: dict[str, object] | None,
        *,
        clear: bool,
    ) -> list[Action]:
        now, ttl = self._now(), self._rule["ttl_seconds"]
        number = head.next_exchange
        self._expires_at = expires_at = now + 2 * ttl
        exchange = session_items.exchange_item(
            self._key,
            session_items.Exchange(number, len(turns), self._nonce, memory.is_answered(turns)),
            expires_at=expires_at,
        )
        condition = ABSENT
        if head.stale is not None:
            condition = _as(_Held(*head.stale))
        return [
            Put(exchange, condition),
            session_items.count_exchange(
                self._head_key,
                head,
                born=session_items.birth(self._nonce, self._rule["identity"]),
                metadata=metadata,
                clear=clear,
                fixed=fixed_turns.assignment(number, turns, first=0),
                at=self._clock.epoch_ms(),
                expires_at=now + ttl,
            ),
            *session_items.turn_puts(
                self._pk, number, self._rule["identity"], turns, first=0, expires_at=expires_at
            ),
        ]

    def _actions(
        self,
        held: _Held,
        wrote: _Held,
        turns: list[Turn],
        metadata: dict[str, object] | None,
        *,
        clear: bool,
    ) -> list[Action]:
        """Begin with the exchange itself: it refuses everything when it is no longer ours."""
        expires_at = self._now() + 2 * self._rule["ttl_seconds"]
        self._expires_at = min(self._expires_at or expires_at, expires_at)
        untouched = held.turns == 0 and held.writer == self._nonce
        rewrites = bool(turns or clear) and not untouched
        actions: list[Action] = []
        if turns or clear:
            assign: dict[str, Value] = {
                "turns": wrote.turns,
                "writer": wrote.writer,
                "answered": wrote.answered,
            }
            actions.append(
                Add(self._key, assign=assign, expires_at=expires_at, condition=_as(held))
            )
            actions += session_items.turn_puts(
                self._pk,
                wrote.number,
                self._rule["identity"],
                turns,
                first=wrote.turns - len(turns),
                expires_at=expires_at,
            )
        said = turns if len(turns) == wrote.turns else [*self._said, *turns]
        fixed = fixed_turns.assignment(wrote.number, said, first=wrote.turns - len(turns))
        if metadata is not None or clear or rewrites or fixed:
            actions.append(
                session_items.change_head(
                    self._head_key,
                    metadata=metadata,
                    first_exchange=held.number if clear else None,
                    rewrites=rewrites,
                    fixed=fixed,
                )
            )
        return actions

    def _learn(self, refusal: errors.ConditionFailedError, wrote: _Held, *, clear: bool) -> bool:
        """Take in why a write was refused; return whether it is still to clear what came before.

        Raises:
            StoreRefusedError: The session is gone.
        """
        for item in refusal.current:
            if item is None:
                continue
            if item.key == self._key:
                self._held = _Held(*session_items.read_exchange(item))
                self._mine = self._may_write(self._held) or self._held == wrote
                return clear
            if clear and item.key == self._head_key:
                return False  # somebody has cleared more than we would
        message = "The session expired while it was in use. Nothing was written; start a new one."
        raise errors.StoreRefusedError(message)

    def _make_room(self, held: _Held, wrote: _Held, actions: int) -> list[Action]:
        """Return what blanks out the turns of an earlier attempt behind our last one.

        In the same transaction, so that nobody sees one delivery's question with another's answer.
        What does not fit is blanked out before, of an attempt that its event says again.

        Raises:
            ConditionFailedError: Another delivery has taken over.
        """
        first = min(wrote.turns, held.turns)
        room = first + ACTIONS_MAX - actions
        for end in range(held.turns, room, -TURNS_PER_TRANSACTION):
            counted = session_items.change_head(self._head_key, rewrites=True)
            blank = self._voids(range(max(room, end - TURNS_PER_TRANSACTION), end))
            self._transact([Check(self._key, _as(held)), counted, *blank])
        return self._voids(range(first, min(held.turns, room)))

    def _voids(self, places: range) -> list[Action]:
        if not places or self._held is None:
            return []
        expires_at = self._now() + 2 * self._rule["ttl_seconds"]
        return session_items.void_puts(
            self._pk, self._held.number, self._rule["identity"], places, expires_at=expires_at
        )

    def _transact(self, actions: list[Action]) -> None:
        """Send a transaction until its fate is known: under one token it is done once."""
        self._sent += 1
        token = session_items.token(self._nonce, self._sent)
        uncertain: errors.WriteUncertainError | None = None
        for _ in range(1 + UNCERTAIN_RETRIES_MAX):
            try:
                self._store.transact(actions, token=token, deadline_ms=self._deadline_ms())
            except errors.WriteUncertainError as error:
                uncertain = uncertain or error
            except errors.StoreUnavailableError:
                if uncertain is None:
                    raise
                break  # it was not sent again; the first time it may have been done
            else:
                return
        assert uncertain is not None  # noqa: S101 - each attempt has returned, raised or set it
        raise uncertain


def _as(held: _Held) -> Condition:
    """The exchange still stands as we last saw it."""
    return Condition(
        equals={
            "number": held.number,
            "turns": held.turns,
            "writer": held.writer,
            "answered": held.answered,
        }
    )


def _deleted() -> errors.StoreUnavailableError:
    return errors.StoreUnavailableError(
        "The session was deleted while this event was being handled. Nothing was written; what the "
        "event says when it comes again begins a new session."
    )
