"""Streamed responses in our emulator and in AWS's: what the runtime is told, and the caller.

Only what can be collected can be asked of both; `agreement` names where they differ.
"""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from e2e.agreement import side_by_side
from fakes.streaming_runtime import BOOTSTRAP, END, chunks, plan
from fakes.waiting import until
from lambda_runtime_api.emulator.responses import TRAILERS_MAX_BYTES

if TYPE_CHECKING:
    from e2e.aws_environment import AwsEnvironment
    from e2e.conftest import Start
    from lambda_runtime_api.emulator import Environment

KINDS = {"on demand": {}, "managed": {"managed_concurrency": 1}}
MODE = "Lambda-Runtime-Function-Response-Mode"
ERROR = {"errorType": "ValueError", "errorMessage": "no"}


TRAILERS_BEGIN = (
    "Lambda-Runtime-Function-Error-Type: ValueError\r\nLambda-Runtime-Function-Error-Body: "
)


def trailers(size: int) -> list[Any]:
    """Make the step that ends a response with an error of zeros, in trailers of that size."""
    ending = "\r\n\r\n"
    text = "A" * (size - len(TRAILERS_BEGIN) - len(ending))
    return ["raw", f"0\r\n{TRAILERS_BEGIN}{text}{ending}"]


class Seen(NamedTuple):
    """What came of some invocations."""

    answers: list[tuple[bytes, str | None]]
    told: list[tuple[int, dict[str, Any]]]
    """Status and body of what the runtime was told, in the order of their coming."""


def ask(start: Start, *events: Any, timeout_seconds: int = 20, **options: Any) -> Seen:
    with start({"bootstrap": BOOTSTRAP}, timeout_seconds=timeout_seconds, **options) as environment:
        results = [environment.invoke(event) for event in events]
        expected = sum("response" in event or ["told"] in event["steps"] for event in events)
        until(lambda: len(lines_with("told", environment)) >= expected)
        environment.shutdown()
        lines = [line.text.split(" ", 2) for line in environment.logs]
    told = [(int(line[1]), json.loads(line[2])) for line in lines if line[0] == "told"]
    told += [(int(line[1]), ast.literal_eval(line[2])) for line in lines if line[0] == "next"]
    return Seen([(result.payload, result.error_type) for result in results], told)


def lines_with(word: str, environment: Environment | AwsEnvironment) -> list[str]:
    return [line.text for line in environment.logs if line.text.startswith(f"{word} ")]


def ask_both(both: tuple[Start, Start], *events: Any, **options: Any) -> list[Seen]:
    return side_by_side(both, lambda start: ask(start, *events, **options))


def types(seen: Seen) -> list[str | None]:
    return [error_type for _, error_type in seen.answers]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_arrive(both: tuple[Start, Start], kind: str) -> None:
    events = [plan(*chunks("one", "two"), *END), plan(*END), plan(["flood", 6_291_556], *END)]

    ours, theirs = ask_both(both, *events, **KINDS[kind])

    assert ours == theirs
    assert [len(payload) for payload, _ in ours.answers] == [6, 0, 6_291_556]
    assert ours.told == [(202, {"status": "OK"})] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_may_be_collected(both: tuple[Start, Start], kind: str) -> None:
    events = [plan(["flood", 6_291_557], *END), plan(["chunk", "two"], *END)]

    ours, theirs = ask_both(both, *events, **KINDS[kind])

    assert types(ours) == types(theirs) == ["Function.ResponseSizeTooLarge", None]
    assert ours.told == theirs.told
    assert [status for status, _ in ours.told] == [413, 202]


@pytest.mark.parametrize("kind", KINDS)
def test_a_mode_that_does_not_exist(both: tuple[Start, Start], kind: str) -> None:
    ours, theirs = ask_both(both, {"response": "x", "headers": {MODE: "chunky"}}, **KINDS[kind])

    assert ours.told == theirs.told
    assert ours.told[0][0] == 400
    assert types(ours) == ["Runtime.InvalidResponseModeHeader"]
    if kind == "managed":
        assert types(theirs) == types(ours)
        assert [json.loads(seen.answers[0][0]) for seen in (ours, theirs)] == [
            {"errorType": "Runtime.InvalidResponseModeHeader"}
        ] * 2


def test_managed_instances_tell_of_an_error_in_the_trailers(both: tuple[Start, Start]) -> None:
    event = plan(["chunk", "one"], ["fail", "ValueError", ERROR], ["told"])

    ours, theirs = ask_both(both, event, **KINDS["managed"])

    assert ours == theirs
    assert types(ours) == ["ValueError"]
    assert json.loads(ours.answers[0][0]) == ERROR


def test_elsewhere_only_ours_does(both: tuple[Start, Start]) -> None:
    event = plan(["chunk", "one"], ["fail", "ValueError", ERROR], ["told"])

    ours, theirs = ask_both(both, event)

    assert ours.told == theirs.told
    assert types(ours) == ["ValueError"]
    assert theirs.answers == [(b"one", None)]


def test_trailers_may_not_be_longer_than_that(both: tuple[Start, Start]) -> None:
    sizes = (TRAILERS_MAX_BYTES, TRAILERS_MAX_BYTES + 1)
    events = [plan(["chunk", "one"], trailers(size), ["told"]) for size in sizes]

    ours, theirs = ask_both(both, *events, **KINDS["managed"])

    assert ours.told == theirs.told
    assert [status for status, _ in ours.told] == [202, 400]
    assert types(ours)[1] == types(theirs)[1] == "Runtime.TruncatedResponse"
    assert ours.answers[0][1] == "ValueError"
    assert ours.answers[0][0] == theirs.answers[0][0] != b""


def test_elsewhere_too(both: tuple[Start, Start]) -> None:
    within = plan(["chunk", "one"], trailers(TRAILERS_MAX_BYTES), ["told"])
    beyond = plan(["chunk", "one"], trailers(TRAILERS_MAX_BYTES + 1))

    ours, theirs = ask_both(both, within, beyond, plan(["chunk", "two"], *END))

    assert types(ours) == ["ValueError", "Runtime.TruncatedResponse", None]
    assert types(theirs) == [None, "Runtime.ExitError", None]
    assert ours.told == theirs.told
    assert ours.answers[2] == theirs.answers[2] == (b"two", None)


def test_managed_instances_survive_a_response_that_is_truncated(both: tuple[Start, Start]) -> None:
    events = [plan(["chunk", "one"], ["half"], ["told"]), plan(["chunk", "two"], *END)]

    ours, theirs = ask_both(both, *events, **KINDS["managed"])

    assert types(ours) == types(theirs) == ["Runtime.TruncatedResponse", None]
    assert ours.told == theirs.told
    assert [said.get("errorType") for _, said in ours.told] == ["TruncatedHTTPRequest", None]


def test_nobody_asks_for_more_in_the_middle(both: tuple[Start, Start]) -> None:
    """The runtime's state has the same name."""
    ours, theirs = ask_both(both, plan(["chunk", "one"], ["pause", 0.5], ["next"], *END))

    assert ours == theirs
    assert [said.get("errorType") for _, said in ours.told] == [None, "InvalidStateTransition"]


def test_a_timeout_in_the_middle(both: tuple[Start, Start]) -> None:
    never = plan(["chunk", "one"], ["gate", "/tmp/never"])

    ours, theirs = ask_both(both, never, plan(["chunk", "two"], *END), timeout_seconds=2)

    assert types(ours) == types(theirs) == ["Sandbox.Timedout", None]
    assert ours.answers[1] == theirs.answers[1] == (b"two", None)
