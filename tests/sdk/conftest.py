"""A fresh choice of transport for every test, and engines and sidecars that are the real ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from fakes.prompted_model import MODEL, PromptedModel
from lambda_runtime_api.http1 import Request
from lambdallm import _by_hand, _embedded, _transport
from lambdallm.testing import MockProvider, mock_model
from lambdallm_extension import engine as engines
from lambdallm_extension.server.http import Server, listen
from lambdallm_extension.server.replies import Reply, plain
from lambdallm_extension.server.token import make_token, write_token
from lambdallm_extension.settings import Settings
from lambdallm_wire import names, routes


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty environment outside Lambda, with sessions in memory and no sidecar."""
    for name in tuple(os.environ):
        if name.startswith(("AWS_", "LAMBDALLM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LAMBDALLM_STORE", "memory:")
    monkeypatch.setenv("LAMBDALLM_DIRECTORY", str(tmp_path / "lambdallm"))
    monkeypatch.chdir(tmp_path)
    before = _transport.replace(None)
    yield
    _by_hand.end_abandoned()  # under the engine that they began with, which ends with the test
    used = _transport.replace(before)
    if used is not None:
        used.close()


@pytest.fixture
def dynamodb(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a DynamoDB, which the variables name, with keys for it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto)
    client = boto3.client("dynamodb")
    yield client
    client.close()


@pytest.fixture
def model() -> Iterator[MockProvider]:
    """A model that says what it is told to."""
    with mock_model() as provider:
        yield provider


@pytest.fixture
def prompted(monkeypatch: pytest.MonkeyPatch) -> Iterator[PromptedModel]:
    """A Bedrock that is asked where nothing else is said, and whose prices are known."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("LAMBDALLM_MODEL", MODEL)
    with PromptedModel() as model:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", model.url)
        yield model


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the SDK would have waited for."""
    waited: list[float] = []
    monkeypatch.setattr("lambdallm._settings.sleep", waited.append)
    return waited


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put an embedded engine with other variables in place."""

    def start(**environ: str) -> None:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        transport = _embedded.EmbeddedTransport.start()
        before = _transport.replace(transport)
        if before is not None:
            before.close()

    return start


class Sidecar:
    """A real engine behind the real server, in this process but on a socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = engines.build(Settings.from_environ())
        self.token = make_token()
        self.engine.admit_clients("clients", lambda: (self.token.encode(),))
        self.requests: list[tuple[str, int]] = []
        self.disconnections: list[int] = []
        listener = listen(0)
        self.port = listener.getsockname()[1]
        self._server = Server(listener, self.token, self, lambda _: None)
        self._server.start()
        write_token(str(directory), self.port, self.token)

    def handle(self, method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        self.requests.append((path, connection))
        return self.engine.handle(method, path, body, connection=connection)

    def serve_request(self, request: Request, body: bytes, *, connection: int) -> Reply:
        own = request.target.startswith(names.SDK_PREFIX)
        if own and request.target != routes.STREAM.path:
            return plain(*self.handle(request.method, request.target, body, connection=connection))
        self.requests.append((request.target, connection))
        return self.engine.serve_request(request, body, connection=connection)

    def disconnected(self, connection: int) -> None:
        self.disconnections.append(connection)
        self.engine.disconnected(connection)

    def close(self) -> None:
        self._server.close()
        self.engine.close()

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@pytest.fixture
def sidecar_of(tmp_path: Path) -> Iterator[Callable[[], Sidecar]]:
    """Start a sidecar when its variables are set."""
    with ExitStack() as ends:

        def start() -> Sidecar:
            served = Sidecar(tmp_path / "lambdallm")
            ends.callback(served.close)
            return served

        yield start


@pytest.fixture
def sidecar(sidecar_of: Callable[[], Sidecar]) -> Sidecar:
    return sidecar_of()
