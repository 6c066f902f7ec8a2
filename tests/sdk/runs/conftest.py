"""A store after the other, a model whose answers cost the same each, an account with functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.aws_account import AwsAccount
from fakes.moto_server import make_table
from fakes.redis_servers import serve_redis
from lambdallm.testing.model_server import Answer, ModelServer

MODEL = "bedrock/us.amazon.nova-micro-v1:0"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, dynamodb: Any) -> Iterator[ModelServer]:
    """A model, beside a DynamoDB that the variables name, too."""
    with ModelServer([Answer("It depends.", input_tokens=1_000, output_tokens=100)]) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        monkeypatch.setenv("LAMBDALLM_MODEL", MODEL)
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with serve_redis(tmp_path) as served:
        yield served.url


@pytest.fixture(params=["sqlite", "dynamodb", "redis"])
def store(
    request: pytest.FixtureRequest, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> str:
    """One store after the other, as LAMBDALLM_STORE names it."""
    return _open(request.param, request, monkeypatch)


@pytest.fixture
def file(request: pytest.FixtureRequest, model: ModelServer, monkeypatch: Any) -> str:
    """A SQLite file, for what is the same in every store."""
    return _open("sqlite", request, monkeypatch)


def _open(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if kind == "sqlite":
        Path("runs.db").touch()
        url = f"sqlite:///{Path('runs.db').absolute()}"
    elif kind == "redis":
        url = request.getfixturevalue("redis")
    else:
        url = f"dynamodb://{make_table(request.getfixturevalue('dynamodb'), 'pk', 'sk')}"
    monkeypatch.setenv("LAMBDALLM_STORE", url)
    return url


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsAccount]:
    """An account whose functions are invoked."""
    account = AwsAccount()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", account.url)
    yield account
    account.close()
