"""Writing what is too large for an item: its pieces first, then tickets are in its place."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from threading import Lock

from lambdallm_extension.errors import StoreRefusedError
from lambdallm_extension.ports import Put
from lambdallm_extension.stores import offloading, rules, tickets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.ports import Action, Clock, Item
    from lambdallm_extension.stores.offloading import Candidate
    from lambdallm_extension.stores.payload_jobs import Jobs
    from lambdallm_extension.stores.places import Place
    from lambdallm_extension.stores.tickets import Ticket

TOKENS_MAX = 256
"""Transactions whose first attempt is remembered; one is sent again within seconds, or never."""


class PayloadWriter:
    """Puts texts of actions elsewhere. Threads share it."""

    def __init__(
        self, place: Place, jobs: Jobs, clock: Clock, *, threshold_bytes: int, compressed: bool
    ) -> None:
        self._place = place
        self._jobs = jobs
        self._clock = clock
        self._threshold = threshold_bytes
        self._compressed = compressed
        self._lock = Lock()
        self._first_tried: dict[str, int] = {}

    def offload(self, actions: Sequence[Action], token: str, deadline_ms: int) -> Sequence[Action]:
        """Write what is too large, and return the actions with tickets in its place."""
        items = [action.item if isinstance(action, Put) else None for action in actions]
        for item in items:
            if item is not None and tickets.ATTRIBUTE in item.attributes:
                message = f"An attribute cannot be called {tickets.ATTRIBUTE!r}."
                raise StoreRefusedError(message)
        smallest = offloading.COMPRESSED_FROM_BYTES if self._compressed else offloading.SMALL_BYTES
        candidates = offloading.candidates_of(items, smallest)
        if not candidates:
            return actions
        if self._compressed:
            candidates = [_compressed(candidate) for candidate in candidates]
        chosen = offloading.choose(candidates, _sizes(items, candidates), self._threshold)
        made: dict[int, dict[str, Ticket]] = {}
        jobs: list[Callable[[], None]] = []
        for candidate in candidates:
            if candidate in chosen:
                item = items[candidate.place]
                assert item is not None  # noqa: S101 - candidates are of puts
                ticket = self._ticket(item, candidate, token, jobs, deadline_ms)
            elif candidate.compressed is not None:
                ticket = tickets.inline(candidate.content, candidate.compressed)
            else:
                continue
            made.setdefault(candidate.place, {})[candidate.name] = ticket
        self._jobs.run(jobs, deadline_ms)
        return [
            action._replace(item=tickets.with_tickets(action.item, made[index]))
            if isinstance(action, Put) and index in made
            else action
            for index, action in enumerate(actions)
        ]

    def _ticket(
        self,
        item: Item,
        candidate: Candidate,
        token: str,
        jobs: list[Callable[[], None]],
        deadline_ms: int,
    ) -> Ticket:
        """Name a text, and add to the jobs what writes it."""
        digest = sha256(candidate.content).hexdigest()
        named = "\0".join((token, *item.key, candidate.name, digest))
        seconds = None
        if item.expires_at is not None:
            seconds = item.expires_at - self._first_attempt(token)
        key = self._place.key(sha256(named.encode()).hexdigest()[:40], seconds=seconds)
        is_text = candidate.compressed is None
        stored = candidate.content if candidate.compressed is None else candidate.compressed
        pieces = self._place.split(stored, is_text=is_text)
        jobs += [
            partial(
                self._place.write,
                key,
                number,
                piece,
                is_text=is_text,
                expires_at=item.expires_at,
                deadline_ms=deadline_ms,
            )
            for number, piece in enumerate(pieces)
        ]
        coding = "" if is_text else tickets.ZLIB
        length = len(candidate.content)
        return tickets.Ticket(self._place.name, key, len(pieces), length, digest, coding)

    def _first_attempt(self, token: str) -> int:
        """Return when a write was tried first (epoch seconds): again, it has to be the same one."""
        now = self._clock.epoch_ms() // 1_000
        with self._lock:
            first = self._first_tried.setdefault(token, now)
            if len(self._first_tried) > TOKENS_MAX:
                del self._first_tried[next(iter(self._first_tried))]
        return first


def _sizes(items: Sequence[Item | None], candidates: Sequence[Candidate]) -> list[int]:
    """Return how large each item would be with all of its texts."""
    sizes = [0 if item is None else rules.size_of(item.key, item.attributes) for item in items]
    for candidate in candidates:
        sizes[candidate.place] += candidate.size - len(candidate.content)
    return sizes


def _compressed(candidate: Candidate) -> Candidate:
    """Compress a text, unless nothing is saved."""
    smaller = candidate._replace(compressed=tickets.compress(candidate.content))
    return smaller if smaller.size < len(candidate.content) else candidate
