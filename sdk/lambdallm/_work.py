"""One unit of work as the SDK sees it: begin, ask and remember, end.

Its id stands in every message, so that nothing is ever kept by "the current invocation".

A sidecar that ends or stands still in the middle loses nothing of it: what was said is kept here
until the end, and handed to the embedded engine, which goes on in the sidecar's place. One thing
is never repeated: a model call that may have been made.
"""

from __future__ import annotations

from _thread import allocate_lock

from lambdallm import __version__, _settings, _sidecar, _transport
from lambdallm_wire import names, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._transport import Transport
    from lambdallm_wire.chat import ChatRequest
    from lambdallm_wire.sessions import SessionRule

BEGIN_SECONDS = 2.0
"""`begin` and `append` wait for nothing, in the embedded engine too."""

GRACE_SECONDS = 1.0
"""How long after a call's own deadline the engine's answer is waited for."""

LAST_SECONDS = 0.05
"""Kept free before Lambda's deadline, to tell the handler that no answer came."""

CONTINUING_VERSION = 2
"""Of the wire: from it on, an engine goes on with what another one has begun to write."""

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
        self._lock = allocate_lock()
        self._begin: dict[str, Any] = {}
        self._writer = ""
        self._said: list[dict[str, Any]] = []
        self._spent = _NOTHING
        self._spent_before = _NOTHING

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
        self._begin = {
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
            reply = transport.request(routes.BEGIN, self._begin, timeout_seconds=BEGIN_SECONDS)
        except _sidecar.SidecarLostError as lost:  # beginning twice is safe: it asks for nothing
            transport = _instead_of(transport, lost)
            reply = transport.request(routes.BEGIN, self._begin, timeout_seconds=BEGIN_SECONDS)
        self._writer = reply.get("writer", "")
        self._transport = transport

    def end(self, outcome: str, error_code: str, handler_ms: float) -> None:
        """Close it, once everything that is to be waited for is stored.

        Raises:
            StateError: The session could not be written; it is closed all the same.
        """
        if self._transport is None:
            return
        message: dict[str, Any] = {
            "work_id": self.work_id,
            "outcome": outcome,
            "handler_ms": handler_ms,
        }
        if error_code:
            message["error_code"] = error_code
        try:
            self._ask(routes.END, message)
        finally:
            self._transport, self._said = None, []

    def chat(self, request: ChatRequest, deadline_epoch_ms: int) -> dict[str, Any]:
        """Ask a model; see `lambdallm_wire.chat`."""
        reply = self._ask(routes.CHAT, request, self._seconds(deadline_epoch_ms))
        self._spent = (reply["total_cost_pico_usd"], reply["total_unpriced_calls"])
        before = self._spent_before
        if before != _NOTHING:
            reply["total_cost_pico_usd"] += before[0]
            reply["total_unpriced_calls"] += before[1]
        return reply

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
        self._ask(routes.APPEND, message, min(BEGIN_SECONDS, self._seconds(self.deadline_epoch_ms)))
        if isinstance(self._transport, _sidecar.SidecarTransport):
            self._said.append(message)

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
        transport = self._transport
        assert transport is not None  # noqa: S101 - begin() has set it or raised
        if timeout_seconds is None:
            timeout_seconds = self._seconds(self.deadline_epoch_ms)
        try:
            return transport.request(route, message, timeout_seconds=timeout_seconds)
        except _sidecar.SidecarLostError as lost:
            if lost.sent and route is routes.CHAT:
                raise
            transport = self._move(transport, lost)
        return transport.request(route, message, timeout_seconds=timeout_seconds)

    def _move(self, lost: Transport, error: _sidecar.SidecarLostError) -> Transport:
        """Let the embedded engine go on with it, told all that was said.

        Raises:
            SidecarError: It cannot; what the store has confirmed is stored.
        """
        with self._lock:
            if self._transport is not lost and self._transport is not None:
                return self._transport  # another thread was here first
            if self._said and not self._writer:
                raise error  # an older sidecar: nobody knows what is its own in the store
            transport = _instead_of(lost, error)
            begin = {**self._begin, "continues": self._writer} if self._writer else self._begin
            reply = transport.request(routes.BEGIN, begin, timeout_seconds=BEGIN_SECONDS)
            if self._said:
                if reply["wire_version"] < CONTINUING_VERSION:
                    raise error  # an older engine would take what is stored for another delivery's
                for message in self._said:
                    transport.request(routes.APPEND, message, timeout_seconds=BEGIN_SECONDS)
            self._spent_before = _sum(self._spent_before, self._spent)
            self._spent = _NOTHING
            self._transport = transport
            if isinstance(lost, _sidecar.SidecarTransport):
                lost.give_up(self.work_id)
            return transport

    def _seconds(self, deadline_epoch_ms: int) -> float:
        """Return how long to wait for an answer that is due at a deadline."""
        now_ms = _settings.epoch_ms()
        due = (deadline_epoch_ms - now_ms) / 1_000 + GRACE_SECONDS
        last = (self.deadline_epoch_ms - now_ms) / 1_000 - LAST_SECONDS
        return max(LAST_SECONDS, min(due, last))


_NOTHING = (0, 0)
"""Pico-USD, and calls without a price."""


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def _instead_of(lost: Transport, error: _sidecar.SidecarLostError) -> Transport:
    assert isinstance(lost, _sidecar.SidecarTransport)  # noqa: S101 - nobody else gets lost
    return _transport.instead_of(lost, silent=error.silent)
