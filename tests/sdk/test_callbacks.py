"""Tokens of steps that wait: who has one may finish its step, once, and nothing else."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import Callback, Chain, complete_callback, handler
from lambdallm.testing import MockLambdaContext
from lambdallm_wire import plain_json

CHAIN = Chain("c", [Callback("one"), Callback("two")])


def parts_of(token: str) -> list[str]:
    parts: list[str] = plain_json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    return parts


def token_of(parts: Any) -> str:
    return urlsafe_b64encode(plain_json.dumps(parts).encode()).decode().rstrip("=")


@pytest.fixture
def token(prompted: PromptedModel) -> str:
    return CHAIN.run(run_id="r").waits["one"]


def test_it_is_finished_from_another_event(token: str) -> None:
    @handler
    def finish(event: Any, context: Any) -> str:
        complete_callback(event["token"], {"paid": True})
        return "ok"

    finish({"token": token}, MockLambdaContext())

    assert CHAIN.run(run_id="r").outputs == {"one": {"paid": True}}


@pytest.mark.parametrize("output", [None, 0, "", [], False, "text", {"a": [1, None]}])
def test_any_json_is_an_output(output: Any, token: str) -> None:
    chain = CHAIN
    complete_callback(token, output)
    result = chain.run(run_id="r")

    assert result.steps[0].output == output
    assert [*result.waits] == ["two"]


def test_what_is_no_json_is_refused_and_can_be_done_again(token: str) -> None:
    with pytest.raises(TypeError, match="A callback's output"):
        complete_callback(token, {1, 2})
    complete_callback(token, 1)

    assert CHAIN.run(run_id="r").steps[0].output == 1


@pytest.mark.parametrize("place", range(4))
def test_a_forged_token_finishes_nothing(place: int, token: str) -> None:
    parts = parts_of(token)
    parts[place] = {0: "other", 1: "ada", 2: "two", 3: "0" * len(parts[3])}[place]

    with pytest.raises(lambdallm.InvalidRequestError, match="Nothing waits"):
        complete_callback(token_of(parts), 1)
    assert CHAIN.run(run_id="r").status == "checkpointed"


@pytest.mark.parametrize(
    "garbage",
    ["", "?", "e30", token_of({}), token_of(["r", "", "one"]), token_of(["r", "", "one", 1]),
     "ä", None, 7],
)  # fmt: skip
def test_what_is_no_token_is_said_to_be_none(garbage: Any) -> None:
    with pytest.raises(lambdallm.InvalidRequestError, match="no token"):
        complete_callback(garbage)


def test_a_token_of_before_a_notification_failed_finishes_nothing(prompted: PromptedModel) -> None:
    tokens: list[str] = []

    def notify(token: str, values: dict[str, Any]) -> None:
        tokens.append(token)
        if len(tokens) == 1:
            raise OSError("No way to them.")

    chain = Chain("c", [Callback("one", notify=notify)])
    chain.run(run_id="r")
    chain.run(run_id="r")

    with pytest.raises(lambdallm.InvalidRequestError, match="Nothing waits"):
        complete_callback(tokens[0])
    complete_callback(tokens[1])


def test_a_stopped_run_takes_no_answer(token: str) -> None:
    from lambdallm import _context
    from lambdallm_wire import routes

    work = _context.for_script().work
    work.control(routes.STOP_RUN, {"run_id": "r"})
    work.end("ok", "", 0.0)

    with pytest.raises(lambdallm.StateError, match="waits no more"):
        complete_callback(token)
