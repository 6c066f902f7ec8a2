"""What is wrong outside: each is told with what to do about it, and the function's code runs.

Nothing here lasts to the function's timeout: that would be a `Sandbox.Timedout`.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.chats import lines_with, post, reply_of
from e2e.refusing_table import Refusal, RefusingTable
from lambdallm.testing.model_server import Answer, Failure, ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.conftest import Service, Start
    from lambda_runtime_api.emulator import Environment

    Open = Callable[..., Environment]

PROGRAM = Path(__file__).parent / "programs/spoken_to.py"
TIMEOUT_SECONDS = 6.0


@pytest.fixture
def start(host: Start, layer: Path, chat_variables: dict[str, str]) -> Open:
    """Start the chat function, with some variables other than usual."""

    def open_with(
        handler: str = "app.chat_handler", seconds: float = TIMEOUT_SECONDS, **variables: str
    ) -> Any:
        return host(
            {"app.py": PROGRAM.read_text()},
            handler,
            opt=layer,
            variables=chat_variables | variables,
            timeout_seconds=seconds,
        )

    return open_with


def own(session: str) -> dict[str, Any]:
    """An event whose handler does without its session."""
    return {**post(session, "hello"), "rawPath": "/own"}


def problem_of(invocation: Any) -> dict[str, Any]:
    assert invocation.error_type is None, (invocation.payload, invocation.logs)
    answer = json.loads(invocation.payload)
    problem: dict[str, Any] = json.loads(answer["body"])
    assert answer["statusCode"] == problem["status"]
    return problem


REFUSALS = {
    Refusal("ResourceNotFoundException", "Requested resource not found"): (
        False,
        "aws dynamodb create-table --region us-east-1 --table-name lambdallm",
    ),
    Refusal("AccessDeniedException", "User: x is not authorized"): (
        False,
        "arn:aws:dynamodb:us-east-1:*:table/lambdallm",
    ),
    Refusal("ExpiredTokenException", "The security token is expired"): (
        False,
        "a new execution environment gets new ones",
    ),
    Refusal("ProvisionedThroughputExceededException", "Too high"): (True, "PAY_PER_REQUEST"),
}


def test_a_table_that_refuses(start: Open, host: Start, dynamodb: Service) -> None:
    with (
        RefusingTable(dynamodb.url) as table,
        start(AWS_ENDPOINT_URL_DYNAMODB=table.url) as environment,
    ):
        for number, (refusal, (retryable, words)) in enumerate(REFUSALS.items()):
            session = f"refused-{host.name}-{number}"
            table.refusal = refusal
            problem = problem_of(environment.invoke(post(session, "hello")))
            assert (problem["code"], problem["retryable"]) == ("state", retryable)
            assert words in problem["detail"]
            answer = json.loads(environment.invoke(own(session)).payload)
            assert json.loads(answer["body"]) == {"own": "code"}

            table.refusal = None
            again = reply_of(environment.invoke(post(session, "hello")))
            assert again == "You said 1 things.", "nothing of the refused one was kept"


def test_a_role_without_permissions(start: Open, iam_table: dict[str, str]) -> None:
    """A server with real policies refuses, and the error names what is to be allowed."""
    with start(**iam_table) as environment:
        problem = problem_of(environment.invoke(post("denied", "hello")))

    assert "Give the function's role dynamodb:" in problem["detail"]
    assert "table/lambdallm" in problem["detail"]
    assert "lambdallm doctor" in problem["detail"]


MODEL_FAILURES = [
    (Failure(403, "AccessDeniedException", "You don't have access."), 502, "Model access"),
    (Failure(400, "ValidationException", "The provided model identifier is invalid."), 502, "list"),
    (Failure(429, "ThrottlingException", "Too many tokens per day."), 502, "quota of a day"),
    (Failure(403, "ExpiredTokenException", "Expired."), 502, "credentials are not accepted"),
    (Failure(424, "ModelErrorException", "It failed."), 502, "model itself failed"),
    (Failure(200, body=b"<html>hello</html>"), 502, "not a Converse reply"),
    (Failure(200, body=b'{"output": 7}'), 502, "not a Converse reply"),
    (Failure(200, body=b'{"out', cut_after_bytes=2), 502, "lost"),
    (Answer("late", delay_seconds=60), 502, "give the function a longer timeout"),
]


def test_a_model_that_fails(start: Open, host: Start) -> None:
    script: list[Answer | Failure] = []

    with (
        ModelServer(lambda _messages: script[-1]) as model,
        start(seconds=3, AWS_ENDPOINT_URL_BEDROCK_RUNTIME=model.url) as environment,
    ):
        for number, (failure, status, words) in enumerate(MODEL_FAILURES):
            script.append(failure)
            problem = problem_of(environment.invoke(post(f"failing-{host.name}-{number}", "hello")))
            assert problem["status"] == status
            assert words in problem["detail"]
        script.append(Answer("fine"))
        assert reply_of(environment.invoke(post(f"failing-{host.name}", "hello"))) == "fine"


def test_a_request_that_is_wrong(start: Open, host: Start, model_server: ModelServer) -> None:
    """Refused before a model is asked, and paid; the next request is answered."""
    session = f"wrong-{host.name}"
    with start() as environment:
        no_json = problem_of(environment.invoke({**post(session, ""), "body": "{not json"}))
        long_id = problem_of(environment.invoke(post("s" * 3_000, "hello")))
        large = problem_of(environment.invoke(post(session, "x" * 5_900_000)))
        other_types = [
            problem_of(environment.invoke({**post(session, ""), "body": json.dumps(body)}))
            for body in (
                *({"message": message} for message in (5, None, {"a": 1}, ["x"], [{"text": 5}])),
                {"message": "hello", "session_id": ["a"]},
            )
        ]
        asked = len(model_server.requests)
        assert reply_of(environment.invoke(post(session, "hello"))) == "You said 1 things."

    assert (no_json["status"], long_id["status"], large["status"]) == (400, 400, 400)
    assert "The body is not JSON (" in no_json["detail"]
    assert "1 to 256 printable ASCII characters" in long_id["detail"]
    assert "cannot be kept in a session" in large["detail"]
    assert {problem["status"] for problem in other_types} == {400}
    assert all("content of a message" in problem["detail"] for problem in other_types[:-1])
    assert "session id is no text" in other_types[-1]["detail"]
    assert asked == 0


def test_somebody_else_on_the_port(start: Open, host: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = str(stranger.getsockname()[1])
        with start(LAMBDALLM_PORT=port) as environment:
            reply = reply_of(environment.invoke(post(f"port-{host.name}", "hello")))
            said = lines_with(environment, f"Port {port}", "LAMBDALLM_PORT")

    assert reply == "You said 1 things."
    assert len(said) == 1


def test_a_directory_that_cannot_be_written(start: Open, host: Start) -> None:
    directory = "/var/task/lambdallm" if host.name == "aws" else "/proc/lambdallm"
    with start(LAMBDALLM_DIRECTORY=directory) as environment:
        reply = reply_of(environment.invoke(post(f"read-only-{host.name}", "hello")))
        said = lines_with(environment, directory, "LAMBDALLM_DIRECTORY")

    assert reply == "You said 1 things."
    assert len(said) == 1


FILL = """
import os

def fill(event, context):
    with open("/tmp/full", "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    os._exit(1)
"""


def test_a_full_disk(aws: Start, layer: Path, chat_variables: dict[str, str]) -> None:
    """`/tmp` outlives a crash: who filled it is started again beside it. Ours gives it no size."""
    with aws(
        {"app.py": PROGRAM.read_text() + FILL + CHOOSE},
        "app.choose",
        opt=layer,
        variables=chat_variables,
        timeout_seconds=TIMEOUT_SECONDS,
    ) as environment:
        environment.invoke("fill")
        replies: list[str] = []
        told: list[str] = []
        give_up = time.monotonic() + SERVES_SECONDS
        while len(replies) < 2 or (not told and time.monotonic() < give_up):
            replies.append(reply_of(environment.invoke(post("full", "hello"))))
            # What the life before has left is written over; mostly that makes the room it needs.
            said = lines_with(environment, "No space left on device", "LAMBDALLM_DIRECTORY")
            told = said or lines_with(environment, "lambdallm: started")[1:]

    numbers = [min(number, REMEMBERED) for number in range(1, len(replies) + 1)]
    assert replies == [f"You said {number} things." for number in numbers]
    assert told, "it serves again, or says what it lacks"


REMEMBERED = 10
"""Messages of the user's in the window that a session has by default."""

SERVES_SECONDS = 20
"""By then a sidecar that was woken serves, on a busy machine too."""

CHOOSE = """
def choose(event, context):
    return fill(event, context) if event == "fill" else chat_handler(event, context)
"""


def test_a_line_of_100_mb(start: Open) -> None:
    with start("app.noisy", 30) as environment:
        answers = [environment.invoke({"bytes": size}).json() for size in (100_000_000, 1)]

    assert answers == ["said", "said"]
