"""What one unit of work sees of its session: the newest turns, and what its memory brings back.

    begin ──► read the newest turns ────────────┐
          ├─► summary: read DIGEST              ├─► window: chosen by `domain.memory`
          └─► semantic: read every VECTOR# ─────┤
    window ─► semantic: embed the question ─────┘   late or failed: the newest turns alone

Turns that stay in every window and exchanges that are recalled are read by their keys, unless they
stand among the newest. Whatever is read beside is read while the session is.
"""

from __future__ import annotations

from functools import partial

from lambda_runtime_api.declarations import NamedTuple, TypeVar
from lambdallm_extension import errors
from lambdallm_extension.domain import keys, memory, vectors
from lambdallm_extension.services import memory_items, session_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from lambdallm_extension.domain.memory import StoredTurn
    from lambdallm_extension.domain.summaries import Summary
    from lambdallm_extension.domain.vectors import StoredVector
    from lambdallm_extension.ports import Clock, Item, Key, Store
    from lambdallm_extension.services.exchanges import Own
    from lambdallm_extension.services.session_reads import SessionRead
    from lambdallm_extension.services.tasks import Task, Workers
    from lambdallm_wire.sessions import SessionRule, Turn

T = TypeVar("T")

TOP_K = 4
"""Exchanges that are recalled where the rule does not say it."""


class Found(NamedTuple):
    """What stood beside the turns when they were read.

    Attributes:
        digest: The summary's item as it stood, of whatever life of the session.
        summary: What it tells, None unless it is of the living session.
        vectors: By exchange, of the living session.
    """

    digest: Item | None = None
    summary: Summary | None = None
    vectors: Mapping[int, StoredVector] = {}


class Known(NamedTuple):
    """A session as one unit of work leaves it.

    Attributes:
        store: Where it lies.
        beside: What stood beside the turns when they were read.
        answered: The turns of answered exchanges that were read, and the unit's own, in order.
        first_exchange: Exchanges below it are expired or cleared.
        life: Names the session's life; see `memory_items`.
        expiring: What stood beside and is to live on, if it expires before then.
    """

    rule: SessionRule
    pk: str
    store: Store
    beside: Found
    answered: list[StoredTurn]
    own_exchange: int
    first_exchange: int
    life: int | None
    expiring: Callable[[int], list[Key]]


class Recollection:
    """Reads what a memory keeps beside the turns, and chooses what a handler sees."""

    def __init__(
        self,
        rule: SessionRule,
        *,
        store: Store,
        workers: Workers,
        clock: Clock,
        deadline_ms: Callable[[], int],
        embed: Callable[[str], StoredVector | None] | None = None,
    ) -> None:
        """Begin to read.

        Args:
            rule: The session's.
            store: Where it lies.
            workers: Threads.
            clock: Time.
            deadline_ms: For the store.
            embed: Returns the vector of a question, or None where it cannot be had in time.
        """
        self._rule = rule
        self._memory = rule["memory"]
        self._pk = keys.session_pk(rule["session_id"], rule.get("principal", ""))
        self._store = store
        self._workers = workers
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._embed = embed
        self._digest: Task[Item | None] | None = None
        self._vectors: Task[list[Item]] | None = None
        self._expiring: list[tuple[Key, int]] = []
        self.cut = False
        """Whether something was left out because there was no room for it."""
        strategy = self._memory.get("strategy")
        if strategy == "summary":
            self._digest = workers.start(self._read_digest)
        elif strategy == "semantic":
            self._vectors = workers.start(self._read_vectors)

    def turns(self, read: SessionRead, question: str = "") -> list[Turn]:
        """Return what the handler sees.

        Args:
            read: The session's newest turns.
            question: What the handler is about to ask, "" where nobody knows yet.

        Raises:
            StoreError: Something could not be read.
        """
        beside = self.beside(read)
        recalled = self._recalled(read, beside, question)
        wanted = {exchange for exchange, _ in read.head.fixed} | recalled
        stored = [*read.stored, *self._elsewhere(read, wanted)]
        chosen = memory.select(
            stored,
            self._memory,
            own_identity=self._rule["identity"],
            recalled=recalled,
            covered=beside.summary.covers if beside.summary else 0,
        )
        return [beside.summary.as_turn(), *chosen] if beside.summary else chosen

    def beside(self, read: SessionRead) -> Found:
        """Return what stood beside the turns, waiting for it.

        Raises:
            StoreError: It could not be read.
        """
        now = self._clock.epoch_ms() // 1_000
        if self._digest is not None:
            digest = self._wait(self._digest)
            summary = memory_items.read_digest(digest, read.head, now=now)
            if digest is not None and summary is not None:
                self._note(digest)
            return Found(digest=digest, summary=summary)
        if self._vectors is None:
            return Found()
        living: dict[int, StoredVector] = {}
        for item in self._wait(self._vectors):
            one = memory_items.read_vector(item)
            if one is None or (item.expires_at is not None and item.expires_at <= now):
                continue
            number, vector, turns = one
            inside = read.head.first_exchange <= number <= read.head.version
            if inside and memory_items.is_of_life(item, read.head):
                living[number] = vector
                self._note(item, *(keys.turn_sk(number, place) for place in range(turns)))
        return Found(vectors=living)

    def known(self, read: SessionRead, own: Own) -> Known:
        """Return what is known when the unit's own exchange is stored.

        Raises:
            StoreError: What stands beside the turns could not be read.
        """
        before = [each for each in read.stored if each.exchange != own.number]
        said = [session_items.read_turn(item) for item in own.items]
        return Known(
            self._rule,
            self._pk,
            self._store,
            self.beside(read),
            memory.visible([*before, *said], own_identity=""),
            own.number,
            read.head.first_exchange,
            read.head.rewrites if own.born is None else own.born,
            self.expiring,
        )

    def expiring(self, epoch_seconds: int) -> list[Key]:
        """Return what expires before then, and is to live on with its session."""
        noted, self._expiring = self._expiring, []
        return [key for key, expires_at in noted if expires_at < epoch_seconds]

    def _note(self, item: Item, *sort_keys: str) -> None:
        if item.expires_at is not None:
            named = [item.key, *(item.key._replace(sk=each) for each in sort_keys)]
            self._expiring += [(key, item.expires_at) for key in named]

    def _recalled(self, read: SessionRead, beside: Found, question: str) -> set[int]:
        """Return the exchanges nearest to a question, of those that are not seen anyway."""
        if self._embed is None or not question.strip() or not beside.vectors:
            return set()
        seen = memory.newest_exchanges(read.stored, self._memory, self._rule["identity"])
        asked = self._embed(question)
        if asked is None:
            return set()
        others = {
            number: vector.steps
            for number, vector in beside.vectors.items()
            if number not in seen and vector.model == asked.model
        }
        return {*vectors.nearest(asked.steps, others, self._memory.get("top_k", TOP_K))}

    def _elsewhere(self, read: SessionRead, wanted: Iterable[int]) -> list[StoredTurn]:
        """Read whole exchanges that are not, or not whole, among the newest turns."""
        known = {(entry.exchange, entry.place) for entry in read.stored}
        missing = sorted(each for each in wanted if (each, 0) not in known)  # cut, or older
        if not missing:
            return []
        tasks = [self._workers.start(partial(self._exchange, each)) for each in missing[1:]]
        items = self._exchange(missing[0])
        for task in tasks:
            items = [*items, *self._wait(task)]
        now = self._clock.epoch_ms() // 1_000
        turns = [
            session_items.read_turn(item)
            for item in items
            if not session_items.is_void(item)
            and (item.expires_at is None or item.expires_at > now)
        ]
        return [
            each
            for each in turns
            if each.exchange >= read.head.first_exchange
            and (each.exchange, each.place) not in known
        ]

    def _exchange(self, number: int) -> list[Item]:
        """Return an exchange's turns, its first ones where there is no room for all."""
        ask = partial(self._store.query, self._pk, f"{keys.TURN_PREFIX}{number:06d}#")
        try:
            return ask(deadline_ms=self._deadline_ms())
        except errors.TooMuchAtOnceError as error:
            self.cut = True
            return ask(limit=error.fits, deadline_ms=self._deadline_ms())

    def _read_digest(self) -> Item | None:
        return self._store.get(memory_items.digest_key(self._pk), deadline_ms=self._deadline_ms())

    def _read_vectors(self) -> list[Item]:
        return self._store.query(self._pk, keys.VECTOR_PREFIX, deadline_ms=self._deadline_ms())

    def _wait(self, task: Task[T]) -> T:
        try:
            return task.wait((self._deadline_ms() - self._clock.epoch_ms()) / 1_000)
        except errors.DeadlineError as error:
            message = f"The memory of session {self._rule['session_id']!r} was not read in time. "
            raise errors.StoreUnavailableError(message + error.detail) from None
