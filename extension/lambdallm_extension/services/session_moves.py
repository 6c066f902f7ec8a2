"""Giving a session to another owner, while others may be writing in it.

    target   (nothing) ──► waits, sealed ─┐                   ┌──► copied ──► HEAD lives ─┐
                                          ▼                   │                           ▼
    source   HEAD ────────────────────► sealed ──► exchanges sealed ────────────────► deleted

What is sealed is read and written by nobody: an event that reads either session is told so, and so
is one that writes into an exchange that it has open. So what was acknowledged before is copied, and
nothing is acknowledged afterwards until the session lives at its new owner.

The seal of the source names the move, and the head that comes to life has its name: so whoever goes
on with it, after a kill or at the same time, knows whether that has happened. Until then each
beginning brings the session anew (`services.arrivals`), and who brought it before is told.
"""

from __future__ import annotations

import os
from functools import partial

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Add, Condition, Item, Key, Put
from lambdallm_extension.services import hidden_sessions, session_items, session_pages
from lambdallm_extension.services.arrivals import AT_ONCE_MAX, Arrival
from lambdallm_extension.services.hidden_sessions import SEALED
from lambdallm_extension.services.session_deletion import SessionDeletion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock, Store, Value
    from lambdallm_extension.services.tasks import Workers

SEALED_SCHEMA = 100_000
"""No version reads it: layers that know of no moves refuse such an item as newer than they are."""

ATTEMPTS_MAX = 50
"""Others who may come between reading a head and changing it."""

_OF_THE_SEAL = (SEALED, "schema_before", "writer_before", "claim", *hidden_sessions.KEPT)
_OF_ONE_LIFE = ("rewrites", "life")


class Step(NamedTuple):
    """What came of a step.

    Attributes:
        outcome: `moving` (go on at `cursor`), `moved`, `absent` (there is no such session),
            `exists` (the new owner has one of that id), or `busy` (somebody else is moving it; to
            or from whom says `other`, where it is not the same move).
        cursor: Of the next step, "" for none.
        other: An owner, None where it is the same move.
    """

    outcome: str
    cursor: str = ""
    other: str | None = None


class SessionMove:
    """Gives one session to another owner, step by step."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        clock: Clock,
        session_id: str,
        *,
        owners: tuple[str, str],
        deadline_ms: int,
    ) -> None:
        """Name it, and whose it is and will be; nothing is read yet."""
        self._store = store
        self._workers = workers
        self._clock = clock
        self._owner, self._to_owner = owners
        self._source = Key(keys.session_pk(session_id, self._owner), keys.HEAD)
        self._target = Key(keys.session_pk(session_id, self._to_owner), keys.HEAD)
        self._deadline_ms = deadline_ms
        self._arrival = Arrival(store, workers, clock, self._target, deadline_ms=deadline_ms)

    def step(self, cursor: str) -> Step:
        """Do some of it. The first step, with no cursor, begins a move or goes on with one.

        Raises:
            StoreError: The same step may be repeated.
        """
        claim, _, start = cursor.partition(" ")
        begun = None if cursor else self._begin()
        if isinstance(begun, Step):
            return begun
        source = self._get(self._source)
        move = self._move_of(source)
        if not move:
            return self._ended(source)
        if self._lives_by(move):
            return self._give_up(move)
        return self._bring(begun or claim, start, move)

    def _bring(self, claim: str, start: str, move: str) -> Step:
        """Copy a page; behind the last one, let the session live at its new owner."""
        if not self._arrival.goes_on(claim):
            return Step("busy")
        page, start = session_pages.page_of(
            self._store, self._source.pk, start=start, deadline_ms=self._deadline_ms
        )
        copies = [
            Item(Key(self._target.pk, item.key.sk), _unsealed(item), item.expires_at)
            for item in page
            if item.key.sk != keys.HEAD
        ]
        if not self._arrival.bring(copies):
            return Step("busy")
        if start:
            return Step("moving", f"{claim} {start}")
        return self._publish(move)

    def _begin(self) -> Step | str:
        """Let the target wait and seal the source; return the claim, or why there is none."""
        for _ in range(ATTEMPTS_MAX):
            source = self._get(self._source)
            move = self._move_of(source)
            if move and self._lives_by(move):
                return self._give_up(move)
            refused = None if move else self._refusal(source)
            if refused is not None:
                return refused
            claim = self._claim()
            if isinstance(claim, Step):
                if claim.outcome == "exists" and self._was_moved_since(source):
                    continue
                return claim
            if claim and source is not None and (move or self._seal(source)):
                self._seal_exchanges()
                return claim
        raise errors.StoreUnavailableError("Too many are changing this session at once; try again.")

    def _move_of(self, source: Item | None) -> str:
        """Return the name of the move to this target that has sealed the source, "" for none."""
        if source is None or not hidden_sessions.is_sealed(source):
            return ""
        to_owner = source.attributes.get("moved_to")
        return str(source.attributes.get("move", "")) if to_owner == self._to_owner else ""

    def _was_moved_since(self, source: Item | None) -> bool:
        """Say whether what lives at the target may be what another one has just moved there."""
        move, again = self._move_of(source), self._get(self._source)
        if move:
            return self._lives_by(move)
        return again is None or hidden_sessions.is_sealed(again) or self._is_over(again)

    def _refusal(self, source: Item | None) -> Step | None:
        """Say why the source cannot be moved; what waited for it waits no more."""
        if source is None or not hidden_sessions.is_sealed(source):
            if source is None or self._is_over(source):
                return self._ended(source)
            session_items.read_head(source, now=self._now(), last_exchange=0)
            return None
        self._release()
        return Step("busy", other=_other_of(source))

    def _ended(self, source: Item | None) -> Step:
        """Say what became of a session that is there no more, and see that nobody waits for it."""
        if source is not None and source.attributes.get("moved_to") == self._to_owner:
            move = source.attributes.get("move")
            if isinstance(move, str) and self._lives_by(move):
                return Step("moved")
        self._release()
        return Step("absent")

    def _claim(self) -> Step | str | None:
        """Let a head wait at the target; return its claim, None if somebody was first, or why not.

        One that waits for this source already was left behind, or is another's who does the same:
        it is told.
        """
        stood = self._get(self._target)
        if stood is not None and hidden_sessions.is_sealed(stood):
            if stood.attributes.get("moved_from") != self._owner:
                return Step("busy", other=_other_of(stood))
        elif stood is not None and not self._is_over(stood):
            return Step("exists")
        seal: dict[str, Value] = {
            "schema": SEALED_SCHEMA,
            SEALED: 1,
            "moved_from": self._owner,
        }
        return self._arrival.begin(stood, seal=seal)

    def _release(self) -> None:
        """Let the target wait no more for a source that will not come."""
        stood = self._get(self._target)
        if stood is None or not hidden_sessions.is_sealed(stood):
            return
        if stood.attributes.get("moved_from") == self._owner:
            self._arrival.begin(stood)

    def _seal(self, source: Item) -> bool:
        """Seal a head that lives; who has counted on since it was read does not hinder it."""
        first = source.attributes.get("first_exchange")
        lives = {} if first is None else {"first_exchange": first}
        assign: dict[str, Value] = {
            "schema": SEALED_SCHEMA,
            "schema_before": source.attributes["schema"],
            SEALED: 1,
            "move": os.urandom(16).hex(),
            "moved_to": self._to_owner,
        }
        condition = Condition(False, lives, {SEALED: 0})
        add = Add(self._source, {"exchanges": 1}, assign, condition=condition)
        try:
            self._store.add_if(add, deadline_ms=self._deadline_ms)
        except (errors.ConditionFailedError, errors.WriteUncertainError):
            return False  # cleared, deleted or sealed by somebody; or sealed by us
        return True

    def _seal_exchanges(self) -> None:
        """Let the conditions of all who have an exchange open hold no more."""
        start = ""
        while True:
            page, start = session_pages.page_of(
                self._store,
                self._source.pk,
                prefix=keys.EXCHANGE_PREFIX,
                start=start,
                deadline_ms=self._deadline_ms,
            )
            for first in range(0, len(page), AT_ONCE_MAX):
                batch = page[first : first + AT_ONCE_MAX]
                tasks = [self._workers.start(partial(self._seal_exchange, item)) for item in batch]
                for task in tasks:
                    task.wait((self._deadline_ms - self._clock.epoch_ms()) / 1_000)
            if not start:
                return

    def _seal_exchange(self, item: Item | None) -> None:
        while item is not None and not hidden_sessions.is_sealed(item):
            writer = item.attributes.get("writer", "")
            assign: dict[str, Value] = {
                "schema": SEALED_SCHEMA,
                "schema_before": item.attributes.get("schema"),
                "writer": "",
                "writer_before": writer,
                SEALED: 1,
            }
            condition = Condition(False, {"writer": writer} if "writer" in item.attributes else {})
            add = Add(item.key, assign=assign, condition=condition)
            try:
                item = self._store.add_if(add, deadline_ms=self._deadline_ms)
            except errors.ConditionFailedError:
                item = self._get(item.key)

    def _publish(self, move: str) -> Step:
        """Let the session live at its new owner, and end it at the old one."""
        source = self._get(self._source)
        if source is None or self._move_of(source) != move:
            return self._ended(source)
        attributes = _unsealed(source)
        attributes["exchanges"] = session_items.count_of(source) - 1
        attributes["rewrites"] = session_items.birth(move, self._target.pk)
        attributes["move"] = move
        head = Item(self._target, attributes, source.expires_at)
        if self._arrival.publish(head) or self._lives_by(move):
            return self._give_up(move)
        return Step("busy")

    def _give_up(self, move: str) -> Step:
        """Delete the source, its head last: as long as that is sealed nobody begins anew there."""
        source = self._get(self._source)
        if source is not None and self._move_of(source) == move:
            hidden = session_items.count_of(source)
            deletion = SessionDeletion(
                self._store,
                self._workers,
                self._clock,
                self._source.pk,
                deadline_ms=self._deadline_ms,
            )
            deletion.sweep(hidden, records=False)
            hiding = {**hidden_sessions.hiding(hidden), **hidden_sessions.kept(source)}
            put = Put(
                Item(self._source, hiding, self._now()), Condition(False, {SEALED: 1, "move": move})
            )
            try:
                self._store.put_if(put, deadline_ms=self._deadline_ms)
            except errors.ConditionFailedError:
                return Step("moved")  # somebody else has ended it
        return Step("moved")

    def _lives_by(self, move: str) -> bool:
        """Say whether the target is the session that this move has brought there."""
        target = self._get(self._target)
        return (
            target is not None
            and not hidden_sessions.is_sealed(target)
            and not hidden_sessions.is_deleted(target)
            and target.attributes.get("move") == move
        )

    def _get(self, key: Key) -> Item | None:
        return self._store.get(key, deadline_ms=self._deadline_ms)

    def _is_over(self, head: Item) -> bool:
        return head.expires_at is not None and head.expires_at <= self._now()

    def _now(self) -> int:
        return self._clock.epoch_ms() // 1_000


def _other_of(head: Item) -> str:
    """Return whom a sealed head is moved to, or from."""
    return str(head.attributes.get("moved_to", head.attributes.get("moved_from", "")))


def _unsealed(item: Item) -> dict[str, Value]:
    """Return what an item holds beside the seal and what hangs on this one life of the session."""
    unsealed = {
        name: value
        for name, value in item.attributes.items()
        if name not in (*_OF_THE_SEAL, *_OF_ONE_LIFE)
    }
    if hidden_sessions.is_sealed(item):
        unsealed["schema"] = item.attributes["schema_before"]
        if "writer_before" in item.attributes:
            unsealed["writer"] = item.attributes["writer_before"]
    return unsealed
