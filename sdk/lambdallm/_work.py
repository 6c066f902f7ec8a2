"""One unit of work as the SDK sees it: begin, ask and remember, end.

Its id stands in every message, so that nothing is ever kept by "the current invocation".

A sidecar that ends or stands still in the middle loses nothing of it: what was said is kept here
until the end, and handed to the embedded engine, which goes on in the sidecar's place. One thing
is never repeated: a model call that may have been made.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from lambdallm import __version__, _errors, _owners, _settings, _sidecar, _transport, _unit_names
from lambdallm._call_lengths import CallLengths
from lambdallm._connection import SidecarLostError
from lambdallm._spent import Spent
from lambdallm_wire import names, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from lambdallm._reply_stream import Lines
    from lambdallm._transport import Transport
    from lambdallm_wire.chat import ChatRequest
    from lambdallm_wire.sessions import Receipt, SessionRule

BEGIN_SECONDS = 2.0
"""`begin` and `append` wait for nothing, in the embedded engine too."""

GRACE_SECONDS = 1.0
"""How long after a call's own deadline the engine's answer is waited for."""

LAST_SECONDS = 0.05
"""Kept free before Lambda's deadline, to tell the handler that no answer came."""

CONTINUING_VERSION = 2
"""Of the wire: from it on, an engine goes on with what another one has begun to write."""

DROP_IN_VERSION = 3
"""Of the wire: from it on, the sidecar serves unmodified clients."""

_NEW_CALLS = (routes.CHAT, routes.STREAM, routes.EMBED)

_ASKED_ONCE = (routes.CHAT, routes.STREAM, routes.EMBED, routes.PERFORMED, *routes.PUSH_ROUTES)
"""What may be billed, or seen by somebody. It is never sent again."""

_first_in_process = True


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
            lambda_context: Tells invocations of one request id from each other, and the tenant.
        """
        self.work_id = work_id
        self.request_id = request_id
        self.deadline_epoch_ms = deadline_epoch_ms
        self._given = (work_id, request_id)
        self._lambda_context = lambda_context
        tenant = getattr(lambda_context, "tenant_id", None)
        self._scopes: dict[str, Any] = {"tenant": tenant} if isinstance(tenant, str) else {}
        self._closed, self._forks = False, _unit_names.forks
        self._transport: Transport | None = None
        self._lock = allocate_lock()
        self._begin: dict[str, Any] = {}
        self._writer = ""
        self._wire_version = names.WIRE_VERSION
        self._said: list[dict[str, Any]] = []
        self.lengths = CallLengths()
        self.spent = Spent()

    @property
    def engine(self) -> object:
        """Who serves it: the same one, or another; None before it has begun."""
        return self._transport

    def begin(self, session: SessionRule | None = None) -> None:
        """Open it; the session's read starts at once.

        Raises:
            ConfigurationError: A session is declared, and no store is configured, or the layer is
                too old to know whose it is.
            SidecarError: Nobody serves this process.
        """
        self._open(session)

    def _open(self, session: SessionRule | None, **more: bool) -> None:
        global _first_in_process  # noqa: PLW0603 - it is a fact about the process
        given, request_id = self._given
        self.work_id, session = _unit_names.claim(given, request_id, self._lambda_context, session)
        self._closed, self._forks = False, _unit_names.forks
        self._begin = {
            "wire_version": names.WIRE_VERSION,
            "sdk_version": __version__,
            "work_id": self.work_id,
            "request_id": self.request_id,
            "deadline_epoch_ms": self.deadline_epoch_ms,
            "cold_start": _first_in_process,
            "session": session,
            **self._scopes,
            **more,
        }
        trace_id = _settings.trace_id()
        if trace_id:
            self._begin["trace_id"] = trace_id
        _first_in_process = False
        try:
            transport = _transport.current()
            try:
                reply = transport.request(routes.BEGIN, self._begin, timeout_seconds=BEGIN_SECONDS)
            except SidecarLostError as lost:  # twice is safe: it asks for nothing
                transport = _instead_of(transport, lost)
                reply = transport.request(routes.BEGIN, self._begin, timeout_seconds=BEGIN_SECONDS)
        except BaseException:
            _unit_names.release(self.work_id, request_id, "error")
            raise
        self._writer = reply.get("writer", "")
        self._wire_version = reply.get("wire_version", 1)
        self._transport, self.spent.total = transport, None
        dropped = _owners.dropped_of(session, reply)
        if dropped:
            from lambdallm import _older_engines

            self.end("error", "configuration", 0.0)
            raise _older_engines.refusal_of(dropped)

    def end(self, outcome: str, error_code: str, handler_ms: float) -> None:
        """Close it, once everything that is to be waited for is stored.

        Raises:
            StateError: The session could not be written; it is closed all the same.
        """
        if self._transport is None:
            return
        if self._forks != _unit_names.forks:  # it is the parent's, who ends it
            self._transport = None
            return
        message: dict[str, Any] = {"outcome": outcome, "handler_ms": handler_ms}
        if error_code:
            message["error_code"] = error_code
        self._closed = True
        try:
            self.spent.close(self._ask(routes.END, message))
        except BaseException:
            outcome = "error"
            raise
        finally:
            self._transport, self._said = None, []
            _unit_names.release(self.work_id, self._given[1], outcome)

    def ask(self, route: routes.Route, request: Any, deadline_epoch_ms: int) -> dict[str, Any]:
        """Ask a model, or the caller's own provider, and return the whole answer.

        Args:
            route: `CHAT` or `EMBED`.
            request: See `lambdallm_wire.chat`.
            deadline_epoch_ms: No use for an answer after this.
        """
        unit = self.unit_for_call()
        outcome = "error"
        try:
            reply = unit.call(route, request, deadline_epoch_ms)
            if "perform" in reply:
                from lambdallm import _own_providers

                reply = _own_providers.answer(
                    reply["perform"],
                    request,
                    lambda performed: unit.call(routes.PERFORMED, performed, deadline_epoch_ms),
                )
            outcome = "ok"
        finally:
            self.leave(unit, outcome)
        return reply

    def stream(self, request: ChatRequest, deadline_epoch_ms: int) -> Lines:
        """Ask a model, and return the lines of its answer when it has begun.

        Of the unit that `unit_for_call` has named, which is left when the answer has ended.
        """
        from lambdallm._reply_stream import Lines

        seconds = self._seconds(deadline_epoch_ms)
        return Lines(self._ask(routes.STREAM, request, seconds, streamed=True))

    def call(self, route: routes.Route, message: Any, deadline_epoch_ms: int) -> dict[str, Any]:
        """Send what may be billed; the reply's totals are those of the whole unit."""
        reply: dict[str, Any] = self._ask(route, message, self._seconds(deadline_epoch_ms))
        return self.settle(reply)

    def settle(self, reply: dict[str, Any]) -> dict[str, Any]:
        """Take the totals of an answer, and add what was spent before under other engines."""
        if "perform" in reply:
            return reply
        if "text" in reply:
            self.lengths.answered(reply)
        self.spent.take(reply)
        return reply

    def unit_for_call(self) -> Work:
        """Return this unit, or a new one for a thread that its handler has not waited for.

        So that a late call is accounted, too. `leave` must follow.
        """
        if not self._closed:
            return self
        late = Work(*self._given, self.deadline_epoch_ms, lambda_context=self._lambda_context)
        late.spent, late._scopes = self.spent.under_another_engine(), self._scopes
        return late

    def leave(self, unit: Work, outcome: str) -> None:
        """End a unit that was made for one call."""
        if unit is not self:
            unit.end(outcome, "", 0.0)

    def drop_in_url(self, api: str) -> str | None:
        """Return where unmodified clients of an API are served, None for where they always ask."""
        if self._transport is None:
            self.begin()
        transport = self._transport
        if not isinstance(transport, _sidecar.SidecarTransport) or not transport.usable:
            return None
        return transport.url + api if self._wire_version >= DROP_IN_VERSION else None

    def window(self, after: Receipt | None = None, query: str = "") -> dict[str, Any]:
        """Wait for the session's read and return what it found.

        Args:
            after: What has been seen of it: it is read again, and is not older than that.
            query: What is about to be asked, for a memory that recalls.
        """
        message: dict[str, Any] = {"query": query} if query else {}
        if after is None:
            window: dict[str, Any] = self._ask(routes.WINDOW, message)
        else:
            window = self._ask(routes.WINDOW, {**message, "after": after})
            if "after" not in window.get("understood", ()):
                from lambdallm import _older_engines

                raise _older_engines.refusal_of("after")
        return window

    def control(self, route: routes.Route, message: dict[str, Any]) -> dict[str, Any]:
        """Ask what needs no model and no session; nothing is billed, and twice is safe."""
        reply: dict[str, Any] = self._ask(route, message)
        if route is routes.TAG:
            self._scopes = {**self._scopes, "tags": reply["tags"]}
        return reply

    @property
    def identity(self) -> str:
        """Of its exchange, "" before it has begun with a session."""
        identity: str = (self._begin.get("session") or {}).get("identity", "")
        return identity

    def append(
        self,
        turns: list[dict[str, Any]],
        *,
        metadata: dict[str, Any] | None,
        clear: bool,
        **named_keys: Sequence[str],
    ) -> None:
        """Hand over new turns; whether the store has them is said by `save` and `end`."""
        message: dict[str, Any] = {"turns": turns}
        if metadata is not None:
            message |= {"metadata": metadata, **named_keys}
        if clear:
            message["clear"] = True
        # Taking turns needs no network; whether they are stored is said by `save` and `end`.
        self._ask(routes.APPEND, message, min(BEGIN_SECONDS, self._seconds(self.deadline_epoch_ms)))
        if isinstance(self._transport, _sidecar.SidecarTransport):
            self._said.append(message)

    def save(self) -> int:
        """Wait until the store has confirmed every turn; return the session's version then.

        Raises:
            StateError: It did not; the message says what is known.
        """
        version: int = self._ask(routes.SAVE, {}).get("version", 0)
        return version

    def _begin_in_child(self) -> None:
        """Begin anew after a fork, under a name of its own: the parent goes on with this one.

        The child is no invocation, which would be held until it ends.
        """
        session, self._transport, self._said = self._begin.get("session"), None, []
        self._lock = allocate_lock()
        self.request_id = f"{self._given[1]}.{os.getpid()}"
        self.spent = self.spent.under_another_engine()
        self._open(session, forked=True)

    def _ask(
        self,
        route: routes.Route,
        message: Any,
        timeout_seconds: float | None = None,
        *,
        streamed: bool = False,
    ) -> Any:
        if self._closed and route is not routes.END:
            raise _errors.InvalidRequestError(_ENDED)
        if self._forks != _unit_names.forks and self._begin:
            self._begin_in_child()
        if self._transport is None:
            self.begin()
        transport = self._transport
        assert transport is not None  # noqa: S101 - begin() has set it or raised
        message["work_id"] = self.work_id
        if route in _NEW_CALLS:
            self.lengths.ask(message)
        if timeout_seconds is None:
            timeout_seconds = self._seconds(self.deadline_epoch_ms)
        self._adapt(route, message)
        try:
            send = transport.stream if streamed else transport.request
            return send(route, message, timeout_seconds=timeout_seconds)
        except SidecarLostError as lost:
            if route is routes.PERFORMED or (lost.sent and route in _ASKED_ONCE):
                raise
            transport = self._move(transport, lost)
        self._adapt(route, message)
        send = transport.stream if streamed else transport.request
        return send(route, message, timeout_seconds=timeout_seconds)

    def _adapt(self, route: routes.Route, message: Any) -> None:
        """Refuse what an older engine would drop in silence."""
        if self._wire_version < names.WIRE_VERSION and route in (*_ASKED_ONCE, routes.APPEND):
            from lambdallm import _older_engines

            _older_engines.adapt(route, message, self._wire_version)

    def _move(self, lost: Transport, error: SidecarLostError) -> Transport:
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
            begin = {**self._begin, **self._scopes}
            begin |= {"continues": self._writer} if self._writer else {}
            reply = transport.request(routes.BEGIN, begin, timeout_seconds=BEGIN_SECONDS)
            if _owners.dropped_of(self._begin["session"], reply):
                raise error  # an older engine would go on in another session
            if self._said:
                if reply["wire_version"] < CONTINUING_VERSION:
                    raise error  # an older engine would take what is stored for another delivery's
                for message in self._said:
                    transport.request(routes.APPEND, message, timeout_seconds=BEGIN_SECONDS)
            self.spent = self.spent.under_another_engine()
            self._wire_version = reply["wire_version"]
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


def _instead_of(lost: Transport, error: SidecarLostError) -> Transport:
    assert isinstance(lost, _sidecar.SidecarTransport)  # noqa: S101 - nobody else gets lost
    return _transport.instead_of(lost, silent=error.silent)
