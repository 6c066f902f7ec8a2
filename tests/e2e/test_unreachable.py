"""A VPC without a way to a service: the caller hears what is missing, before the function's end."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chats import CHAT, lines_with, post

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.conftest import Start

SERVICES = {"AWS_ENDPOINT_URL_DYNAMODB": "dynamodb",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "bedrock-runtime"}  # fmt: skip


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that swallows packets, as a VPC does: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("variable", SERVICES)
def test_an_address_that_refuses(
    host: Start, layer: Path, chat_variables: dict[str, str], variable: str, free_port: int
) -> None:
    address = f"http://127.0.0.1:{free_port}"
    with function(host, layer, {**chat_variables, variable: address}) as environment:
        expect_an_answer_that_names(environment, variable, address)


@pytest.mark.parametrize("variable", SERVICES)
def test_an_address_that_swallows_packets(
    emulator: Start, layer: Path, chat_variables: dict[str, str], variable: str, silent: str
) -> None:
    with function(emulator, layer, {**chat_variables, variable: silent}) as environment:
        expect_an_answer_that_names(environment, variable, silent)


@pytest.mark.slow
@pytest.mark.parametrize("variable", SERVICES)
def test_an_address_that_swallows_packets_in_the_emulator_of_aws(
    both: tuple[Start, Start],
    layer: Path,
    chat_variables: dict[str, str],
    variable: str,
    silent: str,
) -> None:
    with function(both[1], layer, {**chat_variables, variable: silent}) as environment:
        expect_an_answer_that_names(environment, variable, silent)


def function(host: Start, layer: Path, variables: dict[str, str]) -> Any:
    return host(
        {"app.py": CHAT.read_text()},
        "app.chat_handler",
        opt=layer,
        variables=variables,
        timeout_seconds=4,
    )


def expect_an_answer_that_names(environment: Any, variable: str, address: str) -> None:
    """The function's timeout ends no invocation: the error comes before it, as a status."""
    invocation = environment.invoke(post("unreachable", "hello"))
    told = lines_with(environment, f"{variable} names another address")

    assert invocation.error_type is None
    assert json.loads(invocation.payload)["statusCode"] in (408, 500, 502, 503)
    assert any(address.removeprefix("http://") in line for line in told), told
    assert any(f"reaches {SERVICES[variable]} through" in line for line in told)
