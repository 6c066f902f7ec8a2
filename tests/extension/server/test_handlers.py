"""The routes: what they refuse before it can do harm, and what a call tells that comes late."""

from __future__ import annotations

import json
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from fakes.asked_engine import DEADLINE, Api
from lambdallm.testing import Answer, ModelServer
from lambdallm_extension.ports import Key
from lambdallm_wire import codec, routes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def api() -> Iterator[Api]:
    opened = Api()
    yield opened
    opened.close()


def read(body: Any) -> list[dict[str, Any]]:
    received = b""
    while piece := body.read():
        received += piece
    body.close()
    return [codec.decode(line) for line in received.splitlines()]


def turn(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, "metadata": {}, "at_epoch_ms": 1, **more}


@pytest.mark.parametrize(
    "message",
    [
        {"turns": [turn(content)]}
        for content in (5, None, {"a": 1}, [], ["x"], [None], [{"text": 5}], [{}], "x" * 4_000_000)
    ]
    + [
        {"turns": [turn("x", metadata=[1])]},
        {"turns": [turn("x", role=5)]},
        {"turns": [turn("x", at_epoch_ms="now")]},
        {"turns": [{"role": "user", "at_epoch_ms": 1}]},
        {"turns": ["x"]},
        {"turns": {"a": 1}},
        {"turns": None},
        {"turns": [], "metadata": [1]},
    ],
)  # fmt: skip
def test_what_would_spoil_a_session_is_refused_whole(api: Api, message: dict[str, Any]) -> None:
    work = api.begin()

    status, problem = api.ask(routes.APPEND, work_id=work, **message)

    assert (status, problem["code"]) == (400, "invalid_request")
    assert api.ask(routes.SAVE, work_id=work) == (200, {"version": 0})
    assert api.lines == [], "nothing has failed"


def test_one_bad_turn_takes_the_good_ones_along(api: Api) -> None:
    work = api.begin()
    good = turn("fine", role="assistant")

    assert api.ask(routes.APPEND, work_id=work, turns=[good, turn(5)])[0] == 400
    assert api.ask(routes.END, work_id=work)[0] == 200
    assert api.ask(routes.WINDOW, work_id=api.begin())[1]["turns"] == []


@pytest.mark.parametrize(
    "messages",
    [["x"], [{"content": "x"}], [{"role": "user"}]]
    + [[{"role": "user", "content": content}] for content in (5, None, {"a": 1}, ["x"], [])],
)
def test_what_is_no_conversation_is_refused_by_its_place(api: Api, messages: list[Any]) -> None:
    messages = [{"role": "user", "content": "fine"}, *messages]

    status, problem = api.ask(
        routes.CHAT, work_id=api.begin(), call_id="c", messages=messages, model="scripted/demo"
    )

    assert (status, problem["code"]) == (400, "invalid_request")
    assert "Message 1" in problem["detail"]


# What comes late


def test_a_call_that_outlives_its_unit_is_reported_once() -> None:
    asked, go = Event(), Event()

    def answer(_conversation: Any) -> Answer:
        asked.set()
        go.wait(10)
        return Answer("late")

    with ModelServer(answer) as model:
        api = Api(
            AWS_ENDPOINT_URL_BEDROCK_RUNTIME=model.url,
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="x",
        )
        work = api.begin(cold_start=True)
        replies: list[Any] = []

        def call() -> None:
            replies.append(
                api.ask(
                    routes.CHAT, work_id=work, call_id="c",
                    model="bedrock/us.amazon.nova-micro-v1:0",
                    messages=[{"role": "user", "content": "x"}],
                )
            )  # fmt: skip

        thread = Thread(target=call)
        thread.start()
        assert asked.wait(10)
        status, totals = api.ask(routes.END, work_id=work, outcome="ok", handler_ms=1.0)
        assert (status, totals["calls"]) == (200, 0), "nobody waits for it"
        go.set()
        thread.join(10)
        api.close()

    assert replies[0][0] == 200
    own, late = api.reports
    assert (own["outcome"], own["Calls"], own["ColdStart"]) == ("ok", 0, 1)
    assert (late["outcome"], late["Calls"], late["ColdStart"]) == ("late", 1, 0)
    assert (late["workId"], late["requestId"]) == (work, work)
    assert late["CostUSD"] > 0
    assert "HandlerMs" not in late


def test_a_call_in_time_is_reported_with_its_unit_alone(api: Api) -> None:
    work = api.begin()
    messages = [{"role": "user", "content": "x"}]
    api.ask(routes.CHAT, work_id=work, call_id="c", messages=messages)
    api.ask(routes.END, work_id=work)

    assert [report["Calls"] for report in api.reports] == [1]


@pytest.mark.parametrize(
    ("more", "outcome", "failed"),
    [({}, "killed", 1), ({"forked": True}, "forked", 0), ({"forked": "yes"}, "killed", 1)],
)
def test_a_forked_child_may_end_without_a_word(
    api: Api, more: dict[str, Any], outcome: str, failed: int
) -> None:
    api.begin(**more)
    api.disconnect()

    (report,) = api.reports
    assert (report["outcome"], report["FailedInvocations"]) == (outcome, failed)


def test_an_answer_of_a_child_that_is_gone_is_kept(api: Api) -> None:
    work = api.begin(forked=True)
    api.ask(routes.APPEND, work_id=work, turns=[turn("hello"), turn("hi", role="assistant")])
    api.disconnect()

    seen = api.ask(routes.WINDOW, work_id=api.begin())[1]["turns"]
    assert [each["content"] for each in seen] == ["hello", "hi"]


# Models, line by line and in the caller's own hands


MESSAGES = [{"role": "user", "content": "hi there"}]


def test_an_answer_comes_line_by_line_and_its_unit_is_released() -> None:
    api = Api()
    work = api.begin()
    status, body = api.stream(work_id=work, call_id="c", messages=MESSAGES)
    received = read(body)
    api.ask(routes.END, work_id=work)
    api.close()

    assert status == 200
    assert [line.get("text") for line in received[:-1]] == ["Heard ", "hi ", "there."]
    assert received[-1]["response"]["text"] == "Heard hi there."
    (report,) = api.reports
    assert (report["outcome"], report["Calls"]) == ("ok", 1)


def test_a_stream_that_outlives_its_unit_is_reported_late() -> None:
    api = Api()
    work = api.begin()
    _, body = api.stream(work_id=work, call_id="c", messages=MESSAGES)
    api.ask(routes.END, work_id=work)
    body.read()
    body.close()
    body.close()
    api.close()

    assert [(report["outcome"], report["Calls"]) for report in api.reports] == [
        ("ok", 0), ("late", 1),
    ]  # fmt: skip


def test_an_environment_that_ends_books_what_is_under_way_and_waits_for_nobody() -> None:
    api = Api(LAMBDALLM_SCRIPT=json.dumps([{"chunks": ["x" * 30, "y"]}]))
    work = api.begin()
    _, body = api.stream(work_id=work, call_id="c", messages=MESSAGES)
    body.read()
    store = api.store
    api.finish(5)

    item = store.get(Key("CALL#c", "CALL"), deadline_ms=DEADLINE)
    assert item is not None
    assert item.attributes["error"] == "EnvironmentEnded"
    assert (item.attributes["output_tokens"], item.attributes["estimated"]) == (10, True)
    assert not [line for line in api.lines if "not stored" in line], "there was time for it"
    body.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"messages": []}, "at least one of the user"),
        ({"work_id": "nobody"}, "is not open"),
        ({"model": "nobody/m"}, "There is no provider 'nobody'"),
        ({"max_retries": "2"}, "'max_retries' cannot be a str"),
        ({"deadline_epoch_ms": None}, "'deadline_epoch_ms' cannot be a NoneType"),
        ({"fallback_models": "abc"}, "'fallback_models' cannot be a str"),
        ({"own_providers": [5]}, "'own_providers' must be a list of names"),
    ],
)
def test_what_cannot_begin_is_a_problem_and_no_stream(
    api: Api, wrong: dict[str, Any], said: str
) -> None:
    work = api.begin()
    message = {"work_id": work, "call_id": "c", "messages": MESSAGES, **wrong}
    status, body = api.stream(**message)
    (problem,) = read(body)

    assert status == problem["status"] >= 400
    assert said in problem["detail"]
    assert api.ask(routes.CHAT, **message)[1]["detail"] == problem["detail"]
    api.disconnect()
    assert [report["outcome"] for report in api.reports] == ["killed"]


def test_the_caller_asks_its_own_provider_and_says_what_came_of_it(api: Api) -> None:
    work = api.begin()
    asked = {"call_id": "c", "messages": MESSAGES, "model": "mine/m", "own_providers": ["mine"]}
    status, told = api.ask(routes.CHAT, work_id=work, **asked)
    assert (status, told["perform"]["model_id"]) == (200, "m")
    usage = {"output_tokens": 3}
    _, reply = api.ask(routes.PERFORMED, work_id=work, call_id="c", text="Hi", usage=usage)

    assert (reply["text"], reply["usage"]["output_tokens"]) == ("Hi", 3)
    assert api.ask(routes.END, work_id=work)[1]["calls"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"usage": {"output_tokens": -1}}, {"usage": {"output_tokens": True}}, {"usage": [1]},
        {"usage": {"output_tokens": 1.5}}, {"cost_pico_usd": -1}, {"cost_pico_usd": 0.5},
        {"cost_pico_usd": "1"}, {"problem": "no"}, {"problem": {"status": "bad"}},
        {"problem": {"retry_after_seconds": "soon"}}, {"call_id": ""}, {"vectors": "no"},
        {"vectors": [1]}, {"vectors": [["1"]]}, {"vectors": [[None]]}, {"vectors": [[True]]},
    ],
)  # fmt: skip
def test_what_would_spoil_the_books_is_refused_and_the_call_still_waits(
    api: Api, wrong: dict[str, Any]
) -> None:
    work = api.begin()
    api.ask(
        routes.CHAT, work_id=work, call_id="c", messages=MESSAGES, model="mine/m",
        own_providers=["mine"],
    )  # fmt: skip
    status, problem = api.ask(routes.PERFORMED, **{"work_id": work, "call_id": "c", **wrong})

    assert (status, problem["code"]) == (400, "invalid_request")
    assert api.ask(routes.PERFORMED, work_id=work, call_id="c", text="Hi")[0] == 200


def test_the_caller_turns_texts_into_vectors_itself(api: Api) -> None:
    work = api.begin()
    asked = {"call_id": "c", "texts": ["a"], "model": "mine/m", "own_providers": ["mine"]}
    assert api.ask(routes.EMBED, work_id=work, **asked)[1]["perform"]["text_indexes"] == [0]
    _, reply = api.ask(routes.PERFORMED, work_id=work, call_id="c", vectors=[[1, 0.5]])

    assert reply["vectors"] == [[1, 0.5]]
    assert api.ask(routes.END, work_id=work)[1]["calls"] == 1


def test_texts_become_vectors(api: Api) -> None:
    work = api.begin()
    asked = {"call_id": "c", "model": "scripted/e", "texts": ["a", "b", "a"], "dimensions": 4}
    status, reply = api.ask(routes.EMBED, work_id=work, **asked)
    assert status == 200
    assert (reply["vectors"][0], len(reply["vectors"][0])) == (reply["vectors"][2], 4)
    assert reply["vectors"][0] != reply["vectors"][1]

    for texts in ([], ["a", 5], "a", None):
        assert api.ask(routes.EMBED, work_id=work, **{**asked, "texts": texts})[0] == 400
