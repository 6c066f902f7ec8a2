"""One unit of work as the SDK sees it: begin, ask and remember, end.

Its id stands in every message, so that nothing is ever kept by "the current invocation".
"""

from __future__ import annotations

from lambdallm import __version__, _errors, _settings, _transport
from lambdallm_wire import names, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._transport import Transport
    from lambdallm_wire.chat import ChatRequest
    from lambdallm_wire.sessions import SessionRule

BEGIN_SECONDS = 2.0
"""`begin` waits for nothing, so a sidecar that takes longer is hung.

Generous, because the processes of a small function share a few percent of a CPU.
"""

GRACE_SECONDS = 1.0
"""How long after a call's own deadline the engine's answer is waited for."""

LAST_SECONDS = 0.05
"""Kept free before Lambda's deadline, to tell the handler that no answer came."""

_first_in_process = True


class Work:
    """A unit of work. It begins at the first use if nobody has begun it before."""

    def __init__(self, work_id: str, request_id: str, deadline_epoch_ms: int) -> None:
        """Describe it; nothing is sent yet.

        Args:
            work_id: Its identity everywhere.
            request_id: Lambda's, or one that was made up.
            deadline_epoch_ms: When Lambda ends the invocation.
        """
        self.work_id = work_id
        self.request_id = request_id
        self.deadline_epoch_ms = deadline_epoch_ms
        self._transport: Transport | None = None

    @property
    def begun(self) -> bool:
        """Whether it is open."""
        return self._transport is not None

    def begin(self, session: SessionRule | None = None) -> None:
        """Open it; the session's read starts at once.

        Raises:
            ConfigurationError: A session is declared, and no store is configured.
            SidecarError: Nobody serves this process.
        """
        global _first_in_process  # noqa: PLW0603 - it is a fact about the process
        message = {
            "wire_version": names.WIRE_VERSION,
            "sdk_version": __version__,
            "work_id": self.work_id,
            "request_id": self.request_id,
            "deadline_epoch_ms": self.deadline_epoch_ms,
            "cold_start": _first_in_process,
            "session": session,
        }
        _first_in_process = False
        transport = _transport.current()
        try:
            transport.request(routes.BEGIN, message, control=True, timeout_seconds=BEGIN_SECONDS)
        except _errors.SidecarError:
            if transport.usable:
                raise
            # The sidecar died or hangs. Beginning twice is safe: it asks for nothing.
            transport = _transport.current()
            transport.request(routes.BEGIN, message, control=True, timeout_seconds=BEGIN_SECONDS)
        self._transport = transport

    def end(self, outcome: str, error_code: str, handler_ms: float) -> None:
        """Close it, once everything that is to be waited for is stored.

        Raises:
            StateError: The session could not be written; it is closed all the same.
        """
        transport, self._transport = self._transport, None
        if transport is None:
            return
        message: dict[str, Any] = {
            "work_id": self.work_id,
            "outcome": outcome,
            "handler_ms": handler_ms,
        }
        if error_code:
            message["error_code"] = error_code
        transport.request(
            routes.END, message, control=True, timeout_seconds=self._seconds(self.deadline_epoch_ms)
        )

    def chat(self, request: ChatRequest, deadline_epoch_ms: int) -> dict[str, Any]:
        """Ask a model; see `lambdallm_wire.chat`."""
        return self._ask(routes.CHAT, request, self._seconds(deadline_epoch_ms))

    def window(self) -> dict[str, Any]:
        """Wait for the session's read and return what it found."""
        return self._ask(routes.WINDOW, {"work_id": self.work_id})

    def append(
        self, turns: list[dict[str, Any]], *, metadata: dict[str, Any] | None, clear: bool
    ) -> None:
        """Hand over new turns; whether the store has them is said by `save` and `end`."""
        message: dict[str, Any] = {"work_id": self.work_id, "turns": turns}
        if metadata is not None:
            message["metadata"] = metadata
        if clear:
            message["clear"] = True
        # Taking turns needs no network; whether they are stored is said by `save` and `end`.
        left = self._seconds(self.deadline_epoch_ms)
        self._ask(routes.APPEND, message, min(BEGIN_SECONDS, left))

    def save(self) -> None:
        """Wait until the store has confirmed every turn.

        Raises:
            StateError: It did not; the message says what is known.
        """
        self._ask(routes.SAVE, {"work_id": self.work_id})

    def _ask(
        self, route: routes.Route, message: Any, timeout_seconds: float | None = None
    ) -> dict[str, Any]:
        if self._transport is None:
            self.begin()
        assert self._transport is not None  # noqa: S101 - begin() has set it or raised
        if timeout_seconds is None:
            timeout_seconds = self._seconds(self.deadline_epoch_ms)
        return self._transport.request(route, message, timeout_seconds=timeout_seconds)

    def _seconds(self, deadline_epoch_ms: int) -> float:
        """Return how long to wait for an answer that is due at a deadline."""
        now_ms = _settings.epoch_ms()
        due = (deadline_epoch_ms - now_ms) / 1_000 + GRACE_SECONDS
        last = (self.deadline_epoch_ms - now_ms) / 1_000 - LAST_SECONDS
        return max(LAST_SECONDS, min(due, last))
