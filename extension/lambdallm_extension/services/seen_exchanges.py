"""Waiting for an exchange whose answer somebody has seen before it was stored.

    its EXCHANGE is answered? ─ yes ─────────────────────────────► read again
      └─ no: a little later, for two seconds ─► retryable ─ its event is over ─► lost

Whoever presents a receipt makes an environment wait. Another session's receipt is refused at once,
and so is one of an event that is over later than any event; a session that was waited for in vain
is waited for less long the next times, so that made-up receipts cost one request each.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key
from lambdallm_extension.services import session_items
from lambdallm_wire import receipts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.ports import Clock, Store
    from lambdallm_wire.sessions import Receipt, SessionRule

WAIT_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.15, 0.2, *(0.3,) * 5)
"""Between two looks for an exchange that was answered before it was written: 2 s in all."""

LOOKS = (11, 7, 5, 3, 0)
"""So many of these waits after no vain one in a row, after one, …: 2 s, 0.8, 0.3, 0.07, none."""

FORGOTTEN_MS = 60_000
"""So long after the last vain wait of a session everything is as before."""

VAIN_MAX = 1_024
"""Sessions whose vain waits are remembered; forgetting one costs two seconds."""

LATE_WRITES_MS = 5_000
"""So long after its deadline an event may still be written: Shutdown lasts 2 s (`works`)."""

EVENT_MAX_MS = 900_000
"""Of an event. Source: Lambda developer guide, "Quotas" (15 minutes), 2026-11."""

SKEW_MS = 60_000
"""Between the clocks of two environments, at most."""


class VainWaits:
    """Which sessions were waited for in vain. Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[str, tuple[int, int]] = {}

    def waits(self, pk: str, now_ms: int) -> tuple[float, ...]:
        """Return how long to wait between the looks for a session's exchange."""
        count, last_ms = self._known.get(pk, (0, now_ms))
        count = 0 if now_ms - last_ms > FORGOTTEN_MS else count
        return WAIT_SECONDS[: LOOKS[min(count, len(LOOKS) - 1)]]

    def note(self, pk: str, now_ms: int, *, vain: bool) -> None:
        """Take note of how a wait has ended."""
        with self._lock:
            count, last_ms = self._known.pop(pk, (0, now_ms))
            if not vain:
                return
            self._known[pk] = (1 if now_ms - last_ms > FORGOTTEN_MS else count + 1), now_ms
            if len(self._known) > VAIN_MAX:
                del self._known[next(iter(self._known))]


class SeenExchanges:
    """Waits for exchanges of one session, for one unit of work."""

    def __init__(
        self,
        rule: SessionRule,
        store: Store,
        clock: Clock,
        *,
        vain_waits: VainWaits,
        deadline_ms: Callable[[], int],
        sleep: Callable[[float], None],
    ) -> None:
        self._rule = rule
        self._store = store
        self._clock = clock
        self._vain = vain_waits
        self._deadline_ms = deadline_ms
        self._sleep = sleep
        self._pk = keys.session_pk(rule["session_id"], rule.get("principal", ""))

    def check(self, after: Receipt) -> None:
        """Refuse what no answer in this session said.

        Raises:
            InvalidRequestError: It is another session's, or nobody's.
        """
        mark = receipts.session_mark(self._rule["session_id"], self._rule.get("principal", ""))
        latest_ms = self._clock.epoch_ms() + EVENT_MAX_MS + SKEW_MS
        if after.get("session", mark) != mark:
            reason = "it is another session's"
        elif after["until_epoch_ms"] > latest_ms:
            reason = "no event is over so late"
        else:
            return
        message = (
            f"The receipt of exchange {after['identity']!r:.80} is none of this session: {reason}. "
            "Send it back as it came, in the session that it came in, or leave it out."
        )
        raise errors.InvalidRequestError(message)

    def wait_for(self, after: Receipt) -> None:
        """Wait until an exchange is stored.

        Raises:
            NotYetStoredError: It is not yet.
            LostExchangeError: Its event is over, and did not leave it.
        """
        over_ms = after["until_epoch_ms"] + LATE_WRITES_MS
        now_ms = self._clock.epoch_ms()
        if now_ms > over_ms + 1_000 * self._rule["ttl_seconds"]:
            return  # it would have expired
        for seconds in (*self._vain.waits(self._pk, now_ms), None):
            if self._is_answered(after["identity"]):
                self._vain.note(self._pk, self._clock.epoch_ms(), vain=False)
                return
            now_ms = self._clock.epoch_ms()
            if now_ms > over_ms:
                message = (
                    f"Exchange {after['identity']!r}, whose answer the caller has seen, was never "
                    "stored: its function was ended after it had answered. What was said in it is "
                    "lost; ask again without naming it."
                )
                raise errors.LostExchangeError(message)
            if seconds is None or now_ms + 1_000 * seconds > self._deadline_ms():
                break
            self._sleep(seconds)
        self._vain.note(self._pk, now_ms, vain=True)
        message = (
            f"Exchange {after['identity']!r}, whose answer the caller has seen, is not stored yet; "
            "an older state of the session is not shown. Try again."
        )
        raise errors.NotYetStoredError(message)

    def _is_answered(self, identity: str) -> bool:
        key = Key(self._pk, keys.exchange_sk(identity))
        item = self._store.get(key, deadline_ms=self._deadline_ms())
        return item is not None and session_items.read_exchange(item).answered
