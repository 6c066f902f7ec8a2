"""One unit of work as the SDK sees it: begin, ask and remember, end.

Its id stands in every message, so that nothing is ever kept by "the current invocation".

A sidecar that ends or stands still in the middle loses nothing of it: what was said is kept here
until the end, and handed to the embedded engine, which goes on in the sidecar's place. One thing
is never repeated: a model call that may have been made.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from lambdallm import __version__, _errors, _settings, _sidecar, _transport
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

INVOCATIONS_MAX = 64
"""Remembered at least, for the names in them: Managed Instances run as many at once."""

_first_in_process = True


class _Invocation:
    """The units of work of one invocation in this process, of which each needs its own names.

    Mostly there is one. Handlers that call each other, or are called one after the other for the
    records of a batch, bring several, all of one request id and often of one event.
    """

    def __init__(self, lambda_context: object) -> None:
        self.lambda_context = lambda_context
        self.units = 0
        self.fork = ""
        self.open: dict[str, tuple[str, str] | None] = {}
        self.done: set[tuple[str, str]] = set()

    def is_of(self, lambda_context: object) -> bool:
        """Say whether a unit belongs to it: a retry has the same request id, and comes later."""
        return bool(self.open) or (
            lambda_context is not None and self.lambda_context is lambda_context
        )

    def name(self, work_id: str) -> str:
        """Name the next unit: the first one as it is, then `…-2`; `….PID` in a forked child."""
        self.units += 1
        number = f"-{self.units}" if self.units > 1 else ""
        return f"{work_id}{self.fork}{number}"

    def identify(self, session_id: str, identity: str, made_up: bool) -> tuple[str, str]:
        """Return what an exchange is known by: the event's identity, but of one exchange only.

        A second one would be taken for a redelivery, and dropped. An identity that was made up of
        the request says nothing about the event: a unit that has ended well has used it up, too.
        No client can send the `#`.
        """
        taken = set(self.open.values()) | (self.done if made_up else set())
        number, free = 1, identity
        while (session_id, free) in taken:
            number += 1
            free = f"{identity}#{number}{self.fork}"
        return session_id, free


_invocations: dict[str, _Invocation] = {}
_invocations_lock = allocate_lock()
_forks = 0


def _in_child() -> None:
    """After a fork: what is open belongs to the parent, and its names are taken."""
    global _forks, _invocations_lock  # noqa: PLW0603 - facts about the process
    _forks += 1
    _invocations_lock = allocate_lock()
    for invocation in _invocations.values():
        invocation.fork, invocation.units = f".{os.getpid()}", 0


os.register_at_fork(after_in_child=_in_child)


class Work:
    """A unit of work. It begins at the first use if nobody has begun it before."""

    def __init__(
        self,
        work_id: str,
        request_id: str,
        deadline_epoch_ms: int,
        *,
        lambda_context: object = None,
    ) -> None:
        """Describe it; nothing is sent yet.

        Args:
            work_id: Its identity everywhere, unless `begin` finds it taken in its invocation.
            request_id: Lambda's, or one that was made up.
            deadline_epoch_ms: When Lambda ends the invocation.
            lambda_context: Tells invocations of one request id from each other.
        """
        self.work_id = work_id
        self.request_id = request_id
        self.deadline_epoch_ms = deadline_epoch_ms
        self._given = (work_id, request_id)
        self._lambda_context = lambda_context
        self._closed = False
        self._forks = _forks
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
        self._open(session)

    def _open(self, session: SessionRule | None, **more: bool) -> None:
        global _first_in_process  # noqa: PLW0603 - it is a fact about the process
        session = self._claim(session)
        self._closed, self._forks = False, _forks
        self._begin = {
            "wire_version": names.WIRE_VERSION,
            "sdk_version": __version__,
            "work_id": self.work_id,
            "request_id": self.request_id,
            "deadline_epoch_ms": self.deadline_epoch_ms,
            "cold_start": _first_in_process,
            "session": session,
            **more,
        }
        _first_in_process = False
        try:
            transport = _transport.current()
            try:
                reply = transport.request(routes.BEGIN, self._begin, timeout_seconds=BEGIN_SECONDS)
            except _sidecar.SidecarLostError as lost:  # twice is safe: it asks for nothing
                transport = _instead_of(transport, lost)
                reply = transport.request(routes.BEGIN, self._begin, timeout_seconds=BEGIN_SECONDS)
        except BaseException:
            self._release("error")
            raise
        self._writer = reply.get("writer", "")
        self._transport = transport

    def end(self, outcome: str, error_code: str, handler_ms: float) -> None:
        """Close it, once everything that is to be waited for is stored.

        Raises:
            StateError: The session could not be written; it is closed all the same.
        """
        if self._transport is None:
            return
        if self._forks != _forks:  # it is the parent's, who ends it
            self._transport = None
            return
        message: dict[str, Any] = {"outcome": outcome, "handler_ms": handler_ms}
        if error_code:
            message["error_code"] = error_code
        self._closed = True
        try:
            self._ask(routes.END, message)
        except BaseException:
            outcome = "error"
            raise
        finally:
            self._transport, self._said = None, []
            self._release(outcome)

    def chat(self, request: ChatRequest, deadline_epoch_ms: int) -> dict[str, Any]:
        """Ask a model; see `lambdallm_wire.chat`. After the end it is a unit of its own."""
        if self._closed:
            return self._chat_late(request, deadline_epoch_ms)
        reply = self._ask(routes.CHAT, request, self._seconds(deadline_epoch_ms))
        self._spent = (reply["total_cost_pico_usd"], reply["total_unpriced_calls"])
        before = self._spent_before
        if before != _NOTHING:
            reply["total_cost_pico_usd"] += before[0]
            reply["total_unpriced_calls"] += before[1]
        return reply

    def window(self) -> dict[str, Any]:
        """Wait for the session's read and return what it found."""
        return self._ask(routes.WINDOW, {})

    def append(
        self, turns: list[dict[str, Any]], *, metadata: dict[str, Any] | None, clear: bool
    ) -> None:
        """Hand over new turns; whether the store has them is said by `save` and `end`."""
        message: dict[str, Any] = {"turns": turns}
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
        self._ask(routes.SAVE, {})

    def _chat_late(self, request: ChatRequest, deadline_epoch_ms: int) -> dict[str, Any]:
        """Ask for a thread that its handler has not waited for, so that the call is accounted."""
        late = Work(*self._given, self.deadline_epoch_ms, lambda_context=self._lambda_context)
        outcome = "error"
        try:
            reply = late.chat(request, deadline_epoch_ms)
            outcome = "ok"
        finally:
            late.end(outcome, "", 0.0)
        reply["total_cost_pico_usd"] += self._spent_before[0] + self._spent[0]
        reply["total_unpriced_calls"] += self._spent_before[1] + self._spent[1]
        return reply

    def _claim(self, session: SessionRule | None) -> SessionRule | None:
        """Take names that nothing else of the invocation has, and return the rule with its own."""
        given, request_id = self._given
        with _invocations_lock:
            invocation = _invocations.get(request_id)
            if invocation is None or not invocation.is_of(self._lambda_context):
                _forget_invocations()
                _invocations[request_id] = invocation = _Invocation(self._lambda_context)
            self.work_id = invocation.name(given)
            invocation.open[self.work_id] = None
            if session is None:
                return None
            made_up = session["identity"] == given
            exchange = invocation.identify(session["session_id"], session["identity"], made_up)
            invocation.open[self.work_id] = exchange
        return {**session, "identity": exchange[1]}

    def _release(self, outcome: str) -> None:
        with _invocations_lock:
            invocation = _invocations.get(self._given[1])
            if invocation is None:
                return
            exchange = invocation.open.pop(self.work_id, None)
            if exchange is not None and outcome == "ok":
                invocation.done.add(exchange)

    def _begin_in_child(self) -> None:
        """Begin anew after a fork, under a name of its own: the parent goes on with this one.

        The child is no invocation, which would be held until it ends.
        """
        session, self._transport, self._said = self._begin.get("session"), None, []
        self._lock = allocate_lock()
        self.request_id = f"{self._given[1]}.{os.getpid()}"
        self._spent_before, self._spent = _sum(self._spent_before, self._spent), _NOTHING
        self._open(session, forked=True)

    def _ask(
        self, route: routes.Route, message: Any, timeout_seconds: float | None = None
    ) -> dict[str, Any]:
        if self._closed and route is not routes.END:
            raise _errors.InvalidRequestError(_ENDED)
        if self._forks != _forks and self._begin:
            self._begin_in_child()
        if self._transport is None:
            self.begin()
        transport = self._transport
        assert transport is not None  # noqa: S101 - begin() has set it or raised
        message["work_id"] = self.work_id
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
            if self._transport is None:
                raise error  # it has ended meanwhile: nobody waits for this thread
            if self._transport is not lost:
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


_ENDED = (
    "The unit of work has ended: its handler has returned, and its session is closed. Wait for "
    "your threads before you return."
)

_NOTHING = (0, 0)
"""Pico-USD, and calls without a price."""


def _forget_invocations() -> None:
    """Make room, of those that have nothing open first; the caller has the lock."""
    if len(_invocations) < 2 * INVOCATIONS_MAX:
        return
    closed = [name for name, invocation in _invocations.items() if not invocation.open]
    for name in (closed or list(_invocations))[:INVOCATIONS_MAX]:
        del _invocations[name]


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def _instead_of(lost: Transport, error: _sidecar.SidecarLostError) -> Transport:
    assert isinstance(lost, _sidecar.SidecarTransport)  # noqa: S101 - nobody else gets lost
    return _transport.instead_of(lost, silent=error.silent)
