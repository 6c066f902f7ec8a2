"""Reading one session: its head and its newest turns, in one request mostly.

    TURN#000017#1  TURN#000017#0  …  TURN#000009#0  HEAD   ◄── one query, backwards, down to HEAD
    └────────────── as many as the window wants ──┘

The head stands before the turns in the order of keys, so that a query over both has it last, when
there is still place. Where there is none, the head is asked for by its key; and which sessions are
so long is remembered, so that the next time both requests are made at once.
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain import keys, memory
from lambdallm_extension.ports import Key
from lambdallm_extension.services import session_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Clock, Item, Store
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.sessions import SessionRule

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
    """What a read has found."""

    head: session_items.Head
    stored: list[memory.StoredTurn]
    expiries: list[tuple[Key, int]]

    def expiring(self, epoch_seconds: int) -> list[Key]:
        """Return the turns that expire before then."""
        return [key for key, expires_at in self.expiries if expires_at < epoch_seconds]


class SessionReader:
    """Reads one session for one unit of work."""

    def __init__(
        self,
        rule: SessionRule,
        store: Store,
        workers: Workers,
        clock: Clock,
        *,
        long_sessions: LongSessions,
        deadline_ms: Callable[[], int],
    ) -> None:
        self._rule = rule
        self._store = store
        self._workers = workers
        self._clock = clock
        self._long = long_sessions
        self._deadline_ms = deadline_ms
        self._pk = keys.session_pk(rule["session_id"])
        self.took_ms: float | None = None

    def read(self) -> SessionRead:
        """Read it.

        Raises:
            StoreError: Nothing is known about the session.
        """
        started = self._clock.monotonic()
        rule = self._rule["memory"]
        limit = memory.read_limit(rule)
        head_item, turns = self._read_short(limit)
        found = self._readable(turns, head_item)
        while limit is not None and len(turns) >= limit:
            if memory.fills(found.stored, rule, self._rule["identity"]):
                break
            limit *= READ_MORE
            turns = self._turns(limit)
            found = self._readable(turns, head_item)
        self.took_ms = (self._clock.monotonic() - started) * 1_000
        return found

    def _read_short(self, limit: int | None) -> tuple[Item | None, list[Item]]:
        """Read the head and so many turns."""
        if limit is not None and self._pk in self._long:
            head = self._workers.start(self._head)
            turns = self._turns(limit)
            self._long.note(self._pk, is_long=len(turns) >= limit)
            return head.wait((self._deadline_ms() - self._clock.epoch_ms()) / 1_000), turns
        items = self._turns(None if limit is None else limit + 1, first=keys.HEAD)
        turns = [item for item in items if item.key.sk.startswith(keys.TURN_PREFIX)]
        if len(turns) < len(items):
            return next((item for item in items if item.key.sk == keys.HEAD), None), turns
        if limit is None or len(items) <= limit:
            return None, turns  # nothing stands before the turns
        self._long.note(self._pk, is_long=True)
        return self._head(), turns[:limit]

    def _turns(self, limit: int | None, first: str = "") -> list[Item]:
        return self._store.query(
            self._pk,
            keys.TURN_PREFIX,
            first=first,
            reverse=True,
            limit=limit,
            deadline_ms=self._deadline_ms(),
        )

    def _head(self) -> Item | None:
        return self._store.get(Key(self._pk, keys.HEAD), deadline_ms=self._deadline_ms())

    def _readable(self, items: list[Item], head_item: Item | None) -> SessionRead:
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
        return SessionRead(
            head,
            [turn for turn, _ in readable],
            [(item.key, item.expires_at) for _, item in readable if item.expires_at is not None],
        )
