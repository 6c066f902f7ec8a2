"""What is still to be written when the response has left, and what may happen to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from faults.chats import Chat, stored_calls, stored_turns
from lambda_runtime_api.emulator.network import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.conftest import Service

SLOW_SECONDS = 0.4
"""Of every answer of the table: a response that leaves first is far earlier."""


@pytest.fixture
def table(dynamodb: Service) -> Iterator[Relay]:
    with Relay(dynamodb.url) as relay:
        yield relay


@pytest.fixture
def open_chat(start_ours: Callable[..., Any], table: Relay) -> Callable[..., Any]:
    """Start an environment whose responses do not wait for the table."""

    def open_it(durability: str = "after_response", **more: Any) -> Any:
        variables = {"AWS_ENDPOINT_URL_DYNAMODB": table.url, "DURABILITY": durability}
        return start_ours(variables=variables, **{"timeout_seconds": 5, **more})

    return open_it


def answer_early(environment: Any, session: str, table: Relay) -> Any:
    """Get an answer that has left before the table had answered."""
    table.delay_seconds = SLOW_SECONDS
    answer = environment.invoke({"session_id": session, "say": "Hello"})
    assert answer.error_type is None, (answer.payload, answer.logs)
    return answer


def test_the_response_leaves_first_and_is_stored_then(
    open_chat: Callable[..., Any], table: Relay, dynamodb: Service
) -> None:
    with open_chat() as environment:
        chat = Chat(environment, "early")
        assert chat.heard() == "Heard 1."
        table.request_delay_seconds = SLOW_SECONDS
        answer_early(environment, "early", table)
        assert stored_turns(dynamodb, "early") == ["user", "assistant"]
        environment.wait_until_idle()

        assert stored_turns(dynamodb, "early") == ["user", "assistant"] * 2


def test_a_freeze_in_the_middle_of_writing_only_delays_it(
    open_chat: Callable[..., Any], table: Relay, dynamodb: Service
) -> None:
    with open_chat() as environment:
        chat = Chat(environment, "frozen while writing")
        assert chat.heard() == "Heard 1."
        answer_early(environment, "frozen while writing", table)
        environment.freeze()
        table.cut()
        time.sleep(0.1)
        environment.thaw()
        table.delay_seconds = 0.0
        environment.wait_until_idle()
        assert stored_turns(dynamodb, "frozen while writing") == ["user", "assistant"] * 2

        assert chat.heard() == "Heard 3."


def test_a_host_that_fails_in_the_middle_of_writing_loses_at_most_what_was_not_acknowledged(
    open_chat: Callable[..., Any], table: Relay, dynamodb: Service
) -> None:
    with open_chat() as environment:
        chat = Chat(environment, "lost while writing")
        assert [chat.heard(), chat.heard()] == ["Heard 1.", "Heard 2."]
        answer_early(environment, "lost while writing", table)
        environment.kill()
        table.delay_seconds = 0.0
        kept = len(stored_turns(dynamodb, "lost while writing")) // 2
        assert kept in (2, 3)

        assert chat.heard() == f"Heard {kept + 1}."


def test_what_a_table_that_goes_down_after_the_response_did_not_take_is_said(
    open_chat: Callable[..., Any], table: Relay, dynamodb: Service
) -> None:
    with open_chat(timeout_seconds=2) as environment:
        chat = Chat(environment, "down after the response")
        assert chat.heard() == "Heard 1."
        early = answer_early(environment, "down after the response", table)
        table.refuse()
        table.cut()
        environment.wait_until_idle()
        assert "StateError" in chat.say().payload.decode()
        table.refuse(refuse=False)
        table.delay_seconds = 0.0
        kept = len(stored_turns(dynamodb, "down after the response")) // 2
        sentence = f"The session of {early.request_id} was not saved"
        said = [line.text for line in environment.logs if sentence in line.text]
        doubt = any("may have been written" in line for line in said)
        assert (kept, len(said), doubt) in (
            (1, 1, False),
            (1, 1, True),
            (2, 1, True),
            (2, 0, False),
        )

        assert chat.heard() == f"Heard {kept + 1}."


@pytest.mark.parametrize("durability", ["before_response", "after_response"])
def test_a_call_record_that_a_freeze_interrupts_is_written_later(
    open_chat: Callable[..., Any], table: Relay, dynamodb: Service, durability: str
) -> None:
    with open_chat(durability) as environment:
        chat = Chat(environment, f"record frozen {durability}")
        invocations = [chat.say()]
        table.delay_seconds = SLOW_SECONDS
        invocations.append(
            environment.invoke({"session_id": f"record frozen {durability}", "say": "Hello"})
        )
        environment.freeze()
        table.cut()
        time.sleep(0.1)
        table.delay_seconds = 0.0
        environment.thaw()
        invocations.append(chat.say())
        assert [invocation.error_type for invocation in invocations] == [None] * 3

    works = {invocation.request_id for invocation in invocations}
    assert stored_calls(dynamodb, works) == ["settled"] * 3
