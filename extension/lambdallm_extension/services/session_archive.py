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
from functools import partial

from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import ABSENT, Condition, Item, Key, Put
from lambdallm_extension.services import hidden_sessions, session_imports, session_items
from lambdallm_extension.services.session_deletion import SessionDeletion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lambdallm_extension.ports import Clock, Store, Value
    from lambdallm_extension.services.session_deletion import Deletion
    from lambdallm_extension.services.tasks import Workers

RECORD_VERSION = 1

AT_ONCE_MAX = 16
"""Items under way at once."""


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

    def read(self, session_id: str, owner: str) -> dict[str, Any] | None:
        """Return a session's record and its turns, None where there is none that lives."""
        pk = keys.session_pk(session_id, owner)
        items = self._store.query(pk, "", deadline_ms=self._deadline_ms)
        item = next((item for item in items if item.key.sk == keys.HEAD), None)
        described = None if item is None else self._described(item)
        if item is None or described is None:
            return None
        record = {
            "lambdallm_session": RECORD_VERSION,
            "session_id": session_id,
            "owner": owner,
            "expires_at": item.expires_at,
            "items": [
                {"sk": each.key.sk, "attributes": _lasting(each), "expires_at": each.expires_at}
                for each in items
            ],
        }
        return {"session": described, "record": record, "turns": self._turns(item, items)}

    def write(self, record: Mapping[str, Any]) -> str:
        """Put a session in; return `written`, `exists` where one lives, `expired` if it is over.

        Killed in between and called again, it goes on.

        Raises:
            InvalidRequestError: It is no record that this version reads.
            StoreError: Nobody sees anything of it yet; the same call goes on.
        """
        items, head = _checked(record, self._now())
        if head.expires_at is not None and head.expires_at <= self._now():
            return "expired"
        hidden = self._claim(head, items)
        if hidden is None:
            return "exists"
        others = [item for item in items if item.key.sk != keys.HEAD]
        for start in range(0, len(others), AT_ONCE_MAX):
            batch = others[start : start + AT_ONCE_MAX]
            tasks = [self._workers.start(partial(self._put, item)) for item in batch]
            for task in tasks:
                task.wait((self._deadline_ms - self._clock.epoch_ms()) / 1_000)
        born = session_items.birth(os.urandom(16).hex(), head.key.pk)
        attributes = {**head.attributes, "rewrites": born}
        put = Put(Item(head.key, attributes, head.expires_at), _hides(hidden))
        return "written" if self._replaces(put) else "exists"

    def delete(self, session_id: str, owner: str, *, records: bool) -> Deletion | None:
        """Delete a session; see `session_deletion`."""
        return self._deletion(keys.session_pk(session_id, owner)).run(records=records)

    def _deletion(self, pk: str) -> SessionDeletion:
        return SessionDeletion(
            self._store, self._workers, self._clock, pk, deadline_ms=self._deadline_ms
        )

    def _claim(self, head: Item, items: Sequence[Item]) -> int | None:
        """Let a head hide what is about to come, None where a session lives; return its number.

        What is left of an expired session goes first: it would come into sight again.
        """
        self._deletion(head.key.pk).run(records=False, living=False)
        stood = self._store.get(head.key, deadline_ms=self._deadline_ms)
        if stood is not None and self._described(stood) is not None:
            return None
        count = max([session_items.count_of(head), *map(hidden_sessions.number_of, items)])
        if stood is None:
            condition = ABSENT
        else:
            before = session_items.count_of(stood)
            condition = Condition(equals={"exchanges": before})
            count = max(count, before)
        put = Put(Item(head.key, hidden_sessions.hiding(count), self._now()), condition)
        return count if self._replaces(put) else None

    def _replaces(self, put: Put) -> bool:
        try:
            self._store.put_if(put, deadline_ms=self._deadline_ms)
        except errors.ConditionFailedError:
            return False
        return True

    def _put(self, item: Item) -> None:
        self._store.put_if(Put(item), deadline_ms=self._deadline_ms)

    def _now(self) -> int:
        return self._clock.epoch_ms() // 1_000

    def _described(self, item: Item) -> dict[str, Any] | None:
        """Say what a head tells of its session, None where it has expired or was deleted."""
        session_id, owner = keys.parse_session_pk(item.key.pk)
        described = {"session_id": session_id, "owner": owner, "expires_at": item.expires_at}
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
        stored = [
            session_items.read_turn(item)
            for item in items
            if item.key.sk.startswith(keys.TURN_PREFIX) and not session_items.is_void(item)
        ]
        return [
            {"exchange": each.exchange, "identity": each.identity, **each.turn}
            for each in sorted(stored, key=lambda each: (each.exchange, each.place))
            if each.exchange >= head.first_exchange
        ]


def _lasting(item: Item) -> Mapping[str, Value]:
    """Return what does not hang on this one life of the session."""
    return {
        name: value for name, value in item.attributes.items() if name not in ("rewrites", "life")
    }


def _hides(number: int) -> Condition:
    return Condition(equals={"exchanges": number, "first_exchange": number + 1})


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
    return items, head


def _item(pk: str, listed: Any) -> Item:
    fields = listed if isinstance(listed, dict) else {}
    sk, attributes, expires_at = (fields.get(name) for name in ("sk", "attributes", "expires_at"))
    whole = expires_at is None or type(expires_at) is int
    if not (isinstance(sk, str) and sk and isinstance(attributes, dict) and whole):
        raise errors.InvalidRequestError("An item has a sort key, attributes and an expiry.")
    return Item(Key(pk, sk), attributes, expires_at)
