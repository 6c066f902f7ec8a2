"""One message to many connections, several at once, on threads that are free."""

from __future__ import annotations

from collections import deque
from threading import Condition

from lambdallm_extension import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdallm_extension.services.connection_items import Member
    from lambdallm_extension.services.tasks import Workers
    from lambdallm_wire.connections import PushedToGroup

AT_ONCE = 16
"""Requests at once: as many kept connections stay open. Half of the threads are left to others."""


class GroupPush:
    """One message on its way to a group. The caller's thread works too: it waits for no other."""

    def __init__(
        self, members: Sequence[Member], post: Callable[[Member], bool], workers: Workers
    ) -> None:
        """Send nothing yet.

        Args:
            members: Who is to get it.
            post: Sends it to one; False where he is gone.
            workers: Threads beside the caller's.
        """
        self._members = len(members)
        self._waiting = deque(members)
        self._post = post
        self._workers = workers
        self._changed = Condition()
        self._under_way = 0
        self._delivered = 0
        self._gone = 0
        self._failed: Exception | None = None

    def run(self) -> PushedToGroup:
        """Send it to all, and return how many have got it.

        Raises:
            PushError: Some have not.
            ExtensionError: What nobody could get it for; it was not tried with the others then.
        """
        for _ in range(min(AT_ONCE, len(self._waiting)) - 1):
            try:
                self._workers.start(self._work)
            except errors.OverloadedError:
                break  # fewer at once
        self._work()
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way)
        if self._failed is None:
            return {"delivered": self._delivered, "gone": self._gone}
        failed = self._failed
        if isinstance(failed, errors.PushError):
            detail = f"{failed.detail} {self._delivered} of {self._members} clients have got it."
            raise type(failed)(detail, sent=failed.sent) from failed
        raise failed

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    return
                member = self._waiting.popleft()
                self._under_way += 1
            delivered = 0
            failed: Exception | None = None
            try:
                delivered = 1 if self._post(member) else -1
            except Exception as error:  # noqa: BLE001 - the caller waits, and raises it
                failed = error
            finally:
                self._settle(delivered, failed)

    def _settle(self, delivered: int, failed: Exception | None) -> None:
        with self._changed:
            self._under_way -= 1
            self._delivered += delivered > 0
            self._gone += delivered < 0
            if failed is not None:
                self._failed = self._failed or failed
                if not isinstance(failed, errors.PushError):
                    self._waiting.clear()  # the others would meet the same
            self._changed.notify_all()
