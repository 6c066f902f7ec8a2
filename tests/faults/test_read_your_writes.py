"""Who was answered first and stored later reads his own words, in whichever environment."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from lambda_runtime_api.emulator.network import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.conftest import Service

SLOW_SECONDS = 0.5


@pytest.fixture
def table(dynamodb: Service) -> Iterator[Relay]:
    with Relay(dynamodb.url) as relay:
        yield relay


def ask(environment: Any, session: str, receipt: str = "") -> Any:
    """Speak in a session as a browser does; return the response."""
    headers = {"x-session-id": session, **({"x-lambdallm-exchange": receipt} if receipt else {})}
    answer = environment.invoke({"headers": headers, "body": "{}", "say": "Hello"})
    assert answer.error_type is None, (answer.payload, answer.logs)
    return answer.json()


def heard(answer: Any) -> tuple[str, str]:
    assert answer["statusCode"] == 200, answer
    return json.loads(answer["body"])["heard"], answer["headers"]["x-lambdallm-exchange"]


@pytest.fixture
def two(start_ours: Callable[..., Any], table: Relay, dynamodb: Service) -> Iterator[Any]:
    """Two environments of one function, the first one behind a table that can be slow."""
    early = {"DURABILITY": "after_response"}
    with (
        start_ours(
            variables={**early, "AWS_ENDPOINT_URL_DYNAMODB": table.url}, timeout_seconds=3
        ) as slow,
        start_ours(variables=early, timeout_seconds=5) as fast,
    ):
        yield slow, fast


def test_another_environment_waits_for_the_slow_one(two: Any, table: Relay) -> None:
    slow, fast = two
    _, receipt = heard(ask(slow, "waits"))
    slow.wait_until_idle()
    assert heard(ask(fast, "waits", receipt))[0] == "Heard 2."
    for number in (3, 5):
        table.request_delay_seconds = SLOW_SECONDS
        text, receipt = heard(ask(slow, "waits"))
        assert text == f"Heard {number}."
        table.request_delay_seconds = 0.0

        assert heard(ask(fast, "waits", receipt))[0] == f"Heard {number + 1}."
        slow.wait_until_idle()


def test_readers_at_once_all_wait(two: Any, table: Relay) -> None:
    slow, fast = two
    heard(ask(slow, "at once"))
    slow.wait_until_idle()
    table.request_delay_seconds = SLOW_SECONDS
    _, receipt = heard(ask(slow, "at once"))
    with ThreadPoolExecutor() as threads:
        others = [threads.submit(ask, fast, "at once", receipt)]
        table.request_delay_seconds = 0.0
        others.append(threads.submit(ask, slow, "at once", receipt))
        texts = [heard(other.result())[0] for other in others]

    assert all(int(text.split()[1][:-1]) >= 3 for text in texts)


def test_what_died_with_its_environment_is_never_taken_for_the_latest(
    two: Any, table: Relay
) -> None:
    slow, fast = two
    heard(ask(slow, "dies"))
    slow.wait_until_idle()
    table.request_delay_seconds = SLOW_SECONDS
    _, receipt = heard(ask(slow, "dies"))
    slow.kill()
    table.cut()

    refused = ask(fast, "dies", receipt)
    if refused["statusCode"] == 200:
        return  # the write had left the environment before it died
    assert (refused["statusCode"], refused["headers"]["retry-after"]) == (503, "1")
    assert json.loads(refused["body"])["retryable"] is True
    identity = receipt.split(";")[0]
    over = ask(fast, "dies", f"{identity};version=1;until=1")
    assert heard(over)[0] == "Heard 2."
