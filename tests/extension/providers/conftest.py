"""Providers opened as the engine opens them, before servers that speak real HTTP."""

from collections.abc import Callable, Iterator

import pytest

from lambdallm.testing.model_server import ModelServer
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.secrets import Secrets
from lambdallm_extension.model_ports import Provider
from lambdallm_extension.providers import open_provider
from lambdallm_extension.settings import Settings, SystemClock

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "AWS_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def open_named() -> Iterator[Callable[..., Provider]]:
    """Open a provider by its name, with these variables set beside keys and a region."""
    opened: list[Provider] = []

    def make(name: str, **environ: str) -> Provider:
        settings = Settings.from_environ({**KEYS, **environ})
        clock = SystemClock()
        credentials = CredentialSource(settings, clock)
        secrets = Secrets(settings, credentials, clock)
        opened.append(open_provider(name, settings, credentials, secrets, clock))
        return opened[-1]

    yield make
    for provider in opened:
        provider.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., ModelServer]]:
    """Start a scripted model server."""
    servers: list[ModelServer] = []

    def make(answers, **options) -> ModelServer:
        servers.append(ModelServer(answers, **options).start())
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def bedrock(open_named, serve) -> Callable[..., Provider]:
    """Open Bedrock before a server that answers with a script."""

    def make(*answers, **environ: str) -> Provider:
        server = serve(list(answers))
        provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url, **environ)
        provider.server = server
        return provider

    return make


@pytest.fixture
def deadline_ms() -> int:
    return SystemClock().epoch_ms() + 20_000
