"""Where state lies: one `ports.Store` per kind of place, chosen by a URL.

dynamodb://TABLE[?region=eu-central-1]    what Lambda functions use
sqlite:///PATH                            a file, relative; four slashes: absolute
memory:                                   this process alone
"""

from __future__ import annotations

from lambdallm_extension.errors import SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.ports import Clock, Store
    from lambdallm_extension.settings import Settings

__all__ = ["open_store"]

DEFAULT_URL = "sqlite:///.lambdallm/lambdallm.db"
"""Outside Lambda, when nobody named a store."""

_FORMS = "dynamodb://TABLE[?region=REGION], sqlite:///PATH or memory:"

_TABLE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_TABLE_LENGTH = range(3, 256)


def open_store(settings: Settings, clock: Clock, credentials: CredentialSource) -> Store:
    """Open the store that `LAMBDALLM_STORE` names. Nothing is read or sent yet.

    Raises:
        SettingError: It names none, or one that cannot be.
    """
    url = _url(settings)
    scheme, _, rest = url.partition(":")
    if scheme == "dynamodb" and rest.startswith("//"):
        table, region = _parse_dynamodb(url, rest[2:])
        from lambdallm_extension.stores import dynamodb

        if region:
            settings = settings._replace(region=region)
        return dynamodb.connect(table, settings, clock, credentials)
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


def _parse_dynamodb(url: str, rest: str) -> tuple[str, str]:
    table, _, query = rest.partition("?")
    name, _, region = query.partition("=")
    if len(table) not in _TABLE_LENGTH or not _TABLE_CHARACTERS.issuperset(table):
        raise _wrong(url)
    if query and (name != "region" or not region):
        raise _wrong(url)
    return table, region


def _wrong(url: str) -> SettingError:
    return SettingError(f"LAMBDALLM_STORE={url!r} is no store: it may be {_FORMS}.")
