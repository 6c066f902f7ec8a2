"""Frozen between invocations while connections die: the next one works, and nothing is lost."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from faults.chats import Chat, stored_turns
from lambda_runtime_api.emulator.network import Relay
from lambdallm.testing import ModelServer
from lambdallm_extension.http_client.pool import IDLE_AGE_MAX_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.conftest import Service

MODEL = "bedrock/anthropic.claude-3-haiku-20240307-v1:0"


class Servers:
    """A table and a model, each behind a network that breaks."""

    def __init__(self, table: Relay, model: Relay, asked: ModelServer) -> None:
        self.table = table
        self.model = model
        self.asked = asked
        self.variables = {
            "AWS_ENDPOINT_URL_DYNAMODB": table.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": model.url,
            "LAMBDALLM_MODEL": MODEL,
        }


@pytest.fixture
def servers(dynamodb: Service) -> Iterator[Servers]:
    with (
        ModelServer(["Heard {count}."]) as asked,
        Relay(dynamodb.url) as table,
        Relay(asked.url) as model,
    ):
        yield Servers(table, model, asked)


def freeze(environment: Any, seconds: float = 0.05) -> None:
    environment.wait_until_idle()
    environment.freeze()
    time.sleep(seconds)


@pytest.mark.parametrize("which", ["none", "table", "model", "both"])
def test_connections_that_were_reset_in_a_freeze_are_replaced(
    start_ours: Callable[..., Any], servers: Servers, which: str
) -> None:
    with start_ours(variables=servers.variables) as environment:
        chat = Chat(environment, f"frozen, reset: {which}")
        for number in range(1, 4):
            assert chat.heard() == f"Heard {number}."
            freeze(environment)
            if which in ("table", "both"):
                servers.table.cut()
            if which in ("model", "both"):
                servers.model.cut()

    assert len(servers.asked.requests) == 3, "nothing was asked twice"


def test_connections_that_the_network_forgot_are_replaced(
    start_ours: Callable[..., Any], servers: Servers
) -> None:
    with start_ours(variables=servers.variables, timeout_seconds=5) as environment:
        chat = Chat(environment, "frozen, forgotten")
        assert chat.heard() == "Heard 1."
        freeze(environment)
        servers.table.swallow()

        assert chat.heard() == "Heard 2."


@pytest.mark.slow
def test_after_a_long_freeze_no_connection_is_trusted(
    start_ours: Callable[..., Any], servers: Servers
) -> None:
    with start_ours(variables=servers.variables) as environment:
        chat = Chat(environment, "frozen for long")
        assert chat.heard() == "Heard 1."
        freeze(environment, IDLE_AGE_MAX_MS / 1_000 + 1)
        servers.table.swallow()
        servers.model.swallow()

        assert chat.heard() == "Heard 2."
    assert len(servers.asked.requests) == 2


def test_a_freeze_in_the_middle_of_an_invocation_only_delays_it(
    start_ours: Callable[..., Any], servers: Servers
) -> None:
    servers.table.delay_seconds = 0.1
    with start_ours(variables=servers.variables, timeout_seconds=10) as environment:
        chat = Chat(environment, "frozen in the middle")
        assert chat.heard() == "Heard 1."
        threading.Timer(0.15, environment.freeze).start()
        threading.Timer(0.6, environment.thaw).start()
        assert chat.heard() == "Heard 2."


def test_a_host_that_fails_takes_nothing_that_was_acknowledged(
    start_ours: Callable[..., Any], servers: Servers, dynamodb: Service
) -> None:
    with start_ours(variables=servers.variables) as environment:
        chat = Chat(environment, "host fails")
        for number in range(1, 4):
            assert chat.heard() == f"Heard {number}."
            environment.kill()

    assert stored_turns(dynamodb, "host fails") == ["user", "assistant"] * 3


def test_a_model_call_that_a_freeze_interrupts_is_not_asked_again(
    start_ours: Callable[..., Any], servers: Servers
) -> None:
    """Its answer is lost, and it may have been billed: the caller is told so."""
    with start_ours(variables=servers.variables, timeout_seconds=5) as environment:
        chat = Chat(environment, "frozen while asking")
        assert chat.heard() == "Heard 1."
        servers.model.delay_seconds = 0.5

        def interrupt() -> None:
            while len(servers.asked.requests) < 2:
                time.sleep(0.01)
            environment.freeze()
            servers.model.cut()
            servers.model.delay_seconds = 0.0
            environment.thaw()

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        lost = chat.say()
        interrupting.join()
        assert lost.error_type is not None
        assert "may be billed" in lost.payload.decode()
        assert len(servers.asked.requests) == 2

        assert chat.heard() == "Heard 2."


def test_a_host_that_fails_in_an_invocation_takes_nothing_that_was_acknowledged(
    start_ours: Callable[..., Any], servers: Servers, dynamodb: Service
) -> None:
    session = "host fails in an invocation"
    with start_ours(variables=servers.variables, timeout_seconds=10) as environment:
        chat = Chat(environment, session)
        assert chat.heard() == "Heard 1."

        def fail_when_stored() -> None:
            while len(stored_turns(dynamodb, session)) < 4:
                time.sleep(0.01)
            environment.kill()

        failing = threading.Thread(target=fail_when_stored)
        failing.start()
        assert chat.say(after="hang").error_type is not None
        failing.join()

        assert chat.heard() == "Heard 3."
    assert stored_turns(dynamodb, session) == ["user", "assistant"] * 3


def test_shutdown_writes_what_is_still_to_be_written(
    start_ours: Callable[..., Any], servers: Servers, dynamodb: Service
) -> None:
    """A call record of the last invocation, held up by a slow table."""
    with start_ours(variables=servers.variables) as environment:
        chat = Chat(environment, "shutdown")
        assert chat.heard() == "Heard 1."
        environment.shutdown()
        said = [json.loads(line.text) for line in environment.logs if '"outcome"' in line.text]

    assert [line["outcome"] for line in said] == ["ok"]
    assert "RecordsDropped" not in said[0]
