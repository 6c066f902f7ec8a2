"""Sessions of a store, through the engine in this process: whatever keeps them, and all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lambdallm import _embedded, _errors, _settings
from lambdallm_cli import calls_read
from lambdallm_wire import names, routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REQUEST_MS = 60_000
"""For one step; a session of 5 MB is deleted in a few seconds."""

CHUNK_BYTES = 1_048_576
CHUNK_ITEMS_MAX = 500
"""Of a session that is put in: a message of it."""

READINGS_MAX = 5
"""Of a session that is written anew while it is read."""

ATTEMPTS_MAX = 5
"""Of a step that failed in passing: each goes on where the one before has stopped."""

_OF_THE_STORE = "LAMBDALLM_"
"""How the variables begin that say where sessions and their large values are."""


_HEAD = "HEAD"
"""The sort key of a session's head."""


class RefusedError(calls_read.UnreachableError):
    """The store refused, or the session is damaged: asking again does not help."""


class ChangedError(Exception):
    """The session was written anew since its first page was read: begin again."""


class SessionStore:
    """The sessions of one store."""

    def __init__(self, variables: Mapping[str, str], *, may_be_new: bool = False) -> None:
        """Open it.

        Args:
            variables: LAMBDALLM_STORE and what else says where values are.
            may_be_new: Whether a file that is not there is made.

        Raises:
            UsageError: There is no such store.
        """
        url = variables.get(names.ENVIRONMENT_STORE, "").strip() or calls_read.DEFAULT_URL
        _check(url, may_be_new=may_be_new)
        self.url = url
        of_the_store = {
            name: value for name, value in variables.items() if name.startswith(_OF_THE_STORE)
        }
        environ = {
            **_settings.environ_with({}),
            **of_the_store,
            names.ENVIRONMENT_STORE: url,
            "LAMBDALLM_TELEMETRY": "off",
        }
        if urlsplit(url).scheme == "dynamodb" or "LAMBDALLM_PAYLOADS" in environ:
            environ |= _aws_variables(environ)
        self._transport = _embedded.EmbeddedTransport.start(environ)

    @property
    def is_read_whole(self) -> bool:
        """Whether looking for sessions costs something for each item that it holds."""
        return urlsplit(self.url).scheme == "dynamodb"

    def listed(
        self, owner: str | None, progress: Callable[[int], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the living sessions in the store's own order.

        Args:
            owner: Only his, "" for those of nobody, None for everybody's.
            progress: Told how many were found so far, after each page but the last.
        """
        cursor, found = "", 0
        while True:
            wanted = {} if owner is None else {"owner": owner}
            page = self._ask(routes.LIST_SESSIONS, cursor=cursor, **wanted)
            yield from page["sessions"]
            found, cursor = found + len(page["sessions"]), page["cursor"]
            if not cursor:
                return
            if progress is not None:
                progress(found)

    def pages(
        self, session_id: str, owner: str, *, turns: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield a session in pages: the items of its `record`, or its `turns`.

        `session` and `record` of the first page are None where there is none.

        Raises:
            ChangedError: The pages of before do not belong to those that would follow.
            RefusedError: It is damaged, or newer than this version.
        """
        cursor = ""
        while True:
            page = self._ask(
                routes.READ_SESSION,
                session_id=session_id,
                owner=owner,
                cursor=cursor,
                turns=turns,
            )
            if cursor and (page["session"] is None or page["changed"]):
                raise ChangedError
            yield page
            cursor = page["cursor"]
            if not cursor:
                return

    def write(self, record: Mapping[str, Any]) -> str:
        """Put a session in: `written`, or `exists` or `expired`, and nobody sees any of it then.

        Raises:
            RefusedError: The store takes none such.
        """
        reply: dict[str, Any] = {"claim": ""}
        chunks = [*_chunks(record)]
        for number, chunk in enumerate(chunks, start=1):
            more = number < len(chunks)
            reply = self._ask(routes.WRITE_SESSION, record=chunk, claim=reply["claim"], more=more)
            if reply["outcome"] != "begun":
                break
        outcome: str = reply["outcome"]
        return outcome

    def check(self, record: Mapping[str, Any]) -> None:
        """See that all of a record can be put in, while a session lives in its place.

        Raises:
            InvalidRequestError: It cannot.
        """
        for chunk in _chunks(record):
            self._ask(routes.WRITE_SESSION, record=chunk, claim="", more=True)

    def move(
        self, session_id: str, owner: str, to_owner: str, progress: Callable[[int], None]
    ) -> dict[str, Any]:
        """Give a session to another owner: `outcome` and `other`, as in `archives.MovedSession`.

        Args:
            session_id: Its id.
            owner: Whose it is.
            to_owner: Whose it will be.
            progress: Told how many pages were copied so far, where there are several.
        """
        cursor, steps = "", 0
        while True:
            named = {"session_id": session_id, "owner": owner, "to_owner": to_owner}
            moved = self._ask(routes.MOVE_SESSION, **named, cursor=cursor)
            cursor, steps = moved["cursor"], steps + 1
            if moved["outcome"] != "moving":
                return moved
            progress(steps)

    def delete(self, session_id: str, owner: str, *, keep_records: bool = False) -> dict[str, Any]:
        """Delete a session for good: `found`, `items`, `calls`."""
        named = {"session_id": session_id, "owner": owner, "keep_records": keep_records}
        return self._ask(routes.DELETE_SESSION, **named)

    def close(self) -> None:
        """Let go of it."""
        self._transport.close()

    def _ask(self, route: routes.Route, **message: Any) -> dict[str, Any]:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            message["deadline_epoch_ms"] = _settings.epoch_ms() + REQUEST_MS
            try:
                return self._transport.request(route, message, timeout_seconds=REQUEST_MS / 1_000)
            except _errors.ConfigurationError as error:
                raise calls_read.UsageError(error.detail) from error
            except _errors.SidecarError as error:
                raise RefusedError(error.detail) from error
            except _errors.StateError as error:
                if not error.retryable:
                    raise RefusedError(error.detail) from error
                if attempt == ATTEMPTS_MAX:
                    raise calls_read.UnreachableError(error.detail) from error
        raise AssertionError  # the last attempt has returned or raised


def _chunks(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Cut a record into several, each with its head; what is none is left for the engine to refuse.

    Raises:
        ValueError: It holds a number that JSON does not know.
    """
    items = record.get("items")
    listed = items if isinstance(items, list) else []
    sks = [item.get("sk") if isinstance(item, dict) else None for item in listed]
    heads = [item for item, sk in zip(listed, sks, strict=True) if sk == _HEAD]
    if len(heads) != 1 or len({*map(repr, sks)}) < len(sks):
        json.dumps(record, allow_nan=False)
        yield {**record}
        return
    chunk, size = heads, 0
    for item, sk in zip(listed, sks, strict=True):
        if sk == _HEAD:
            continue
        length = len(json.dumps(item, allow_nan=False))
        if len(chunk) > CHUNK_ITEMS_MAX or (len(chunk) > 1 and size + length > CHUNK_BYTES):
            yield {**record, "items": chunk}
            chunk, size = heads, 0
        chunk, size = [*chunk, item], size + length
    yield {**record, "items": chunk}


def _check(url: str, *, may_be_new: bool) -> None:
    if url == "memory:":
        message = "memory: is the memory of one process: give the URL of a store that others reach."
        raise calls_read.UsageError(message)
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not may_be_new and not path.is_file():
        message = f"There is no file {path.absolute()}: nothing was said here yet, or elsewhere."
        raise calls_read.UsageError(message)


def _aws_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return credentials and region as boto3 finds them, who knows every way to sign in."""
    import boto3

    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        message = "No AWS credentials were found: sign in, or set AWS_PROFILE."
        raise calls_read.UsageError(message)
    frozen = credentials.get_frozen_credentials()
    return {
        "AWS_ACCESS_KEY_ID": frozen.access_key or "",
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key or "",
        "AWS_SESSION_TOKEN": frozen.token or "",
        "AWS_REGION": environ.get("AWS_REGION") or session.region_name or "",
    }
