"""Where state lies: one `ports.Store` per kind of place, chosen by a URL.

dynamodb://TABLE[?region=eu-central-1]    what Lambda functions use
redis://HOST[:PORT][/DB][?prefix=…]       Redis, Valkey, MemoryDB; rediss:// over TLS
sqlite:///PATH                            a file, relative; four slashes: absolute
memory:                                   this process alone

Before each stands a `payloads.PayloadStore`, which takes what is too large for an item.
"""

from __future__ import annotations

import sys

from lambdallm_extension.domain.overhead import Overhead
from lambdallm_extension.errors import SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock, Store
    from lambdallm_extension.settings import Settings

__all__ = ["open_store"]

DEFAULT_URL = "sqlite:///.lambdallm/lambdallm.db"
"""Outside Lambda, when nobody named a store."""

_FORMS = "dynamodb://TABLE[?region=REGION], redis://HOST, sqlite:///PATH or memory:"

_TABLE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_TABLE_LENGTH = range(3, 256)


def open_store(
    settings: Settings,
    clock: Clock,
    credentials: CredentialSource,
    overhead: Overhead | None = None,
) -> Store:
    """Open the store that `LAMBDALLM_STORE` names, for texts of any size. Nothing is sent yet.

    Args:
        settings: Its URL, and where large texts lie.
        clock: Time.
        credentials: Of AWS.
        overhead: Counts what its requests cost.

    Raises:
        SettingError: It names none, or one that cannot be; or LAMBDALLM_PAYLOADS or
            LAMBDALLM_COMPRESSION is wrong.
    """
    from lambdallm_extension.stores.payloads import open_payloads

    overhead = Overhead() if overhead is None else overhead
    items = _open_items(settings, clock, credentials, overhead)
    return open_payloads(items, settings, clock, credentials, overhead)


def _open_items(
    settings: Settings, clock: Clock, credentials: CredentialSource, overhead: Overhead
) -> Store:
    """Open what keeps the items themselves."""
    url = _url(settings)
    scheme, _, rest = url.partition(":")
    if scheme == "dynamodb" and rest.startswith("//"):
        table, region = _parse_dynamodb(url, rest[2:])
        from lambdallm_extension.stores import dynamodb

        if region:
            settings = settings._replace(region=region)
        return dynamodb.connect(table, settings, clock, credentials, overhead)
    if scheme in ("redis", "rediss") and rest.startswith("//"):
        return _open_redis(url, settings, clock)
    if scheme == "sqlite" and rest.startswith("///") and len(rest) > len("///"):
        return _open_sqlite(rest[3:], clock)
    if url == "memory:":
        from lambdallm_extension.stores.memory import MemoryStore

        return MemoryStore(clock)
    raise _wrong(url)


def _url(settings: Settings) -> str:
    if settings.store_url:
        return settings.store_url.strip()
    if settings.in_lambda:
        message = (
            "A session was declared without a store: set LAMBDALLM_STORE=dynamodb://TABLE "
            "(memory: only if you mean it, it forgets with each execution environment)."
        )
        raise SettingError(message)
    return DEFAULT_URL


def _open_sqlite(path: str, clock: Clock) -> Store:
    try:
        from lambdallm_extension.stores.sqlite import SqliteStore
    except ModuleNotFoundError as error:
        if error.name not in ("sqlite3", "_sqlite3"):
            raise
        message = "This Python has no sqlite3: set LAMBDALLM_STORE=dynamodb://TABLE or memory:."
        raise SettingError(message) from error
    return SqliteStore(path, clock)


def _open_redis(url: str, settings: Settings, clock: Clock) -> Store:
    """Open what redis-py reaches, which a layer of its own or the function brings.

    The layer's folder is searched last, and only for this import: nothing of it is meant for the
    function, which may share this process.
    """
    from lambdallm_extension.stores.redis_urls import parse_url

    target = parse_url(url, settings.store_name)
    folder = __file__.rpartition("/lambdallm_extension/")[0] + "/lib"
    sys.path.append(folder)
    try:
        from lambdallm_extension.stores import redis
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("redis", "async_timeout"):
            raise
        message = (
            "LAMBDALLM_STORE=redis://… needs the package redis (5.2 or newer): attach the layer of "
            "`./build.sh layer --redis` beside lambdallm's, or `pip install redis`."
        )
        raise SettingError(message) from error
    finally:
        sys.path.remove(folder)
    return redis.connect(target, settings, clock)


def _parse_dynamodb(url: str, rest: str) -> tuple[str, str]:
    table, _, query = rest.partition("?")
    name, _, region = query.partition("=")
    if len(table) not in _TABLE_LENGTH or not _TABLE_CHARACTERS.issuperset(table):
        raise _wrong(url)
    if query and (name != "region" or not region):
        raise _wrong(url)
    return table, region


def _wrong(url: str) -> SettingError:
    shown = f"…@{url.rpartition('@')[2]}" if "@" in url else url  # before it stands a password
    return SettingError(f"LAMBDALLM_STORE={shown!r} is no store: it may be {_FORMS}.")
