"""The transactions that write an exchange, as data.

    opening     put EXCHANGE if absent, count it in HEAD, put its first turns
    going on    EXCHANGE as it was seen ─► as it is then; HEAD where it changes; turns, blanks

Each begins with the exchange itself: it refuses everything when that is no longer ours.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain import fixed_turns, keys, memory
from lambdallm_extension.ports import ABSENT, Add, Check, Condition, Key, Put
from lambdallm_extension.services import session_heads, session_items
from lambdallm_extension.services.session_heads import HeadChange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_extension.domain.metadata_changes import MetadataChange
    from lambdallm_extension.ports import Action, Value
    from lambdallm_extension.services.session_items import Head
    from lambdallm_wire.sessions import SessionRule, Turn

ACTIONS_MAX = 100
"""In one transaction. Source: DynamoDB API reference, "TransactWriteItems", 2026-10."""

TURNS_PER_TRANSACTION = 90
"""Of these; those on the exchange and the head come with them."""


class Held(NamedTuple):
    """The exchange as its writer last saw it."""

    number: int
    turns: int
    writer: str
    answered: bool

    def stands(self) -> Condition:
        """Return that it is still so."""
        return Condition(
            equals={
                "number": self.number,
                "turns": self.turns,
                "writer": self.writer,
                "answered": self.answered,
            }
        )


class Step(NamedTuple):
    """One write behind the first one.

    Attributes:
        held: The exchange before it.
        wrote: The exchange behind it.
        said: All of its turns then.
        batch: The last ones of these, which are written now.
        metadata: What is changed of the session's.
        clear: Hide what came before the exchange.
    """

    held: Held
    wrote: Held
    said: Sequence[Turn]
    batch: Sequence[Turn]
    metadata: MetadataChange | None
    clear: bool

    @property
    def rewrites(self) -> bool:
        """Whether it changes what somebody may have seen."""
        untouched = self.held.turns == 0 and self.held.writer == self.wrote.writer
        return bool(self.batch or self.clear) and not untouched


class ExchangeWrites:
    """Makes the transactions of one event's exchange, for one writer."""

    def __init__(self, rule: SessionRule, nonce: str) -> None:
        self._pk = keys.session_pk(rule["session_id"], rule.get("principal", ""))
        self._identity = rule["identity"]
        self._ttl = rule["ttl_seconds"]
        self._nonce = nonce
        self.head_key = Key(self._pk, keys.HEAD)
        self.key = Key(self._pk, keys.exchange_sk(rule["identity"]))

    @property
    def birth(self) -> int:
        """What the session counts its rewrites from, if this exchange begins it."""
        return session_items.birth(self._nonce, self._identity)

    def outlives(self, at: int) -> int:
        """Return when what is written now may be deleted, in epoch seconds."""
        return at // 1_000 + 2 * self._ttl

    def counting(
        self,
        head: Head,
        turns: Sequence[Turn],
        metadata: MetadataChange | None,
        *,
        clear: bool,
        at: int,
    ) -> Add:
        """Return the head's part of `opening`."""
        return session_heads.count_exchange(
            self.head_key,
            head,
            born=self.birth,
            metadata=metadata,
            clear=clear,
            fixed=fixed_turns.assignment(head.next_exchange, turns, first=0),
            at=at,
            expires_at=at // 1_000 + self._ttl,
        )

    def opening(self, head: Head, counted: Add, turns: Sequence[Turn], *, at: int) -> list[Action]:
        """Take the next number, or replace what is left of an expired life under it."""
        number = head.next_exchange
        exchange = session_items.exchange_item(
            self.key,
            session_items.Exchange(number, len(turns), self._nonce, memory.is_answered(turns)),
            expires_at=self.outlives(at),
        )
        return [
            Put(exchange, ABSENT if head.stale is None else Held(*head.stale).stands()),
            counted,
            *self.turns(number, turns, first=0, expires_at=self.outlives(at)),
        ]

    def going_on(self, step: Step, head: Head, *, at: int) -> tuple[list[Action], Add | None]:
        """Write what comes next; nothing if nothing does. The head's part is returned again."""
        held, wrote = step.held, step.wrote
        first = wrote.turns - len(step.batch)
        actions: list[Action] = []
        if step.batch or step.clear:
            assign: dict[str, Value] = {
                "turns": wrote.turns,
                "writer": wrote.writer,
                "answered": wrote.answered,
            }
            until = self.outlives(at)
            actions.append(Add(self.key, assign=assign, expires_at=until, condition=held.stands()))
            actions += self.turns(wrote.number, step.batch, first=first, expires_at=until)
        change = HeadChange(
            step.metadata,
            step.clear,
            step.rewrites,
            fixed_turns.assignment(wrote.number, step.said, first=first),
        )
        due = step.batch and session_heads.is_due(head, now=at // 1_000, ttl=self._ttl)
        if not (due or change != HeadChange()):
            return actions, None
        changed = session_heads.change(
            self.head_key, head, held.number, change, at=at, ttl=self._ttl
        )
        actions.append(changed)
        return actions, changed

    def blanking_before(self, step: Step, actions: int, *, at: int) -> list[list[Action]]:
        """Return what blanks out turns of an earlier attempt that `blanking` has no room for.

        Of an attempt that its event says again: each of these transactions goes before the step.
        """
        held = step.held
        room = self._room(step, actions)
        counted = session_heads.count_rewrite(self.head_key)
        return [
            [
                Check(self.key, held.stands()),
                counted,
                *self._voids(held, range(max(room, end - TURNS_PER_TRANSACTION), end), at=at),
            ]
            for end in range(held.turns, room, -TURNS_PER_TRANSACTION)
        ]

    def blanking(self, step: Step, actions: int, *, at: int) -> list[Action]:
        """Return what blanks out the turns of an earlier attempt behind our last one.

        In the step's own transaction, so that nobody sees one delivery's question with another's
        answer.
        """
        first = min(step.wrote.turns, step.held.turns)
        last = min(step.held.turns, self._room(step, actions))
        return self._voids(step.held, range(first, last), at=at)

    def reopening(self, held: Held) -> list[Action]:
        """Let the event's next delivery say it all again."""
        return [Add(self.key, assign={"answered": False}, condition=held.stands())]

    def turns(
        self, number: int, turns: Sequence[Turn], *, first: int, expires_at: int
    ) -> list[Put]:
        """Write turns from index `first` on."""
        return session_items.turn_puts(
            self._pk, number, self._identity, turns, first=first, expires_at=expires_at
        )

    def _room(self, step: Step, actions: int) -> int:
        """Return behind which place the step's transaction has no room to blank out turns."""
        return min(step.wrote.turns, step.held.turns) + ACTIONS_MAX - actions

    def _voids(self, held: Held, places: range, *, at: int) -> list[Action]:
        return session_items.void_puts(
            self._pk, held.number, self._identity, places, expires_at=self.outlives(at)
        )
