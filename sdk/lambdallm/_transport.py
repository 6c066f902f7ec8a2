"""Who serves this process: the sidecar if it answers, else the embedded engine.

Decided once per process, at the first unit of work, and again only when the sidecar has gone;
one that took the connection but was silent, as while it still starts, is asked a few times more.
A forked child inherits neither the connections nor the engine of its parent.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

from lambdallm import _embedded, _log, _settings, _sidecar
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from lambdallm_wire.routes import Route

    class Transport(Protocol):
        """Carries one message to the engine and its reply back."""

        @property
        def usable(self) -> bool:
            """Whether the next unit of work may begin on it."""
            ...

        def request(
            self, route: Route, message: Any, *, control: bool = False, timeout_seconds: float
        ) -> dict[str, Any]:
            """Send one message and return the reply; see `SidecarTransport.request`."""
            ...

        def close(self) -> None:
            """Let go of it."""
            ...


SECOND_LOOKS_MAX = 3
"""Further units of work at whose beginning a silent sidecar is asked again, for 50 ms each."""


class _Choice:
    """The process's transport, and what was seen when it was chosen."""

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.transport: Transport | None = None
        self.told = False
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
            choice.transport.close()
            choice.transport = None
        if choice.transport is None:
            choice.transport = _choose(choice)
        elif choice.expected or choice.second_looks:
            _look_again(choice)
        return choice.transport


def replace(transport: Transport | None) -> Transport | None:
    """Put another transport in place, None to choose anew, and return the one before."""
    with _choice.lock:
        before, _choice.transport = _choice.transport, transport
        _choice.second_looks, _choice.expected = 0, False
    return before


def _choose(choice: _Choice) -> Transport:
    settings = _settings.Settings.from_environ()
    if not settings.sidecar:
        return _embedded.EmbeddedTransport.start()
    try:
        return _sidecar.SidecarTransport.find(settings)
    except _sidecar.SidecarAbsentError as error:
        choice.second_looks = SECOND_LOOKS_MAX if error.silent else 0
        choice.expected = settings.in_lambda and not error.silent
        if not choice.told:
            choice.told = True
            _log.write(
                "INFO",
                f"lambdallm: no sidecar answered on {names.HOST}:{settings.port} ({error}); "
                "the embedded engine serves. Attach the layer, or set LAMBDALLM_SIDECAR=off "
                "to say that none is meant to be there.",
            )
        return _embedded.EmbeddedTransport.start()


def _look_again(choice: _Choice) -> None:
    """Take the sidecar if it answers by now; units that are open stay with the engine.

    In Lambda one that is not there yet may still be starting, and to see that it is not costs
    microseconds. One that is silent costs 50 ms, so it is not asked for ever.
    """
    choice.second_looks = max(0, choice.second_looks - 1)
    try:
        transport = _sidecar.SidecarTransport.find(_settings.Settings.from_environ())
    except _sidecar.SidecarAbsentError as error:
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
