"""How much of large bodies is kept at once: the sum is bounded, not each of them alone.

A sidecar shares its function's memory. One request of 20 MB is kept two or three times on its way
(as it is read, whole, and as it is sent), and eight at once would end the process.
"""

from __future__ import annotations

from threading import Condition

from lambda_runtime_api.http1 import BODY_MAX_BYTES, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Request

SMALL_BYTES = 1_048_576
"""Up to here a body is not counted: dozens of them at once are no more than one of the largest."""

WAIT_SECONDS = 60.0
"""For room; clients wait longer than that for a model."""

UNAVAILABLE = 503


class BodyRoom:
    """Room for large bodies; who finds none waits, unread. Threads share it."""

    def __init__(self, room_bytes: int) -> None:
        """Start empty; one body of the largest size finds room, however little there is.

        Args:
            room_bytes: Of all large bodies together.
        """
        self._left = max(BODY_MAX_BYTES, room_bytes)
        self._changed = Condition()

    def take(self, request: Request) -> int:
        """Wait for room for a request's body; return how much of it is to be given back.

        Raises:
            ProtocolError: There was none in time (503).
        """
        wanted = _length_of(request)
        if wanted <= SMALL_BYTES:
            return 0
        with self._changed:
            if not self._changed.wait_for(lambda: self._left >= wanted, WAIT_SECONDS):
                message = (
                    "Other large requests take up the sidecar's memory; give the function more, "
                    "or send fewer at once."
                )
                raise ProtocolError(message, UNAVAILABLE)
            self._left -= wanted
        return wanted

    def give_back(self, taken: int) -> None:
        """Let the next one in."""
        if taken:
            with self._changed:
                self._left += taken
                self._changed.notify_all()


def _length_of(request: Request) -> int:
    """Return how long the body may be; one that comes in chunks does not say."""
    if request.header("transfer-encoding"):
        return BODY_MAX_BYTES
    length = request.header("content-length")
    return min(BODY_MAX_BYTES, int(length)) if length.isdigit() else 0
