"""A Redis: does it answer, does it keep what it is given, and does it throw nothing out?

It is looked at from here. A function in a VPC may see one that this machine does not, and redis-py
may be installed there and not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambdallm_cli.doctor.report import Finding
from lambdallm_cli.redis_reading import FORM, open_client, without_password

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OLDEST = 6
"""The first version that lambdallm speaks to: RESP3 came with it."""


def check_redis(url: str, *, in_lambda: bool) -> Iterator[Finding]:
    """Look at the server of a `redis://` or `rediss://` URL."""
    shown = without_password(url)
    try:
        client = open_client(url)
    except ValueError:
        said = f"LAMBDALLM_STORE={shown!r} is none."
        yield Finding("store", "fail", said, f"Write {FORM}; in a password %40 is a @.")
        return
    except ModuleNotFoundError:
        said = f"redis-py is not installed here: whether {shown} is right is not known."
        yield Finding("store", "warn", said, "pip install redis")
        return
    from redis import exceptions

    try:
        told: Mapping[str, Any] = client.info()
    except exceptions.NoPermissionError:
        said = f"{shown} answers, and its user may not run INFO: whether it is right is not known."
        yield Finding("store", "warn", said, "Allow it +info, and look again.")
    except (exceptions.AuthenticationError, exceptions.ResponseError) as error:
        said = f"{shown} refuses: {error}"
        yield Finding("store", "fail", said, f"Mend LAMBDALLM_STORE: {FORM}.")
    except (exceptions.RedisError, OSError) as error:
        said = f"{shown} does not answer: {error}"
        if in_lambda:
            advice = "From the function's VPC it may. Does its security group let the function in?"
            yield Finding("store", "warn", said, advice)
        else:
            yield Finding("store", "outside", said, "Is it running, and reached from here?")
    else:
        yield from judge(shown, told)
    finally:
        client.close()


def judge(shown: str, told: Mapping[str, Any]) -> Iterator[Finding]:
    """Say what is wrong with a server.

    Args:
        shown: Its URL, without a password.
        told: What `INFO` says.
    """
    version = str(told.get("redis_version", ""))
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < OLDEST:
        yield Finding("store", "fail", f"{shown} is Redis {version}.", f"Use {OLDEST} or newer.")
        return
    cluster = ", a cluster" if told.get("cluster_enabled") else ""
    yield Finding("store", "ok", f"Redis {version} at {shown}{cluster}.")
    yield _eviction(told)
    yield _durability(told)


def _eviction(told: Mapping[str, Any]) -> Finding:
    policy = str(told.get("maxmemory_policy", ""))
    if policy in ("noeviction", ""):
        said = "Nothing is thrown out." if policy else "It does not say what it throws out."
        return Finding("eviction", "ok" if policy else "warn", said, "")
    said = f"When it is full it throws sessions out, unasked (maxmemory-policy is {policy})."
    advice = "Set it to noeviction: writes are refused then, and told; or use a Redis of its own."
    return Finding("eviction", "warn", said, advice)


def _durability(told: Mapping[str, Any]) -> Finding:
    log, replicas = bool(told.get("aof_enabled")), int(told.get("connected_slaves", 0))
    if log or replicas:
        has = [
            *(["an append-only file"] if log else []),
            *([f"{replicas} replica(s)"] * bool(replicas)),
        ]
        said = f"It has {' and '.join(has)}; what a crash may lose: docs/stores.md."
        return Finding("durability", "ok", said, "")
    said = "It has no append-only file and no replica: a crash loses what came since its last save."
    advice = "Turn appendonly on, give it a replica, or use MemoryDB or DynamoDB."
    return Finding("durability", "warn", said, advice)
