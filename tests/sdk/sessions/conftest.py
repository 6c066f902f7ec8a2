"""A store with three sessions in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.moto_server import make_table
from fakes.redis_servers import serve_redis
from fakes.session_commands import OWNER, close, say


@pytest.fixture
def server(dynamodb: Any) -> Any:
    """A client of a DynamoDB that other tests use, too."""
    return dynamodb


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """URL of a Redis of its own."""
    with serve_redis(tmp_path) as served:
        yield served.url


@pytest.fixture(params=["sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A store with three sessions in it, as its URL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/sessions.db"
    elif request.param == "redis":
        url = request.getfixturevalue("redis")
    else:
        url = f"dynamodb://{make_table(request.getfixturevalue('server'), 'pk', 'sk')}"
    monkeypatch.setenv("LAMBDALLM_STORE", url)
    say("ada", "", "Hello", "Hi Ada!")
    say("ada", OWNER, "My secret is é😀", "Noted.", "And?", "Nothing.")
    say("bob", "", "Hello", "Hi Bob!")
    close()
    monkeypatch.delenv("LAMBDALLM_STORE")
    return url
