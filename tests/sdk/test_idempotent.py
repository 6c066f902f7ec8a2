"""A whole handler once for each key, whatever comes again and whenever."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm import (
    Approval,
    Chain,
    ConfigurationError,
    Step,
    approve,
    handler,
    idempotent,
)
from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = json.dumps({"answers": [f"answer {n}" for n in range(9)], "repeat": False})


@pytest.fixture(autouse=True)
def engine(embedded: Callable[..., None]) -> None:
    embedded(LAMBDALLM_MODEL="scripted/any", LAMBDALLM_SCRIPT=SCRIPT)


def post(body: Any = None, **headers: str) -> dict[str, Any]:
    return {"httpMethod": "POST", "path": "/", "headers": headers, "body": json.dumps(body)}


def message(message_id: str, receives: int = 1) -> dict[str, Any]:
    attributes = {"ApproximateReceiveCount": str(receives)}
    record = {"eventSource": "aws:sqs", "messageId": message_id, "attributes": attributes}
    return {"Records": [{**record, "body": "{}"}]}


def answer_of(function: Any, event: Any) -> Any:
    answer = function(event, MockLambdaContext())
    assert answer["statusCode"] == 200, answer
    return json.loads(answer["body"])


def refusal_of(function: Any, event: Any) -> tuple[int, str]:
    answer = function(event, MockLambdaContext())
    return answer["statusCode"], json.loads(answer["body"])["detail"]


def test_the_same_key_gets_the_first_answer_and_nothing_is_done() -> None:
    done: list[Any] = []

    @handler
    @idempotent(key="body.order.id")
    def order(event: Any, context: Any) -> Any:
        done.append(event["body"])
        return {"said": context.invoke("Hello"), "n": len(done)}

    event = post({"order": {"id": 7}})
    first, again = (answer_of(order, event) for _ in range(2))
    other = answer_of(order, post({"order": {"id": 8}}))

    assert first == again == {"said": "answer 0", "n": 1}
    assert other == {"said": "answer 1", "n": 2}


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False])
def test_falsy_answers_come_back_as_they_were(value: Any) -> None:
    done: list[Any] = []

    @handler
    @idempotent
    def answering(event: Any, context: Any) -> Any:
        done.append(event)
        return value

    answers = [answering(message("m-1", receives), MockLambdaContext()) for receives in (1, 2)]

    assert answers == [value, value]
    assert len(done) == 1


def test_a_redelivered_message_is_the_same_event_without_a_key() -> None:
    done: list[Any] = []

    @handler
    @idempotent
    def answering(event: Any, context: Any) -> Any:
        done.append(event)
        return len(done)

    ids = ("m-1", "m-1", "m-2")

    assert [answering(message(each), MockLambdaContext()) for each in ids] == [1, 1, 2]


def test_a_key_with_another_body_is_refused() -> None:
    @handler
    @idempotent
    def answering(event: Any, context: Any) -> Any:
        return event["body"]

    assert answer_of(answering, post({"a": 1}, **{"Idempotency-Key": "k"})) == {"a": 1}
    status, detail = refusal_of(answering, post({"a": 2}, **{"Idempotency-Key": "k"}))

    assert (status, "another body" in detail) == (400, True)


def test_an_event_without_its_key_is_refused() -> None:
    @handler
    @idempotent(key="body.id")
    def answering(event: Any, context: Any) -> Any:
        raise AssertionError

    assert refusal_of(answering, post({"other": 1})) == (
        400, "The event does not say body.id, by which it is known.",
    )  # fmt: skip


def test_a_function_says_the_key() -> None:
    done: list[Any] = []

    @handler
    @idempotent(key=lambda event, context: [event["body"]["a"], event["body"]["b"]])
    def answering(event: Any, context: Any) -> Any:
        done.append(event)
        return len(done)

    bodies = ({"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 3})

    assert [answer_of(answering, post(body)) for body in bodies] == [1, 1, 2]


def test_after_a_failure_it_is_done_again_and_no_answer_is_paid_twice() -> None:
    done: list[str] = []

    @handler
    @idempotent(key="body.id")
    def failing(event: Any, context: Any) -> Any:
        done.append(context.invoke("Think."))
        if len(done) == 1:
            raise RuntimeError
        return [*done, context.invoke("Go on.")]

    assert failing(post({"id": 1}), MockLambdaContext())["statusCode"] == 500
    assert answer_of(failing, post({"id": 1})) == ["answer 0", "answer 0", "answer 1"]


def test_a_delivery_beside_the_first_is_told_to_come_again() -> None:
    begun, freed = threading.Event(), threading.Event()
    answers: list[Any] = []

    @handler
    @idempotent(key="body.id")
    def slow(event: Any, context: Any) -> Any:
        begun.set()
        assert freed.wait(10)
        return "done"

    first = threading.Thread(
        target=lambda: answers.append(slow(post({"id": 1}), MockLambdaContext()))
    )
    first.start()
    assert begun.wait(10)
    beside = slow(post({"id": 1}), MockLambdaContext())
    freed.set()
    first.join()

    assert beside["statusCode"] == 503
    assert int(beside["headers"]["retry-after"]) >= 1
    assert answers[0]["body"] == "done"


def test_steps_within_it_are_kept_too() -> None:
    charged: list[int] = []
    failed: list[int] = []

    @handler
    @idempotent(key="body.id")
    def keyed(event: Any, context: Any) -> Any:
        receipt = context.step("charge", lambda: charged.append(1) or len(charged))
        if len(failed) == 0:
            failed.append(1)
            raise RuntimeError
        return receipt

    assert keyed(post({"id": 1}), MockLambdaContext())["statusCode"] == 500
    assert answer_of(keyed, post({"id": 1})) == 1
    assert charged == [1]


def test_a_coroutine_is_answered_once_too() -> None:
    @handler
    @idempotent(key="body.id")
    async def answering(event: Any, context: Any) -> Any:
        return {"said": await context.ainvoke("Hello")}

    assert [answer_of(answering, post({"id": 1})) for _ in range(2)] == [{"said": "answer 0"}] * 2


def test_it_stands_below_handler() -> None:
    @idempotent
    def answering(event: Any, context: Any) -> Any:
        raise AssertionError

    with pytest.raises(ConfigurationError, match="put @handler on top"):
        answering({}, MockLambdaContext())


def test_without_a_store_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDALLM_STORE")

    @handler
    @idempotent
    def answering(event: Any, context: Any) -> Any:
        raise AssertionError

    status, detail = refusal_of(answering, post({}))

    assert (status, "LAMBDALLM_STORE" in detail) == (500, True)


def test_a_key_outlives_an_outage_of_any_number_of_deliveries() -> None:
    tried: list[int] = []

    @handler
    @idempotent(key="body.id")
    def failing(event: Any, context: Any) -> Any:
        tried.append(1)
        if len(tried) < 8:
            raise ConnectionError
        return "done"

    statuses = [failing(post({"id": 1}), MockLambdaContext())["statusCode"] for _ in range(9)]

    assert statuses == [500] * 7 + [200] * 2
    assert len(tried) == 8


def test_a_chain_is_gone_on_with_until_it_is_completed_and_then_told() -> None:
    chain = Chain("c", [Step("a", "A {input}"), Approval("yes"), Step("b", "B")], "checkpoint")
    tokens: list[str] = []
    done: list[int] = []

    @handler
    @idempotent(key="body.id")
    def keyed(event: Any, context: Any) -> Any:
        done.append(1)
        result = chain.run(context, input="x")
        tokens.extend(result.waits.values())
        return result

    waiting = [keyed(post({"id": 1}), MockLambdaContext())["statusCode"] for _ in range(2)]
    approve(tokens[0])
    bodies = [keyed(post({"id": 1}), MockLambdaContext())["body"] for _ in range(2)]

    assert waiting == [202, 202]
    assert bodies == ["answer 1", "answer 1"]
    assert len(done) == 3


def test_an_answer_that_ends_in_half_a_character_is_not_asked_for_again(
    embedded: Callable[..., None],
) -> None:
    answers = ["cut \ud83d", "another"]
    embedded(LAMBDALLM_SCRIPT=json.dumps({"answers": answers, "repeat": False}))
    heard: list[str] = []

    @handler
    @idempotent(key="body.id")
    def failing(event: Any, context: Any) -> Any:
        heard.append(context.invoke("Think."))
        if len(heard) == 1:
            raise RuntimeError(heard[0])
        return heard[1]

    statuses = [failing(post({"id": 1}), MockLambdaContext())["statusCode"] for _ in range(2)]

    assert statuses == [500, 200]
    assert heard == ["cut \ud83d"] * 2
