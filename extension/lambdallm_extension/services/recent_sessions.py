"""Turns of recent sessions, kept in memory and never trusted blindly.

    HEAD as kept:  first_exchange 3, rewrites r, exchanges 17     turns of 3 … 17, each answered
    HEAD as read:  the same                    ─► the turns stand as they are: one small request
                   exchanges 19                ─► those turns, and the turns behind 17 are read
                   first_exchange or rewrites  ─► all is read again

Why that is enough. Turns of a number come with it (then the head has counted it) or later; so what
is kept ends before the first exchange that had no answer yet. Turns that somebody may have seen as
answered change only in a transaction that counts a rewrite in the head. And metadata, expiry and
the head's own disappearance are in the head.

A query is no snapshot: it may return turns of before a rewrite beside a head of after it. Rewrites
only grow, so turns are kept only where `rewrites` was the same in something read or written before
their query began: from the second read on, or from the session's first exchange if it is ours.
"""

from __future__ import annotations

from threading import Lock

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.services import session_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_extension.domain.memory import StoredTurn
    from lambdallm_extension.ports import Item, Key
    from lambdallm_extension.services.exchanges import Own
    from lambdallm_extension.services.session_items import Head

BYTES_MAX = 4 * 1024 * 1024
"""Of all kept turns, as estimated: a small function has 128 MB for everything."""

SESSION_BYTES_MAX = BYTES_MAX // 4
"""Of one session: a longer one would push out all others."""

SESSIONS_MAX = 4_096
"""Sessions of which anything is known; forgetting one costs a longer read."""

TURN_BYTES = 600
"""Of a kept turn beside its text: tuples, keys, the dict of its message."""

TURNS_MORE = 64
"""Kept beyond the longest window that was asked for, so that each new one need not cut."""


NOTHING: tuple[int, tuple[KeptTurn, ...]] = (-1, ())
"""No exchange is known to be answered, not even that there is none."""


class KeptTurn(NamedTuple):
    """A turn as it was read, void ones included."""

    turn: StoredTurn
    key: Key
    expires_at: int | None
    is_void: bool
    size: int


class Kept(NamedTuple):
    """What is known of one session.

    Attributes:
        first_exchange, rewrites: Of the head that all this holds for.
        exchanges: How many there were.
        through: Every exchange up to this one is answered, and its turns are in `turns`; -1 where
            only `rewrites` is known.
        turns: Newest first.
        whole: No older turns are in the store.
        shared: Somebody else wrote since we read last.
        limit: The longest window that was asked for, in turns.
    """

    first_exchange: int
    rewrites: int
    exchanges: int
    through: int
    turns: tuple[KeptTurn, ...]
    whole: bool
    shared: bool
    limit: int

    @property
    def settled(self) -> bool:
        """Whether nothing but the head is likely to be needed."""
        return self.through == self.exchanges and not self.shared

    def stands(self, head: Head) -> bool:
        """Say whether the turns are still those of the session with this head."""
        return (
            head.version >= self.exchanges > 0
            and head.rewrites == self.rewrites
            and head.first_exchange == self.first_exchange
        )

    def outlives(self, epoch_seconds: int) -> bool:
        """Say whether no kept turn expires before then: nobody extends such a one."""
        return all(
            turn.expires_at is None or turn.expires_at >= epoch_seconds for turn in self.turns
        )


def keep(item: Item) -> KeptTurn:
    """Read a turn as it is kept.

    Raises:
        StoreRefusedError: It is no turn of ours.
    """
    size = TURN_BYTES + sum(
        2 * len(value) for value in item.attributes.values() if isinstance(value, str)
    )
    turn = session_items.read_turn(item)
    return KeptTurn(turn, item.key, item.expires_at, session_items.is_void(item), size)


class RecentSessions:
    """The recent sessions of one environment, the longest unused forgotten first. Shared."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._lock = Lock()
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: dict[str, Kept] = {}
        self._sizes: dict[str, int] = {}

    @property
    def size_bytes(self) -> int:
        """Estimate of what is kept."""
        return self._bytes

    def find(self, pk: str) -> Kept | None:
        """Return what is known of a session."""
        return self._kept.get(pk)

    def forget(self, pk: str) -> None:
        """Keep nothing of a session."""
        with self._lock:
            self._remove(pk)

    def note(
        self,
        pk: str,
        head: Head,
        turns: Sequence[KeptTurn],
        *,
        before: Kept | None,
        whole: bool,
        limit: int | None,
    ) -> None:
        """Take what a read has found.

        Args:
            pk: The session's partition.
            head: As it was read, before the turns or beside them.
            turns: Newest first.
            before: What was known when the read began.
            whole: Whether these are all there are.
            limit: How many were asked for; None: all.
        """
        if head.version == 0 or head.rewrites is None:
            self.forget(pk)
            return
        through, kept = NOTHING
        if before is not None and before.rewrites == head.rewrites:
            through, kept = _answered(turns, head.first_exchange if whole else None)
        limits = [len(turns) if limit is None else limit, 0 if before is None else before.limit]
        shared = before is None or before.exchanges != head.version
        self._put(
            pk,
            Kept(
                head.first_exchange, head.rewrites, head.version, through, kept, whole, shared,
                max(limits),
            ),
        )  # fmt: skip

    def wrote(self, pk: str, own: Own) -> None:
        """Take an exchange that one of this environment's units of work has written whole."""
        kept = self._kept.get(pk)
        items = [keep(item) for item in reversed(own.items)]
        if own.born is not None:
            born = Kept(own.number, own.born, own.number, own.number, tuple(items), True, False, 0)
            self._put(pk, born)
        elif kept is not None and kept.through == kept.exchanges == own.number - 1:
            more = kept._replace(
                exchanges=own.number, through=own.number, turns=(*items, *kept.turns)
            )
            self._put(pk, more)

    def _put(self, pk: str, kept: Kept) -> None:
        turns_max = kept.limit + TURNS_MORE
        if len(kept.turns) > 2 * turns_max:
            kept = kept._replace(turns=kept.turns[:turns_max], whole=False)
        size = TURN_BYTES + sum(turn.size for turn in kept.turns)
        if size > SESSION_BYTES_MAX:
            kept, size = kept._replace(through=-1, turns=(), whole=False), TURN_BYTES
        with self._lock:
            self._remove(pk)
            self._kept[pk], self._sizes[pk] = kept, size
            self._bytes += size
            while self._bytes > self._bytes_max or len(self._kept) > SESSIONS_MAX:
                self._remove(next(iter(self._kept)))

    def _remove(self, pk: str) -> None:
        if self._kept.pop(pk, None) is not None:
            self._bytes -= self._sizes.pop(pk)


def _answered(
    turns: Sequence[KeptTurn], first_exchange: int | None
) -> tuple[int, tuple[KeptTurn, ...]]:
    """Return the last exchange before the first open one, and the turns up to it, newest first.

    Args:
        turns: Newest first.
        first_exchange: The session's first one, None where older turns were not read.
    """
    last: dict[int, KeptTurn] = {}
    for kept in reversed(turns):
        if not kept.is_void:
            last[kept.turn.exchange] = kept
    if first_exchange is None:
        first_exchange = min(last, default=0)
    through = first_exchange - 1
    while through + 1 in last and last[through + 1].turn.turn["role"] == "assistant":
        through += 1
    return through, tuple(kept for kept in turns if kept.turn.exchange <= through)
