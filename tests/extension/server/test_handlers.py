"""The routes: what they refuse before it can do harm, and what a call tells that comes late."""

from __future__ import annotations

import json
import time
from itertools import count
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm.testing import Answer, ModelServer
from lambdallm_extension import engine as engines
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_wire import codec, names, routes

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 4_102_444_800_000
"""The year 2100: nothing here waits for it."""

_numbers = count(1)


class Api:
    """The real engine, asked as the server asks it."""

    def __init__(self, **environ: str) -> None:
        self.lines: list[str] = []
        self._engine = engines.Engine(
            Settings.from_environ(
                {
                    "LAMBDALLM_STORE": "memory:",
                    "LAMBDALLM_MODEL": "scripted/demo",
                    "LAMBDALLM_SCRIPT": json.dumps(["Heard {last}."]),
                    "LAMBDALLM_TELEMETRY": "on",
                    **environ,
                }
            ),
            clock=SystemClock(),
            random=SystemRandom(),
            sleep=time.sleep,
            write_line=self.lines.append,
        )

    def ask(self, route: routes.Route, **message: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps(message).encode()
        status, reply = self._engine.handle(route.method, route.path, body, connection=1)
        return status, codec.decode(reply)

    def begin(self, session_id: str = "s", **more: Any) -> str:
        work = f"work-{next(_numbers)}"
        rule = {
            "session_id": session_id, "identity": work, "ttl_seconds": 60,
            "memory": {"strategy": "full_history"}, "durability": "before_response",
        }  # fmt: skip
        status, reply = self.ask(
            routes.BEGIN, wire_version=names.WIRE_VERSION, work_id=work, request_id=work,
            deadline_epoch_ms=DEADLINE, session=rule, **more,
        )  # fmt: skip
        assert status == 200, reply
        return work

    def disconnect(self) -> None:
        self._engine.disconnected(1)

    def close(self) -> None:
        self._engine.close()

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith('{"')]


@pytest.fixture
def api() -> Iterator[Api]:
    opened = Api()
    yield opened
    opened.close()


def turn(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, "metadata": {}, "at_epoch_ms": 1, **more}


@pytest.mark.parametrize(
    "message",
    [
        {"turns": [turn(content)]}
        for content in (5, None, {"a": 1}, [], ["x"], [None], [{"text": 5}], [{}], "x" * 400_000)
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
