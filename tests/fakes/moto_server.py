"""AWS-compatible servers in a thread of this process, written by others (PyPI: moto)."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def serve_moto() -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 until the block ends; the value is the base URL.

    What it holds is the process's, whichever of its servers was asked. Its end takes half a second.
    """
    servers = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = servers.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def make_table(client: Any, *keys: str) -> str:
    """Make a table with these keys, of strings, under a name that no other test has."""
    name = f"table-{uuid4().hex}"
    kinds = ("HASH", "RANGE")
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[
            {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, kinds, strict=False)
        ],
    )
    return name


def forget_items(table: str) -> None:
    """Empty the tables of a name, behind the servers' backs."""
    from moto.dynamodb.models import dynamodb_backends

    for backends in dynamodb_backends.values():
        for backend in backends.values():
            if table in backend.tables:
                backend.tables[table].items.clear()
