"""Sending transactions until their fate is known, and again while somebody else was first.

Writers of one session contend for its head. Who loses learns from the refusal what stands there and
tries again at once, until its time is up. Luck is uneven: of eight writers in a hurry one loses
forty times in a row now and then. To wait a moment after a loss makes that worse, because those
who have just won do not wait: on Redis and SQLite the slowest of 4,000 writes took 4 s with waits
of up to 16 ms, and 0.05 to 0.3 s without.
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.services import session_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.ports import Action, Clock, Store

UNCERTAIN_RETRIES_MAX = 2
"""On top of the store's own retries: under its token a transaction is done once."""

LOSSES_MAX = 10_000
"""Of one write. Time ends it sooner: this is for clocks that stand still."""


class WriteAttempts:
    """Sends the transactions of one writer. Not for two threads at once."""

    def __init__(
        self,
        nonce: str,
        *,
        store: Store,
        clock: Clock,
        deadline_ms: Callable[[], int],
    ) -> None:
        self._nonce = nonce
        self._store = store
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._sent = 0
        self._losses = 0

    def send(self, actions: Sequence[Action]) -> None:
        """Send a transaction until its fate is known.

        Raises:
            StoreError: As `Store.transact` does.
        """
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
                self._losses = 0
                return
        assert uncertain is not None  # noqa: S101 - each attempt has returned, raised or set it
        raise uncertain

    def lost(self) -> None:
        """Take note that somebody else was first.

        Raises:
            StoreUnavailableError: There is no time for another attempt.
        """
        self._losses += 1
        if self._losses > LOSSES_MAX or self._clock.epoch_ms() >= self._deadline_ms():
            message = (
                f"Too many writers in this session at once: {self._losses} times somebody else was "
                "first. Nothing was written; try again."
            )
            raise errors.StoreUnavailableError(message)
