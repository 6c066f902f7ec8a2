"""Whole sessions, for whoever looks after them: listed, read, put in, deleted.

Each request may bring `deadline_epoch_ms`; by default it has 30 seconds. What is not done by then
is an error that may be tried again: every one of these goes on where it stopped.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class Asked(TypedDict, total=False):
    """What every request may say."""

    deadline_epoch_ms: int


class ListSessions(Asked, total=False):
    """Ask for some of the living sessions. Every item of the store is looked at for it.

    Args:
        cursor: Of the reply before; none asks for the first sessions.
        owner: Only his, "" for those of nobody; none asks for everybody's.
    """

    cursor: str
    owner: str


class ListedSession(TypedDict, total=False):
    """One session as its head describes it.

    `version` counts the exchanges ever opened, `exchanges` those that were not forgotten since.
    `last_epoch_ms` is when the newest one began, null where an older version wrote it. `fault` says
    why the head cannot be read.
    """

    session_id: str
    owner: str
    expires_at: int | None
    version: int
    exchanges: int
    last_epoch_ms: int | None
    fault: str


class ListedSessions(TypedDict):
    """Some sessions; `cursor` asks for more, "" behind the last. There may be more behind none."""

    sessions: list[ListedSession]
    cursor: str


class NameSession(Asked):
    """Name a session by its id and its owner, "" for nobody."""

    session_id: str
    owner: str


class ReadSession(TypedDict):
    """One session whole; both are null where there is none.

    `record` is what `write` takes; `turns` are the messages as they were said, each with number and
    identity of its exchange.
    """

    session: ListedSession | None
    record: dict[str, Any] | None
    turns: list[dict[str, Any]]


class WriteSession(Asked):
    """Put a session in, where none lives under its id."""

    record: dict[str, Any]


class WrittenSession(TypedDict):
    """`exists` and `expired` say that nothing was written, and why."""

    outcome: Literal["written", "exists", "expired"]


class DeleteSession(NameSession, total=False):
    """Delete a session for good; `keep_records` leaves the records of its calls."""

    keep_records: bool


class DeletedSession(TypedDict):
    """What was deleted; `found` is false where there was nothing."""

    found: bool
    items: int
    calls: int
