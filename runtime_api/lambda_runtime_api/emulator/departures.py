"""Noticing that a client has gone, while nothing is sent to it."""

from __future__ import annotations

import select
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Departure:
    """Watches a connection for as long as the `with` block lasts, from a thread of its own."""

    def __init__(self, connection: socket.socket, gone: Callable[[], None]) -> None:
        """Begin.

        Args:
            connection: Where the client was; what it sends stays unread.
            gone: Called once, if the client closes, and when the block ends by an exception.
        """
        self._gone = gone
        self._end, waking = socket.socketpair()
        self._thread = threading.Thread(
            target=self._watch,
            args=(connection.fileno(), waking),
            name="emulator-departure",
            daemon=True,
        )

    def __enter__(self) -> Departure:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.close()
        self._thread.join()
        if exc_type is not None:
            self._gone()

    def _watch(self, descriptor: int, waking: socket.socket) -> None:
        with waking:
            poll = select.poll()
            poll.register(descriptor, _GONE)
            poll.register(waking.fileno(), select.POLLIN)
            if any(ready == descriptor for ready, _ in poll.poll()):
                self._gone()
