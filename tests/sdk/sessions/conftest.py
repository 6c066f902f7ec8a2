"""A store with three sessions in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from fakes.session_commands import OWNER, close, create_table, say


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a DynamoDB of its own."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://{host}:{port}")
    client = boto3.client("dynamodb")
    yield client
    client.close()
    moto.stop()


@pytest.fixture(params=["sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A store with three sessions in it, as its URL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/sessions.db"
    else:
        url = f"dynamodb://{create_table(request.getfixturevalue('server'), 'pk', 'sk')}"
    monkeypatch.setenv("LAMBDALLM_STORE", url)
    say("ada", "", "Hello", "Hi Ada!")
    say("ada", OWNER, "My secret is é😀", "Noted.", "And?", "Nothing.")
    say("bob", "", "Hello", "Hi Bob!")
    close()
    monkeypatch.delenv("LAMBDALLM_STORE")
    return url
