"""A session as the two sides exchange it: its rule, its window, its new turns."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

MemoryStrategy = Literal["full_history", "sliding_window"]
Durability = Literal["before_response", "after_response"]


class Memory(TypedDict, total=False):
    """Which turns a handler sees. `max_messages` bounds `sliding_window`."""

    strategy: MemoryStrategy
    max_messages: int


class SessionRule(TypedDict):
    """How to load and keep one session; part of `begin`, so that its read starts at once.

    Args:
        session_id: 1 to 256 printable ASCII characters without `#`.
        identity: Identity of the event: an exchange of the same identity is the same exchange.
        ttl_seconds: From the last exchange until the session is unreadable.
        memory: Which turns come back.
        durability: Whether `end` waits for the store.
    """

    session_id: str
    identity: str
    ttl_seconds: int
    memory: Memory
    durability: Durability


class Turn(TypedDict):
    """One message of a session.

    Shape:
        {"role": "user", "content": "text or blocks", "metadata": {}, "at_epoch_ms": 1790000000000}
    """

    role: str
    content: Any
    metadata: dict[str, Any]
    at_epoch_ms: int


class WindowRequest(TypedDict):
    """Ask for the window whose read `begin` has started."""

    work_id: str


class Window(TypedDict):
    """What a handler sees of a session: answered exchanges only, oldest first.

    `version` counts the exchanges ever opened in it; 0 is a session that does not exist yet.
    """

    session_id: str
    version: int
    turns: list[Turn]
    metadata: dict[str, Any]


class AppendRequest(TypedDict, total=False):
    """New turns of this unit of work, in order; the reply says that the sidecar has them.

    Args:
        work_id: The unit of work; its exchange takes the turns.
        turns: Turns to add.
        metadata: The session's metadata, whole, when it changed.
        clear: Forget all earlier exchanges first.
    """

    work_id: str
    turns: list[Turn]
    metadata: dict[str, Any]
    clear: bool


class SaveRequest(TypedDict):
    """Wait until the store has confirmed every turn that was appended."""

    work_id: str


class SaveReply(TypedDict):
    """`version` is the session's version with this exchange in it, 0 if nothing was written."""

    version: int


class Accepted(TypedDict):
    """The sidecar has it in memory; whether the store has it is said by `save` and `end`."""

    accepted: int
