"""Bedrock through InvokeModel, before a server that speaks real HTTP."""

from collections.abc import Callable, Iterator

import pytest

from fakes.api_server import ApiServer, Reply
from lambdallm_extension.model_ports import Provider


@pytest.fixture
def invoke(open_named) -> Iterator[Callable[[Reply], tuple[Provider, ApiServer]]]:
    """Open the provider before a server with this reply."""
    servers: list[ApiServer] = []

    def make(reply: Reply) -> tuple[Provider, ApiServer]:
        servers.append(ApiServer(reply).__enter__())
        provider = open_named("bedrock-invoke", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=servers[-1].url)
        return provider, servers[-1]

    yield make
    for server in servers:
        server.stop()
