"""The routes of WebSocket clients over the engine: what a message has to be."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from fakes.asked_engine import Api
from lambdallm_wire import names, routes

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = {"connection_id": "R0oXAdfD0kwCH6w=", "api_id": "a1b2c3", "stage": "prod"}
TEXT = 131_072

_numbers = count(1)


@pytest.fixture
def api() -> Iterator[Api]:
    opened = Api(AWS_REGION="us-east-1")
    yield opened
    opened.close()


@pytest.fixture
def work(api: Api) -> str:
    work = f"push-work-{next(_numbers)}"
    status, reply = api.ask(
        routes.BEGIN, wire_version=names.WIRE_VERSION, work_id=work, request_id=work,
        deadline_epoch_ms=round(time.time() * 1_000) + 30_000,
    )  # fmt: skip
    assert status == 200, reply
    return work


@pytest.mark.parametrize(
    ("route", "wrong", "said"),
    [
        (routes.PUSH, {"client": None}, "'client'"),
        (routes.PUSH, {"client": {}}, "'connection_id'"),
        (routes.PUSH, {"client": {"connection_id": ""}}, "not empty"),
        (routes.PUSH, {"client": {"connection_id": "a#b"}}, "without '#'"),
        (routes.PUSH, {"client": {"connection_id": "x" * 129}}, "without '#'"),
        (routes.PUSH, {"client": {**CLIENT, "stage": 1}}, "'stage'"),
        (routes.PUSH, {"client": {**CLIENT, "api_id": "a.b"}}, "is no API's id"),
        (routes.PUSH, {"client": {**CLIENT, "connected_epoch_ms": "1"}}, "'connected_epoch_ms'"),
        (routes.PUSH, {"data": 1}, "'data'"),
        (routes.PUSH, {"data": "x" * (TEXT + 1)}, "131,073 bytes"),
        (routes.PUSH, {"data": "ü" * (TEXT // 2 + 1)}, "131,074 bytes"),
        (routes.PUSH, {"work_id": "nobody's"}, "nobody's"),
        (routes.JOIN_GROUP, {"group": ""}, "not empty"),
        (routes.JOIN_GROUP, {"group": "ü" * 129}, "1 to 256 bytes"),
        (routes.LEAVE_GROUPS, {"group": 1}, "'group'"),
        (routes.PUSH_TO_GROUP, {"group": None}, "'group'"),
        (routes.PUSH_TO_GROUP, {"data": None}, "'data'"),
    ],
)
def test_a_message_that_is_wrong_is_refused_by_name(
    api: Api, work: str, route: routes.Route, wrong: Any, said: str
) -> None:
    message = {"work_id": work, "client": CLIENT, "group": "room", "data": "x", **wrong}
    status, problem = api.ask(route, **message)

    assert status == 400, problem
    assert said in problem["detail"]


def test_an_unknown_api_is_a_setting_that_is_missing(api: Api, work: str) -> None:
    status, problem = api.ask(routes.PUSH, work_id=work, client={"connection_id": "a"}, data="x")

    assert (status, problem["code"]) == (500, "configuration")
    assert names.ENVIRONMENT_CONNECTIONS in problem["detail"]


def test_groups_are_joined_and_left(api: Api, work: str) -> None:
    for group in ("room", "hall"):
        reply = api.ask(routes.JOIN_GROUP, work_id=work, client=CLIENT, group=group)
        assert reply == (200, {"groups": [group]})

    status, left = api.ask(routes.LEAVE_GROUPS, work_id=work, client=CLIENT)
    assert (status, sorted(left["groups"])) == (200, ["hall", "room"])
    said = api.ask(routes.PUSH_TO_GROUP, work_id=work, group="room", data="x")
    assert said == (200, {"delivered": 0, "gone": 0})
