"""The names of units of work and of exchanges, of which each is had once in an invocation.

Mostly there is one unit. Handlers that call each other, or are called one after the other for the
records of a batch, bring several, all of one request id and often of one event.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_wire.sessions import SessionRule

INVOCATIONS_MAX = 64
"""Remembered at least, for the names in them: Managed Instances run as many at once."""


class _Invocation:
    """The units of work of one invocation in this process, of which each needs its own names."""

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
_lock = allocate_lock()
forks = 0
"""How often this process was forked from one that used lambdallm: what it inherited is not its."""


def claim(
    work_id: str, request_id: str, lambda_context: object, session: SessionRule | None
) -> tuple[str, SessionRule | None]:
    """Take names that nothing else of the invocation has.

    Returns:
        The unit's name, and the session's rule with the exchange's.
    """
    with _lock:
        invocation = _invocations.get(request_id)
        if invocation is None or not invocation.is_of(lambda_context):
            _forget()
            _invocations[request_id] = invocation = _Invocation(lambda_context)
        name = invocation.name(work_id)
        invocation.open[name] = None
        if session is None:
            return name, None
        made_up = session["identity"] == work_id
        exchange = invocation.identify(session["session_id"], session["identity"], made_up)
        invocation.open[name] = exchange
    return name, {**session, "identity": exchange[1]}


def release(work_id: str, request_id: str, outcome: str) -> None:
    """Give a unit's names back; an exchange that went well keeps its own."""
    with _lock:
        invocation = _invocations.get(request_id)
        if invocation is None:
            return
        exchange = invocation.open.pop(work_id, None)
        if exchange is not None and outcome == "ok":
            invocation.done.add(exchange)


def _forget() -> None:
    """Make room, of those that have nothing open first; the caller has the lock."""
    if len(_invocations) < 2 * INVOCATIONS_MAX:
        return
    closed = [name for name, invocation in _invocations.items() if not invocation.open]
    for name in (closed or list(_invocations))[:INVOCATIONS_MAX]:
        del _invocations[name]


def _in_child() -> None:
    """After a fork: what is open belongs to the parent, and its names are taken."""
    global forks, _lock  # noqa: PLW0603 - facts about the process
    forks += 1
    _lock = allocate_lock()
    for invocation in _invocations.values():
        invocation.fork, invocation.units = f".{os.getpid()}", 0


os.register_at_fork(after_in_child=_in_child)
