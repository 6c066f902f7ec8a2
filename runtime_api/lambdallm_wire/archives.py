"""Whole sessions, for whoever looks after them: listed, read, put in, deleted.

Each request may bring `deadline_epoch_ms`; by default it has 30 seconds. What is not done by then
is an error that may be tried again: every one of these goes on where it stopped.

A session may be larger than a message. It is read in pages, put in with several requests, and moved
step by step.
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
    why the head cannot be read. `moved_to` and `moved_from` are owners, of a session that is being
    moved to one, or that is awaited from one.
    """

    session_id: str
    owner: str
    expires_at: int | None
    version: int
    exchanges: int
    last_epoch_ms: int | None
    fault: str
    moved_to: str
    moved_from: str


class ListedSessions(TypedDict):
    """Some sessions; `cursor` asks for more, "" behind the last. There may be more behind none."""

    sessions: list[ListedSession]
    cursor: str


class NameSession(Asked):
    """Name a session by its id and its owner, "" for nobody."""

    session_id: str
    owner: str


class ReadPage(NameSession, total=False):
    """Ask for a page of a session.

    Args:
        cursor: Of the reply before; none asks for the first page.
        turns: Whether its turns are wanted, as they were said; else the items of its record are.
    """

    cursor: str
    turns: bool


class ReadSession(TypedDict):
    """A page of a session; `session` and `record` are null where there is none.

    The items of all pages make the record that `write` takes. A turn has number and identity of
    its exchange. `cursor` asks for the next page, "" behind the last. `changed`: the session was
    written anew since the first page, so that this one does not belong to it: begin again.
    """

    session: ListedSession | None
    record: dict[str, Any] | None
    turns: list[dict[str, Any]]
    cursor: str
    changed: bool


class WriteSession(Asked, total=False):
    """Put a session in, where none lives under its id.

    Args:
        record: With all of its items, or with the head and some of the others.
        more: Whether others follow.
        claim: Of the reply before.
    """

    record: dict[str, Any]
    more: bool
    claim: str


class WrittenSession(TypedDict):
    """`begun`: nobody sees it yet, and `claim` brings the rest of it.

    `exists` says that a session lives there, or came first; `expired` that it is over. Nobody sees
    anything of what was written then.
    """

    outcome: Literal["written", "begun", "exists", "expired"]
    claim: str


class MoveSession(NameSession, total=False):
    """Give a session to another owner; without a cursor, begin with it, or go on with one begun.

    Args:
        to_owner: Whose it will be, "" for nobody.
        cursor: Of the reply before.
    """

    to_owner: str
    cursor: str


class MovedSession(TypedDict):
    """`moving`: `cursor` goes on with it. `moved`: it is his.

    `absent`: there is no such session. `exists`: the new owner has one of that id. `busy`: it is
    being moved from or to `other`, or by somebody else just now, where that is null.
    """

    outcome: Literal["moving", "moved", "absent", "exists", "busy"]
    cursor: str
    other: str | None


class DeleteSession(NameSession, total=False):
    """Delete a session for good; `keep_records` leaves the records of its calls."""

    keep_records: bool


class DeletedSession(TypedDict):
    """What was deleted; `found` is false where there was nothing."""

    found: bool
    items: int
    calls: int
