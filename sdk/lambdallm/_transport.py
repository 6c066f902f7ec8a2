"""Who serves this process: the sidecar if it answers, else the embedded engine.

Decided once per process, at the first unit of work, and again only when the sidecar has gone;
one that took the connection but was silent, as while it still starts, is asked a few times more.
A forked child inherits neither the connections nor the engine of its parent.

    current()  ─► the sidecar ── ends, stands still ──► instead_of() ─► the embedded engine
                      ▲                                                        │
                      └──────────── answers at the begin of a later unit ──────┘
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock

from lambdallm import _embedded, _log, _settings, _sidecar, _token
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from lambdallm._reply_stream import Source
    from lambdallm_wire.routes import Route

    class Transport(Protocol):
        """Carries one message to the engine and its reply back."""

        @property
        def usable(self) -> bool:
            """Whether the next unit of work may begin on it."""
            ...

        def request(self, route: Route, message: Any, *, timeout_seconds: float) -> dict[str, Any]:
            """Send one message and return the reply; see `SidecarTransport.request`."""
            ...

        def stream(self, route: Route, message: Any, *, timeout_seconds: float) -> Source:
            """Send one message and return the reply when it has begun; errors as of `request`."""
            ...

        def close(self) -> None:
            """Let go of it."""
            ...


SECOND_LOOKS_MAX = 3
"""Further units of work at whose beginning a silent sidecar is asked again, for 50 ms each."""


WAKING_SECONDS = 1.0
"""A function with chains waits so long for a sidecar that is asleep.

It takes 40 ms of CPU to load. Whoever was killed once may be again, and an engine in the process
that dies leaves a run behind whose lease goes on, and calls of which nobody knows what they cost.
"""

WAKING_LOOK_SECONDS = 0.005


class _Choice:
    """The process's transport, and what was seen when it was chosen."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.transport: Transport | None = None
        self.embedded: _embedded.EmbeddedTransport | None = None
        self.told = False
        self.told_lost = False
        self.second_looks = 0
        self.expected = False


_choice = _Choice()


def current() -> Transport:
    """Return the transport for the next unit of work, choosing one if there is none.

    Raises:
        SidecarError: Neither a sidecar nor an engine is there.
    """
    choice = _choice
    with choice.lock:
        if choice.transport is not None and not choice.transport.usable:
            _let_go(choice.transport)
            choice.transport = None
        if choice.transport is None:
            choice.transport = _choose(choice)
        elif choice.expected or choice.second_looks:
            _look_again(choice)
        return choice.transport


def instead_of(lost: _sidecar.SidecarTransport, *, silent: bool) -> Transport:
    """Return the embedded engine for a unit of work that a sidecar cannot go on with.

    Later units are the engine's too, until the sidecar answers again.

    Raises:
        SidecarError: No engine is there.
    """
    choice = _choice
    with choice.lock:
        lost.retire()
        embedded = _embed(choice)
        if choice.transport is lost or choice.transport is None:
            choice.transport = embedded
            choice.second_looks = SECOND_LOOKS_MAX if silent else 0
            choice.expected = not silent and _settings.Settings.from_environ().in_lambda
        if not choice.told_lost:
            choice.told_lost = True
            _log.write("WARNING", _LOST_SILENT if silent else _LOST_ENDED)
        return embedded


_LOST_SILENT = (
    "lambdallm: the sidecar answers no more; the embedded engine serves until it does. "
    "If this comes again, give the function more memory, and with it more CPU."
)
_LOST_ENDED = (
    "lambdallm: the sidecar has ended; the embedded engine serves. Its last lines in this log say "
    "why; where there are none, the environment was out of memory: give the function more."
)


def replace(transport: Transport | None) -> Transport | None:
    """Put another transport in place, None to choose anew, and return the one before."""
    with _choice.lock:
        before, _choice.transport = _choice.transport, transport
        _choice.second_looks, _choice.expected = 0, False
        _choice.embedded = None
    return before


def abandon() -> None:
    """After a restore: let go of what clones of one snapshot must not share, and choose anew."""
    with _choice.lock:
        engine = _choice.embedded
    inherited = replace(None)
    for transport in (inherited, None if engine is inherited else engine):
        if isinstance(transport, _sidecar.SidecarTransport | _embedded.EmbeddedTransport):
            transport.abandon()


def _choose(choice: _Choice) -> Transport:
    settings = _settings.Settings.from_environ()
    if not settings.sidecar:
        return _embed(choice)
    try:
        return _find(settings)
    except _token.SidecarAbsentError as error:
        choice.second_looks = SECOND_LOOKS_MAX if error.silent else 0
        choice.expected = settings.in_lambda and not error.silent
        if not (choice.told or error.asleep):
            choice.told = True
            _log.write(
                "INFO",
                f"lambdallm: no sidecar answered on {names.HOST}:{settings.port} ({error}); "
                "the embedded engine serves. Attach the layer, or set LAMBDALLM_SIDECAR=off "
                "to say that none is meant to be there.",
            )
        return _embed(choice)


def _find(settings: _settings.Settings) -> _sidecar.SidecarTransport:
    """Find the sidecar; one that is asleep is woken and waited for where a chain may be run.

    Raises:
        SidecarAbsentError: There is none, or it does not answer.
    """
    until = 0.0
    while True:
        try:
            return _sidecar.SidecarTransport.find(settings)
        except _token.SidecarAbsentError as error:
            if not error.asleep or "lambdallm._chain" not in sys.modules:
                raise
            now = _settings.monotonic()
            if not until:
                _token.wake(settings)
                until = now + WAKING_SECONDS
            if now >= until:
                raise
        _settings.sleep(WAKING_LOOK_SECONDS)


def _embed(choice: _Choice) -> _embedded.EmbeddedTransport:
    """Return this process's engine: one, however often the sidecar comes and goes."""
    if choice.embedded is None or not choice.embedded.usable:
        choice.embedded = _embedded.EmbeddedTransport.start()
    return choice.embedded


def _let_go(transport: Transport) -> None:
    if isinstance(transport, _sidecar.SidecarTransport):
        transport.retire()
    else:
        transport.close()


def _look_again(choice: _Choice) -> None:
    """Take the sidecar if it answers by now; units that are open stay with the engine.

    In Lambda one that is not there yet may still be starting, and to see that it is not costs
    microseconds. One that is silent costs 50 ms, so it is not asked for ever. One that is asleep
    is woken now, and not by the first unit: that one is part of a start under the function's own
    timeout and its few percent of a CPU, of which the sidecar needs five times as much as the
    engine in this process, where most of the standard library is loaded.
    """
    choice.second_looks = max(0, choice.second_looks - 1)
    settings = _settings.Settings.from_environ()
    try:
        try:
            transport = _sidecar.SidecarTransport.find(settings)
        except _token.SidecarAbsentError as error:
            if not error.asleep:
                raise
            _token.wake(settings)
            return
    except _token.SidecarAbsentError as error:
        if error.silent and choice.expected:
            choice.expected, choice.second_looks = False, SECOND_LOOKS_MAX
        return
    choice.transport = transport
    choice.second_looks, choice.expected = 0, False


def _forget_in_child() -> None:
    """Drop what belongs to the parent: its sockets are closed here, which it does not notice."""
    global _choice  # noqa: PLW0603 - the child starts from nothing, locks included
    inherited = _choice.transport
    _choice = _Choice()
    if isinstance(inherited, _sidecar.SidecarTransport):
        inherited.abandon()


os.register_at_fork(after_in_child=_forget_in_child)
