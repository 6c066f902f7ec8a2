"""A Redis that LAMBDALLM_STORE names, as people look at it: its client, and the calls in it.

What stands where is said in `lambdallm_extension.stores.redis_scripts`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM = "redis://[USER:PASSWORD@]HOST[:PORT][/DB][?prefix=PREFIX]"

CONNECT_SECONDS, READ_SECONDS = 4, 20

_PORT, _PREFIX = 6379, "lambdallm"
_PAGE = 500
_EXPIRES = b""


def is_redis(url: str) -> bool:
    """Whether a URL is of this kind."""
    return url.startswith(("redis://", "rediss://"))


def without_password(url: str) -> str:
    """Return a URL as it may be shown."""
    before, at, after = url.rpartition("@")
    scheme, separator, _ = before.partition("://")
    return (scheme + separator if separator else "") + after if at else url


def open_client(url: str) -> Any:
    """Return redis-py's client of the server that a URL names; nothing is connected yet.

    Raises:
        ValueError: It is no URL of a Redis.
        ModuleNotFoundError: redis-py is not installed.
    """
    options = _options(url)
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis(**options, retry=Retry(NoBackoff(), 0))


def read_pages(url: str, pk: str, sk: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the items under one sort key in all partitions of a prefix, as plain values.

    Args:
        url: Of one server, or of a node of a cluster.
        pk: How the partitions begin, without braces; what follows it is an item's `id`.
        sk: The sort key.

    Raises:
        ValueError, ModuleNotFoundError: As `open_client`.
        OSError: It did not answer, or refused.
    """
    root, end = f"{_prefix(url)}:{{{pk}", f"}}:i:{sk}"
    with _opened(url) as client:
        names = iter(set(client.scan_iter(match=f"{root}*{end}", count=1_000)))
        while page := list(islice(names, _PAGE)):
            pipeline = client.pipeline(transaction=False)
            for name in page:
                pipeline.hgetall(name)
            yield [
                {"id": name.decode()[len(root) : -len(end)], **_values(fields)}
                for name, fields in zip(page, pipeline.execute(), strict=True)
                if fields
            ]


def read_item(url: str, pk: str, sk: str) -> dict[str, Any] | None:
    """Return one item as plain values, None where there is none.

    Raises:
        ValueError, ModuleNotFoundError, OSError: As `read_pages`.
    """
    tag = pk.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    with _opened(url) as client:
        fields = client.hgetall(f"{_prefix(url)}:{{{tag}}}:i:{sk}")
    return _values(fields) if fields else None


def _values(fields: dict[bytes, bytes]) -> dict[str, Any]:
    return {name.decode(): json.loads(text) for name, text in fields.items() if name != _EXPIRES}


@contextmanager
def _opened(url: str) -> Iterator[Any]:
    """Have a client, of all nodes where it is a cluster; redis-py's errors become an OSError."""
    client = open_client(url)
    import redis

    try:
        connection = client.connection_pool.get_connection()
        told = connection.handshake_metadata
        client.connection_pool.release(connection)
        if told.get(b"mode", told.get("mode")) in (b"cluster", "cluster"):
            client.close()
            options = _options(url)
            del options["db"]  # A cluster has one.
            client = redis.RedisCluster(**options)
        yield client
    except (redis.RedisError, redis.RedisClusterException) as error:
        raise OSError(str(error)) from error
    finally:
        client.close()


def _prefix(url: str) -> str:
    return parse_qs(urlsplit(url).query).get("prefix", [_PREFIX])[0]


def _options(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    if not parts.hostname or parts.fragment or query.keys() - {"prefix", "ca"}:
        raise ValueError(url)
    options: dict[str, Any] = {
        "host": parts.hostname,
        "port": parts.port or _PORT,
        "db": int(parts.path.removeprefix("/") or "0"),
        "username": unquote(parts.username or "") or None,
        "password": unquote(parts.password or "") or None,
        "protocol": 3,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": READ_SECONDS,
    }
    if parts.scheme == "rediss":
        options |= {"ssl": True, "ssl_ca_certs": query.get("ca", [None])[0]}
    return options
