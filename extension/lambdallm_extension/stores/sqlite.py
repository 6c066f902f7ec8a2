"""A store in one file, shared by threads and processes: what a developer's machine uses.

    items   pk, sk, attributes (JSON), expires_at     ordered by the keys' bytes
    tokens  token, fingerprint, done_at_ms            transactions of the last minutes

Every write is a transaction of its own, begun with the write lock (`BEGIN IMMEDIATE`), so that
reading, deciding by `rules` and writing are one step. The write-ahead log lets readers go on
meanwhile; it survives the death of a process, though not that of the machine (`NORMAL`).
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import contextmanager
from os import getpid
from pathlib import Path
from threading import Lock

from lambdallm_extension.errors import (
    StoreRefusedError,
    StoreUnavailableError,
    WriteUncertainError,
)
from lambdallm_extension.ports import ALWAYS, Item, Key, Page, Put
from lambdallm_extension.stores import rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lambdallm_extension.ports import Action, Add, Clock, Condition

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    pk TEXT NOT NULL, sk TEXT NOT NULL, attributes TEXT NOT NULL, expires_at INTEGER,
    PRIMARY KEY (pk, sk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, done_at_ms INTEGER NOT NULL
) WITHOUT ROWID;
"""

_FORWARDS = (
    "SELECT sk, attributes, expires_at FROM items "
    "WHERE pk = ? AND sk >= ? AND sk < ? ORDER BY sk ASC LIMIT ?"
)
_BACKWARDS = _FORWARDS.replace("ASC", "DESC")

_SCAN = (
    "SELECT pk, attributes, expires_at FROM items "
    "WHERE sk = ? AND pk >= ? AND pk > ? AND pk < ? ORDER BY pk LIMIT ?"
)
_PAGE = 500
"""Items of a scan's page: a second of nobody's time, and little memory."""

_BEHIND_ALL_TEXT = b""
"""SQLite orders every BLOB behind every TEXT."""

_WAIT_MAX_MS = 60_000

_BETWEEN_ATTEMPTS_SECONDS = 0.005


class SqliteStore:
    """`ports.Store` over one SQLite file. The file and its folder are made at the first use."""

    def __init__(self, path: str, clock: Clock) -> None:
        """Name the file.

        Args:
            path: Relative to the working directory, or absolute.
            clock: Wall clock, for deadlines and expiries.
        """
        self._path = Path(path)
        self._clock = clock
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = getpid()
        self._swept_at_ms = 0

    def get(self, key: Key, *, deadline_ms: int) -> Item | None:
        """Return the item, or None when there is none."""
        rules.check_key(key)
        with self._connected(deadline_ms) as connection:
            return _find(connection, key)

    def query(
        self,
        pk: str,
        prefix: str,
        *,
        first: str = "",
        reverse: bool = False,
        limit: int | None = None,
        deadline_ms: int,
    ) -> list[Item]:
        """Return the partition's items whose sort key begins with `prefix`, in its byte order."""
        rules.check_prefix(pk, prefix)
        statement = _BACKWARDS if reverse else _FORWARDS
        end = rules.prefix_end(prefix) or _BEHIND_ALL_TEXT
        bounds = (pk, first or prefix, end, -1 if limit is None else max(limit, 0))
        with self._connected(deadline_ms) as connection:
            rows = connection.execute(statement, bounds)
            return [_item(Key(pk, sk), text, expires_at) for sk, text, expires_at in rows]

    def outline(self, pk: str, *, deadline_ms: int) -> list[Item]:
        """Return all items of a partition."""
        return self.query(pk, "", deadline_ms=deadline_ms)

    def put_if(self, put: Put, *, deadline_ms: int) -> None:
        """Write one item if its condition holds."""
        with self._writing(deadline_ms) as connection:
            self._write(connection, [put])

    def add_if(self, add: Add, *, deadline_ms: int) -> Item:
        """Change one item if its condition holds, and return it as it is then."""
        with self._writing(deadline_ms) as connection:
            return self._write(connection, [add])[0]

    def transact(self, actions: Sequence[Action], *, token: str, deadline_ms: int) -> None:
        """Do all of it or nothing."""
        rules.check_transaction(actions, token)
        fingerprint = rules.fingerprint(actions)
        now_ms = self._clock.epoch_ms()
        with self._writing(deadline_ms) as connection:
            done = connection.execute(
                "SELECT fingerprint FROM tokens WHERE token = ? AND done_at_ms > ?",
                (token, now_ms - rules.TOKEN_LIFETIME_MS),
            ).fetchone()
            if done is not None:
                rules.check_same_transaction(done[0], fingerprint)
                return
            self._write(connection, actions)
            connection.execute(
                "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?)", (token, fingerprint, now_ms)
            )

    def delete(self, key: Key, *, deadline_ms: int, condition: Condition = ALWAYS) -> None:
        """Remove an item, if there is one."""
        rules.check_key(key)
        with self._writing(deadline_ms) as connection:
            rules.check_deletion(key, condition, _find(connection, key))
            connection.execute("DELETE FROM items WHERE pk = ? AND sk = ?", key)

    def scan(self, prefix: str, sk: str, *, cursor: str = "", deadline_ms: int) -> Page:
        """Return a page of the items under one sort key, in the order of their partitions."""
        rules.check_scan(prefix, sk)
        bounds = (sk, prefix, cursor, rules.prefix_end(prefix) or _BEHIND_ALL_TEXT, _PAGE)
        with self._connected(deadline_ms) as connection:
            rows = connection.execute(_SCAN, bounds).fetchall()
        items = [_item(Key(pk, sk), text, expires_at) for pk, text, expires_at in rows]
        return Page(items, items[-1].key.pk if len(items) == _PAGE else "")

    def reopen(self) -> None:
        """A file does not go stale in a freeze."""

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _connected(self, deadline_ms: int) -> Iterator[sqlite3.Connection]:
        """Have the connection alone, and turn SQLite's errors into the store's."""
        if self._pid != getpid():
            # SQLite forbids a connection to cross a fork; the parent's is left as it is.
            self._pid, self._lock, self._connection = getpid(), Lock(), None
        left_ms = min(deadline_ms - self._clock.epoch_ms(), _WAIT_MAX_MS)
        if left_ms <= 0 or not self._lock.acquire(timeout=left_ms / 1000):
            message = f"{self._path} was not free before the deadline."
            raise StoreUnavailableError(message)
        try:
            if self._connection is None:
                self._connection = _open(self._path, left_ms)
            self._connection.execute(f"PRAGMA busy_timeout = {left_ms}")
            yield self._connection
        except sqlite3.Error as error:
            raise _translated(error, self._path) from error
        finally:
            self._lock.release()

    @contextmanager
    def _writing(self, deadline_ms: int) -> Iterator[sqlite3.Connection]:
        """Have the write lock of the file; commit, or roll back on any error."""
        with self._connected(deadline_ms) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                _commit(connection, self._path)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _write(self, connection: sqlite3.Connection, actions: Sequence[Action]) -> list[Item]:
        current = [_find(connection, rules.checked_key(action)) for action in actions]
        written = rules.decide(actions, current)
        connection.executemany(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)",
            [
                (*item.key, json.dumps(item.attributes, ensure_ascii=False), item.expires_at)
                for item in written
            ],
        )
        self._sweep(connection)
        return written

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Once an hour, drop what has long expired."""
        now_ms = self._clock.epoch_ms()
        if now_ms - self._swept_at_ms < rules.SWEEP_EVERY_MS:
            return
        self._swept_at_ms = now_ms
        connection.execute(
            "DELETE FROM items WHERE expires_at < ?", (now_ms // 1000 - rules.GRACE_SECONDS,)
        )
        connection.execute(
            "DELETE FROM tokens WHERE done_at_ms < ?", (now_ms - rules.TOKEN_LIFETIME_MS,)
        )


def _open(path: Path, wait_ms: int) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"LAMBDALLM_STORE: the folder of {path} cannot be made: {error}"
        raise StoreRefusedError(message) from error
    connection = sqlite3.connect(
        path, timeout=wait_ms / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        _prepare(connection, path, wait_ms)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, wait_ms: int) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        message = f"{path} was written by a newer version of lambdallm: update this one."
        raise StoreRefusedError(message)
    if version == SCHEMA_VERSION:
        return
    _log_writes_ahead(connection, wait_ms)
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _log_writes_ahead(connection: sqlite3.Connection, wait_ms: int) -> None:
    """Change a new file's journal, trying again where others do the same at this moment.

    Each of them holds a read lock that it would raise: SQLite either fails at once, or waits for
    what cannot come. Source: `sqlite3_busy_handler`, SQLite's C API, 2026-10.
    """
    until = time.monotonic() + wait_ms / 1000
    connection.execute("PRAGMA busy_timeout = 0")
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() >= until:
                raise
            time.sleep(_BETWEEN_ATTEMPTS_SECONDS)
        else:
            break
    connection.execute(f"PRAGMA busy_timeout = {wait_ms}")


def _commit(connection: sqlite3.Connection, path: Path) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if _is_busy(error):
            raise
        message = f"{path} failed at the end of a write: {error}"
        raise WriteUncertainError(message) from error


def _find(connection: sqlite3.Connection, key: Key) -> Item | None:
    row = connection.execute(
        "SELECT attributes, expires_at FROM items WHERE pk = ? AND sk = ?", key
    ).fetchone()
    return None if row is None else _item(key, *row)


def _item(key: Key, text: str, expires_at: int | None) -> Item:
    return Item(key, json.loads(text), expires_at)


def _is_busy(error: sqlite3.Error) -> bool:
    # Codes came with Python 3.11; the words are as old as SQLite.
    return "locked" in str(error) or "busy" in str(error)


def _translated(error: sqlite3.Error, path: Path) -> StoreUnavailableError | StoreRefusedError:
    if _is_busy(error):
        message = f"{path} was held by another process until the deadline: {error}"
        return StoreUnavailableError(message)
    return StoreRefusedError(f"{path}: {error}. Is it a writable SQLite file (LAMBDALLM_STORE)?")
