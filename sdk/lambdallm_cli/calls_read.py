"""Call records, read from where the sidecar has written them: a DynamoDB table or a SQLite file.

A table holds them under `CALL#id` / `CALL`, beside the sessions, so that listing reads all of it.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from lambdallm_cli.redis_reading import is_redis, read_item, read_pages, without_password
from lambdallm_wire import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_URL = "sqlite:///.lambdallm/lambdallm.db"
"""Outside Lambda, when LAMBDALLM_STORE names none."""

_FORMS = "dynamodb://TABLE[?region=REGION], redis://HOST or sqlite:///PATH"
_PREFIX, _SORT_KEY = "CALL#", "CALL"
_SELECT = "SELECT pk, attributes FROM items WHERE sk = ? AND pk >= ? AND pk < ?"

CONNECT_SECONDS, READ_SECONDS = 4, 20


class UsageError(Exception):
    """What was asked for cannot be; the message says what can."""


class UnreachableError(Exception):
    """The store did not answer, or refused."""


class Filter(NamedTuple):
    """Which calls are wanted; "" and 0 want all."""

    since_epoch_ms: int = 0
    state: str = ""
    model: str = ""

    def takes(self, call: dict[str, Any]) -> bool:
        """Say whether a call is one of them; of the model's name a part is enough."""
        return (
            call.get("at", 0) >= self.since_epoch_ms
            and self.state in ("", call.get("state"))
            and self.model in str(call.get("model", ""))
        )


def read_calls(url: str, wanted: Filter, progress: Callable[[int], None]) -> list[dict[str, Any]]:
    """Return the calls that are wanted, the newest first.

    Args:
        url: As LAMBDALLM_STORE; "" is the default file.
        wanted: Which ones.
        progress: Told how many were read so far, as long as there are more.

    Raises:
        UsageError: There is no such store.
        UnreachableError: It did not answer, or refused.
    """
    found: list[dict[str, Any]] = []
    seen = 0
    for page in _pages(url or DEFAULT_URL, wanted.since_epoch_ms):
        if seen:
            progress(seen)
        seen += len(page)
        found += [call for call in page if wanted.takes(call)]
    return sorted(found, key=lambda call: int(call.get("at", 0)), reverse=True)


def read_call(url: str, call_id: str) -> dict[str, Any] | None:
    """Return one call by its id, None when there is no such record.

    Raises:
        UsageError, UnreachableError: As `read_calls`.
    """
    url = url or DEFAULT_URL
    if urlsplit(url).scheme == "dynamodb":
        table, region = _table_of(url)
        key = {"pk": {"S": _PREFIX + call_id}, "sk": {"S": _SORT_KEY}}
        reply = ask("dynamodb", region, "get_item", TableName=table, Key=key, ConsistentRead=True)
        return _from_item(reply["Item"]) if "Item" in reply else None
    if is_redis(url):
        with _told_of_redis(url):
            found = read_item(url, _PREFIX + call_id, _SORT_KEY)
        return found and {"id": call_id, **found}
    rows = _select(_path_of(url), (_SORT_KEY, _PREFIX + call_id, _PREFIX + call_id + "\0"))
    return next((_from_row(row) for row in rows), None)


def variables_of_function(name: str, region: str | None) -> dict[str, str]:
    """Return a deployed function's variables; its LAMBDALLM_STORE says a region then.

    Raises:
        UsageError: There is no such function here, or it has no store.
        UnreachableError: AWS did not answer, or refused.
    """
    region = region_of(name, region)
    found = ask("lambda", region, "get_function_configuration", FunctionName=name)
    variables = dict((found.get("Environment") or {}).get("Variables") or {})
    url = str(variables.get(names.ENVIRONMENT_STORE, "")).strip()
    if not url:
        message = f"The function {name!r} has no {names.ENVIRONMENT_STORE}: it keeps nothing."
        raise UsageError(message)
    if urlsplit(url).scheme == "dynamodb" and "region=" not in url and region:
        url += f"?region={region}"
    return {**variables, names.ENVIRONMENT_STORE: url}


def region_of(function: str, region: str | None) -> str | None:
    """Return where a function is: an ARN says it."""
    return function.split(":")[3] if function.startswith("arn:") else region


def _pages(url: str, since_epoch_ms: int) -> Iterator[list[dict[str, Any]]]:
    if urlsplit(url).scheme == "dynamodb":
        yield from _scan(*_table_of(url), since_epoch_ms)
        return
    if is_redis(url):
        with _told_of_redis(url):
            yield from read_pages(url, _PREFIX, _SORT_KEY)
        return
    bounds = (_SORT_KEY, _PREFIX, _PREFIX + "\U0010ffff")
    yield [_from_row(row) for row in _select(_path_of(url), bounds)]


@contextmanager
def _told_of_redis(url: str) -> Iterator[None]:
    shown = without_password(url)
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{shown} is read by redis-py: pip install redis"
        raise UsageError(message) from error
    except ValueError as error:
        message = f"{shown!r} is no Redis: give {_FORMS}."
        raise UsageError(message) from error
    except OSError as error:
        message = f"{shown}: {error}"
        raise UnreachableError(message) from error


def _path_of(url: str) -> Path:
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        shown = without_password(url)
        message = f"{shown!r} holds no call records that could be read here: give {_FORMS}."
        raise UsageError(message)
    path = Path(url.removeprefix("sqlite:///"))
    if not path.is_file():
        message = f"There is no file {path.absolute()}: nothing was asked here yet, or elsewhere."
        raise UsageError(message)
    return path


def _select(path: Path, bounds: tuple[str, ...]) -> list[tuple[str, str]]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as file:
            return file.execute(_SELECT, bounds).fetchall()
    except sqlite3.Error as error:
        message = f"{path}: {error}"
        raise UnreachableError(message) from error


def _from_row(row: tuple[str, str]) -> dict[str, Any]:
    return {"id": row[0].removeprefix(_PREFIX), **json.loads(row[1])}


def _table_of(url: str) -> tuple[str, str | None]:
    parts = urlsplit(url)
    if not parts.netloc:
        message = f"{url!r} names no table: give {_FORMS}."
        raise UsageError(message)
    return parts.netloc, parse_qs(parts.query).get("region", [None])[0]


def _scan(table: str, region: str | None, since_epoch_ms: int) -> Iterator[list[dict[str, Any]]]:
    parameters: dict[str, Any] = {
        "TableName": table,
        "FilterExpression": "sk = :call AND begins_with(pk, :prefix) AND #at >= :since",
        "ExpressionAttributeNames": {"#at": "at"},
        "ExpressionAttributeValues": {
            ":call": {"S": _SORT_KEY},
            ":prefix": {"S": _PREFIX},
            ":since": {"N": str(since_epoch_ms)},
        },
    }
    while True:
        page = ask("dynamodb", region, "scan", **parameters)
        yield [_from_item(item) for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            return
        parameters["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def scan_table(table: str, region: str | None) -> Iterator[dict[str, Any]]:
    """Yield every item of a table page by page, for `plain_item`.

    Raises:
        UnreachableError: It did not answer, or refused.
    """
    parameters: dict[str, Any] = {"TableName": table, "ConsistentRead": True}
    while True:
        page = ask("dynamodb", region, "scan", **parameters)
        yield from page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        parameters["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def ask(service: str, region: str | None, operation: str, **parameters: Any) -> Any:
    """Ask an AWS service, and return its reply.

    Args:
        service: As boto3 calls it.
        region: None for what this machine is set to.
        operation: A method of the client.
        parameters: Its own; the first one names what failed.

    Raises:
        UnreachableError: It did not answer, or refused.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
    try:
        client = boto3.client(service, region_name=region, config=config)
        with closing(client):
            return getattr(client, operation)(**parameters)
    except (BotoCoreError, ClientError, ValueError) as error:
        message = f"{next(iter(parameters.values()))}: {error}"
        raise UnreachableError(message) from error


def _from_item(item: dict[str, Any]) -> dict[str, Any]:
    plain = plain_item(item)
    call_id = plain.pop("pk").removeprefix(_PREFIX)
    del plain["sk"]
    return {"id": call_id, **plain}


def plain_item(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item with plain values."""
    from boto3.dynamodb.types import TypeDeserializer

    read = TypeDeserializer().deserialize
    return {name: _plain(read(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    """Return numbers, of which boto3 makes decimals, as they are elsewhere, and lists with them."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)
