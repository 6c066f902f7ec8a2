"""All sessions of a store, for whoever looks after it: listed, taken out whole, put in again.

Shape of a record, one line of an export:
    {"lambdallm_session": 1, "session_id": "ada", "owner": "", "expires_at": epoch seconds,
     "items": [{"sk": "HEAD", "attributes": {…}, "expires_at": …}, …]}

The items stand in it as they are in the store, so that what is put in is what was taken out; the
head alone counts its rewrites anew, lest somebody takes turns for these that he has kept of before.
They are put in behind a head that hides them and is an expired one: nobody sees half of a session,
and whoever begins one under the same id meanwhile is not mixed with it.
"""

from __future__ import annotations

import os

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Item, Key
from lambdallm_extension.services import (
    hidden_sessions,
    session_imports,
    session_items,
    session_pages,
)
from lambdallm_extension.services.arrivals import Arrival
from lambdallm_extension.services.session_deletion import SessionDeletion
from lambdallm_extension.services.session_moves import SessionMove
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lambdallm_extension.ports import Clock, Store, Value
    from lambdallm_extension.services.session_deletion import Deletion
    from lambdallm_extension.services.session_moves import Step
    from lambdallm_extension.services.tasks import Workers

RECORD_VERSION = 1

_OF_ONE_LIFE = ("rewrites", "life", "claim", *hidden_sessions.KEPT)


class Written(NamedTuple):
    """What came of putting in: `written`, `begun` with its claim, `exists`, or `expired`."""

    outcome: str
    claim: str = ""


class SessionArchive:
    """Reads and writes whole sessions of one store."""

    def __init__(self, store: Store, workers: Workers, clock: Clock, *, deadline_ms: int) -> None:
        self._store = store
        self._workers = workers
        self._clock = clock
        self._deadline_ms = deadline_ms

    def page(self, cursor: str, owner: str | None) -> dict[str, Any]:
        """Return some of the living sessions, and the cursor of the next ones.

        Args:
            cursor: Of the page before, "" for the first one.
            owner: Only his; None: everybody's.
        """
        prefix = keys.SESSION_PREFIX if not owner else keys.session_pk("", owner)
        page = self._store.scan(prefix, keys.HEAD, cursor=cursor, deadline_ms=self._deadline_ms)
        sessions = [found for item in page.items if (found := self._described(item)) is not None]
        if owner == "":
            sessions = [session for session in sessions if not session["owner"]]
        return {"sessions": sessions, "cursor": page.cursor}

    def read(self, session_id: str, owner: str, *, cursor: str, turns: bool) -> dict[str, Any]:
        """Return a page of a session: its items, or its turns as they were said.

        What the first page's head has not counted comes in none; where the head says later that
        what was counted has changed, `changed` is true, and the pages do not belong together.

        Args:
            session_id: Its id.
            owner: Whose it is.
            cursor: Of the page before, "" for the first one.
            turns: Whether turns are wanted, and no items.

        Raises:
            StoreUnavailableError: It is being moved, or was not read.
            StoreRefusedError: Its head, or one of its turns, is damaged or newer.
        """
        pk = keys.session_pk(session_id, owner)
        head = self._store.get(Key(pk, keys.HEAD), deadline_ms=self._deadline_ms)
        described = None if head is None else self._described(head)
        if head is None or described is None:
            return {"session": None, "record": None, "turns": [], "cursor": "", "changed": False}
        session_items.read_head(head, now=self._now(), last_exchange=0)
        state = _state_of(head)
        began, start = _parsed(cursor) if cursor else (state, "")
        page, start = session_pages.page_of(
            self._store,
            pk,
            prefix=keys.TURN_PREFIX if turns else "",
            start=start,
            deadline_ms=self._deadline_ms,
        )
        items = [item for item in page if hidden_sessions.number_of(item) <= began[0]]
        record = {
            "lambdallm_session": RECORD_VERSION,
            "session_id": session_id,
            "owner": owner,
            "expires_at": head.expires_at,
            "items": [] if turns else [_listed(item) for item in items],
        }
        return {
            "session": described,
            "record": record,
            "turns": self._turns(head, items) if turns else [],
            "cursor": plain_json.dumps([*began, start]) if start else "",
            "changed": began[1:] != state[1:],
        }

    def write(self, record: Mapping[str, Any], *, claim: str = "", more: bool = False) -> Written:
        """Put a session in: at once, or in several calls, each of which has the head.

        Killed in between and called again from the first one on, it goes on.

        Args:
            record: With some of the items, in any order.
            claim: What the first call has answered.
            more: Whether further calls follow.

        Raises:
            InvalidRequestError: It is no record that this version reads.
            StoreError: Nobody sees anything of it yet; the same call may be repeated.
        """
        items, head = _checked(record, self._now())
        if head.expires_at is not None and head.expires_at <= self._now():
            return Written("expired")
        arrival = Arrival(
            self._store, self._workers, self._clock, head.key, deadline_ms=self._deadline_ms
        )
        if not claim:
            claim = self._claim(arrival, head, items)
        elif not arrival.goes_on(claim):
            claim = ""
        if not claim or not arrival.bring([item for item in items if item is not head]):
            return Written("exists")
        if more:
            return Written("begun", claim)
        born = session_items.birth(os.urandom(16).hex(), head.key.pk)
        whole = Item(head.key, {**head.attributes, "rewrites": born}, head.expires_at)
        return Written("written" if arrival.publish(whole) else "exists")

    def move(self, session_id: str, owner: str, to_owner: str, cursor: str) -> Step:
        """Do a step of giving a session to another owner; see `session_moves`."""
        move = SessionMove(
            self._store,
            self._workers,
            self._clock,
            session_id,
            owners=(owner, to_owner),
            deadline_ms=self._deadline_ms,
        )
        return move.step(cursor)

    def delete(self, session_id: str, owner: str, *, records: bool) -> Deletion | None:
        """Delete a session; see `session_deletion`."""
        deletion = SessionDeletion(
            self._store,
            self._workers,
            self._clock,
            keys.session_pk(session_id, owner),
            deadline_ms=self._deadline_ms,
        )
        return deletion.run(records=records)

    def _claim(self, arrival: Arrival, head: Item, items: Sequence[Item]) -> str:
        """Let a head hide what is about to come; "" where a session lives, or another one comes."""
        stood = self._store.get(head.key, deadline_ms=self._deadline_ms)
        if stood is not None and self._described(stood) is not None:
            return ""
        highest = max(session_items.count_of(head), *map(hidden_sessions.number_of, items))
        return arrival.begin(stood, number=highest) or ""

    def _now(self) -> int:
        return self._clock.epoch_ms() // 1_000

    def _described(self, item: Item) -> dict[str, Any] | None:
        """Say what a head tells of its session, None where it has expired or was deleted."""
        session_id, owner = keys.parse_session_pk(item.key.pk)
        described: dict[str, Any] = {
            "session_id": session_id,
            "owner": owner,
            "expires_at": item.expires_at,
        }
        if hidden_sessions.is_sealed(item):
            moving = {
                name: item.attributes[name]
                for name in ("moved_to", "moved_from")
                if name in item.attributes
            }
            return {**described, **moving, "fault": "It is being moved."}
        if item.expires_at is not None and item.expires_at <= self._now():
            return None
        try:
            head = session_items.read_head(item, now=self._now(), last_exchange=0)
        except errors.StoreRefusedError as error:
            return {**described, "fault": error.detail}
        return {
            **described,
            "version": head.version,
            "exchanges": head.version - head.first_exchange + 1,
            "last_epoch_ms": item.attributes.get("at"),
        }

    def _turns(self, head_item: Item, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Return the turns as they were said, those of unanswered events too."""
        head = session_items.read_head(head_item, now=self._now(), last_exchange=0)
        said = [item for item in items if not session_items.is_void(item)]
        stored = map(session_items.read_turn, said)
        return [
            {"exchange": each.exchange, "identity": each.identity, **each.turn}
            for each in stored
            if each.exchange >= head.first_exchange
        ]


def _state_of(head: Item) -> tuple[int, Value, Value]:
    """Return how many exchanges a head counts, and what changes when what they hold may have."""
    named = [head.attributes.get(name) for name in ("first_exchange", "rewrites")]
    return session_items.count_of(head), named[0], named[1]


def _parsed(cursor: str) -> tuple[tuple[int, Value, Value], str]:
    """Return what the first page has seen, and where the next one begins.

    Raises:
        InvalidRequestError: It is no cursor of this version.
    """
    try:
        count, first, rewrites, start = plain_json.loads(cursor)
    except (ValueError, TypeError):
        count = first = rewrites = start = None
    if type(count) is not int or not isinstance(start, str):
        raise errors.InvalidRequestError("The cursor is none that a page has answered.")
    return (count, first, rewrites), start


def _listed(item: Item) -> dict[str, Any]:
    """Return an item as it stands in a record, without what hangs on this life of the session."""
    lasting = {name: value for name, value in item.attributes.items() if name not in _OF_ONE_LIFE}
    return {"sk": item.key.sk, "attributes": lasting, "expires_at": item.expires_at}


def _checked(record: Mapping[str, Any], now: int) -> tuple[list[Item], Item]:
    """Return a record's items, and its head among them.

    Raises:
        InvalidRequestError: It is none that this version reads.
    """
    if record.get("lambdallm_session") != RECORD_VERSION:
        reason = f"It is no session that was exported in version {RECORD_VERSION} of the format."
        raise errors.InvalidRequestError(reason)
    pk = keys.session_pk(record["session_id"], record.get("owner", ""))
    if "messages" in record:
        items = session_imports.items_of(pk, record, now=now)
    else:
        listed = record.get("items")
        items = [_item(pk, each) for each in listed] if isinstance(listed, list) else []
    head = next((item for item in items if item.key.sk == keys.HEAD), None)
    if head is None or len({item.key for item in items}) < len(items):
        raise errors.InvalidRequestError("An exported session has one head, and each item once.")
    try:
        for item in items:
            session_items.check_schema(item)
        version = session_items.read_head(head, now=0, last_exchange=0).version
    except errors.StoreRefusedError as error:
        raise errors.InvalidRequestError(error.detail) from None
    if version < 1:
        raise errors.InvalidRequestError("An exported session has had at least one exchange.")
    if any(hidden_sessions.number_of(item) > version for item in items):
        raise errors.InvalidRequestError("An item is of an exchange that its head has not counted.")
    return items, head


def _item(pk: str, listed: Any) -> Item:
    fields = listed if isinstance(listed, dict) else {}
    sk, attributes, expires_at = (fields.get(name) for name in ("sk", "attributes", "expires_at"))
    whole = expires_at is None or session_imports.is_moment(expires_at)
    if not (isinstance(sk, str) and sk and isinstance(attributes, dict) and whole):
        raise errors.InvalidRequestError("An item has a sort key, attributes and an expiry.")
    if not session_imports.is_kept_by_stores(sk, attributes):
        reason = f"The item {sk!r:.60} holds what no store keeps: a float, or a reserved name."
        raise errors.InvalidRequestError(reason)
    return Item(Key(pk, sk), attributes, expires_at)
