"""Reading one session: its head and its newest turns, in one request mostly.

    TURN#000017#1  TURN#000017#0  …  TURN#000009#0  HEAD   ◄── one query, backwards, down to HEAD
    └────────────── as many as the window wants ──┘

The head stands before the turns in the order of keys, so that a query over both has it last, when
there is still place. Where there is none, the head is asked for by its key; and which sessions are
so long is remembered, so that the next time both requests are made at once.

Of a recent session the head alone is read, and what has come since (`services.recent_sessions`).

A reader that has seen another event's answer says which, and never gets an older session: where
the window does not show that exchange it is waited for (`services.seen_exchanges`), and all is read
again.
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import keys, memory
from lambdallm_extension.ports import Key
from lambdallm_extension.services import session_items
from lambdallm_extension.services.recent_sessions import RecentSessions, keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Clock, Item, Store
    from lambdallm_extension.services.recent_sessions import Kept, KeptTurn
    from lambdallm_extension.services.seen_exchanges import SeenExchanges
    from lambdallm_extension.services.session_items import Head
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.sessions import Receipt, SessionRule

READ_MORE = 4
"""How many times more is read when a window is not full: a long exchange of its own stood there."""

LONG_MAX = 1_024
"""Sessions known to be long; forgetting one costs a round trip."""


class LongSessions:
    """Which sessions have more turns than a window's read returns. Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[str, None] = {}

    def __contains__(self, pk: str) -> bool:
        return pk in self._known

    def note(self, pk: str, *, is_long: bool) -> None:
        """Take note of what a read has shown."""
        if is_long == (pk in self._known):
            return
        with self._lock:
            if not is_long:
                self._known.pop(pk, None)
                return
            self._known[pk] = None
            if len(self._known) > LONG_MAX:
                del self._known[next(iter(self._known))]


class SessionRead(NamedTuple):
    """What a read has found.

    Attributes:
        head: As it stood.
        stored: The newest turns in sight.
        expiries: When these may be deleted.
        size: Of their texts in bytes, as estimated.
        cut: Whether there was no room for as many of them as the rule asks for.
    """

    head: session_items.Head
    stored: list[memory.StoredTurn]
    expiries: list[tuple[Key, int]]
    size: int = 0
    cut: bool = False

    def take_expiring(self, epoch_seconds: int, until: int) -> list[Key]:
        """Return the turns that expire before then, to be extended until `until`."""
        taken = [key for key, expires_at in self.expiries if expires_at < epoch_seconds]
        self.expiries[:] = [
            (key, until if expires_at < epoch_seconds else expires_at)
            for key, expires_at in self.expiries
        ]
        return taken


class SessionReader:
    """Reads one session for one unit of work."""

    def __init__(  # noqa: PLR0913 - what a read is made of
        self,
        rule: SessionRule,
        store: Store,
        workers: Workers,
        clock: Clock,
        *,
        long_sessions: LongSessions,
        recent_sessions: RecentSessions,
        seen_exchanges: SeenExchanges,
        deadline_ms: Callable[[], int],
    ) -> None:
        self._rule = rule
        self._store = store
        self._workers = workers
        self._clock = clock
        self._long = long_sessions
        self._recent = recent_sessions
        self._seen = seen_exchanges
        self._deadline_ms = deadline_ms
        self._pk = keys.session_pk(rule["session_id"], rule.get("principal", ""))
        self._cut = False
        self.took_ms: float | None = None

    def read(self, after: Receipt | None = None) -> SessionRead:
        """Read it, as it is once an exchange that somebody has seen is in it.

        Raises:
            StoreError: Nothing is known about the session, or the exchange is not there.
            InvalidRequestError: It is no exchange of this session.
        """
        started = self._clock.monotonic()
        if after is not None:
            self._seen.check(after)
        found = self._read_any()
        if after is not None and not self._shows(found, after["identity"]):
            self._seen.wait_for(after)
            found = self._read_any()
        self.took_ms = (self._clock.monotonic() - started) * 1_000
        return found

    def _shows(self, found: SessionRead, identity: str) -> bool:
        """Say whether an exchange was there when the session was read: its answer is."""
        if identity == self._rule["identity"]:
            return True  # the event itself, delivered again: it waits for nobody
        said = [entry.turn for entry in sorted(found.stored) if entry.identity == identity]
        return memory.is_answered(said)

    def _read_any(self) -> SessionRead:
        self._cut = False
        limit = memory.read_limit(self._rule["memory"])
        kept = self._recent.find(self._pk)
        if kept is not None and kept.through >= 0:
            found = self._read_newer(kept, limit)
            if found is not None:
                return found
        return self._read_all(kept, limit)

    def _read_all(self, before: Kept | None, limit: int | None) -> SessionRead:
        """Read it from the store alone."""
        rule = self._rule["memory"]
        head_item, items = self._read_short(limit)
        turns = [*map(keep, items)]
        while True:
            head, found = self._readable(turns, head_item)
            whole = not self._cut and (limit is None or len(turns) < limit)
            if whole or self._cut or memory.fills(found.stored, rule, self._rule["identity"]):
                break
            assert limit is not None  # noqa: S101 - it is whole without
            limit *= READ_MORE
            turns = [*map(keep, self._turns(limit))]
        self._recent.note(self._pk, head, turns, before=before, whole=whole, limit=limit)
        return found

    def _read_newer(self, kept: Kept, limit: int | None) -> SessionRead | None:
        """Read the head, and what stands behind the kept turns; None where these do not do."""
        now, ttl = self._clock.epoch_ms() // 1_000, self._rule["ttl_seconds"]
        if not (kept.whole or (limit is not None and len(kept.turns) >= limit)):
            return None
        if not kept.outlives(now + ttl):
            return None  # it is to be extended, or somebody has extended it
        newer: list[KeptTurn] = []
        if kept.settled:
            head_item = self._head()
            if not self._stands(kept, head_item):
                return None
            if session_items.count_of(head_item) > kept.through:
                newer = self._newer_than(kept.through, limit)
        else:
            asked = self._workers.start(self._head)
            newer = self._newer_than(kept.through, limit)
            head_item = asked.wait((self._deadline_ms() - self._clock.epoch_ms()) / 1_000)
            if not self._stands(kept, head_item):
                return None
        cut = self._cut or (limit is not None and len(newer) >= limit)
        turns = newer if cut else [*newer, *kept.turns]
        whole = kept.whole and not cut
        head, found = self._readable(turns, head_item)
        if (
            not whole
            and not self._cut
            and not memory.fills(found.stored, self._rule["memory"], self._rule["identity"])
        ):
            return None
        if newer or kept.shared or head.version != kept.exchanges:
            self._recent.note(self._pk, head, turns, before=kept, whole=whole, limit=limit)
        return found

    def _stands(self, kept: Kept, head_item: Item | None) -> bool:
        now = self._clock.epoch_ms() // 1_000
        return kept.stands(session_items.read_head(head_item, now=now, last_exchange=0))

    def _newer_than(self, exchange: int, limit: int | None) -> list[KeptTurn]:
        last = keys.turn_sk(keys.EXCHANGE_MAX, 0)
        return [*map(keep, self._query(last, limit, first=keys.turn_sk(exchange + 1, 0)))]

    def _read_short(self, limit: int | None) -> tuple[Item | None, list[Item]]:
        """Read the head and so many turns."""
        if limit is not None and self._pk in self._long:
            head = self._workers.start(self._head)
            turns = self._turns(limit)
            self._long.note(self._pk, is_long=self._cut or len(turns) >= limit)
            return head.wait((self._deadline_ms() - self._clock.epoch_ms()) / 1_000), turns
        items = self._turns(None if limit is None else limit + 1, first=keys.HEAD)
        turns = [item for item in items if item.key.sk.startswith(keys.TURN_PREFIX)]
        if len(turns) < len(items):
            return next((item for item in items if item.key.sk == keys.HEAD), None), turns
        if not self._cut and (limit is None or len(items) <= limit):
            return None, turns  # nothing stands before the turns
        self._long.note(self._pk, is_long=True)
        return self._head(), turns[:limit]

    def _turns(self, limit: int | None, first: str = "") -> list[Item]:
        return self._query(keys.TURN_PREFIX, limit, first=first)

    def _query(self, prefix: str, limit: int | None, *, first: str) -> list[Item]:
        """Return the newest items, so many as there is room for."""
        while True:
            try:
                return self._store.query(
                    self._pk,
                    prefix,
                    first=first,
                    reverse=True,
                    limit=limit,
                    deadline_ms=self._deadline_ms(),
                )
            except errors.TooMuchAtOnceError as error:
                self._cut, limit = True, error.fits

    def _head(self) -> Item | None:
        return self._store.get(Key(self._pk, keys.HEAD), deadline_ms=self._deadline_ms())

    def _readable(self, turns: list[KeptTurn], head_item: Item | None) -> tuple[Head, SessionRead]:
        """Leave out what is expired, cleared or void."""
        now = self._clock.epoch_ms() // 1_000
        last = max((kept.turn.exchange for kept in turns), default=0)
        head = session_items.read_head(head_item, now=now, last_exchange=last)
        readable = [
            kept
            for kept in turns
            if kept.turn.exchange >= head.first_exchange
            and (kept.expires_at is None or kept.expires_at > now)
            and not kept.is_void
        ]
        return head, SessionRead(
            head,
            [kept.turn for kept in readable],
            [(kept.key, kept.expires_at) for kept in readable if kept.expires_at is not None],
            sum(kept.size for kept in readable),
            self._cut,
        )
