"""A store, a model whose answers cost the same each, and handlers that spend there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.moto_server import make_table
from fakes.redis_servers import serve_redis
from fakes.session_commands import close
from lambdallm import handler
from lambdallm.testing import MockLambdaContext
from lambdallm.testing.model_server import Answer, ModelServer

MODEL = "bedrock/us.amazon.nova-micro-v1:0"
PRICE = 1_000 * 35_000 + 100 * 140_000
"""Of one answer, in pico-USD."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, dynamodb: Any) -> Iterator[ModelServer]:
    """A model, beside a DynamoDB that the variables name, too."""
    with ModelServer([Answer("Yes.", input_tokens=1_000, output_tokens=100)]) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        monkeypatch.setenv("LAMBDALLM_MODEL", MODEL)
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with serve_redis(tmp_path) as served:
        yield served.url


@pytest.fixture(params=["sqlite", "dynamodb", "redis"])
def store(
    request: pytest.FixtureRequest, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> str:
    """One store after the other, as LAMBDALLM_STORE names it."""
    if request.param == "sqlite":
        Path("accounts.db").touch()
        url = f"sqlite:///{Path('accounts.db').absolute()}"
    elif request.param == "redis":
        url = request.getfixturevalue("redis")
    else:
        url = f"dynamodb://{make_table(request.getfixturevalue('dynamodb'), 'pk', 'sk')}"
    monkeypatch.setenv("LAMBDALLM_STORE", url)
    return url


@pytest.fixture
def spend(embedded: Callable[..., None], store: str) -> Callable[..., list[int]]:
    """Call a handler in an environment of its own, which then ends; return the statuses."""

    def run(times: int = 1, *, event: Any = None, ends: bool = True, tags: Any = (), **options: Any
            ) -> list[int]:  # fmt: skip
        @handler(**options)
        def handle(_event: Any, context: Any) -> Any:
            context.tag(**dict(tags))
            context.chat([{"role": "user", "content": "Hello"}], max_tokens=100)
            return {"statusCode": 200, "body": "{}"}

        embedded()
        statuses = [
            handle(event or {"body": {"x": 1}}, MockLambdaContext())["statusCode"]
            for _ in range(times)
        ]
        if ends:
            close()
        return statuses

    return run
