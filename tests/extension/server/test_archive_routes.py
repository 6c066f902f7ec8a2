"""The routes for whole sessions refuse what they cannot read, and nothing is written then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambdallm_extension import engine as engines
from lambdallm_extension.settings import Settings
from lambdallm_wire import routes

NAMED = {"session_id": "ada", "owner": ""}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    built = engines.build(
        Settings.from_environ(
            {"LAMBDALLM_STORE": f"sqlite:///{tmp_path}/a.db", "LAMBDALLM_TELEMETRY": "off"}
        )
    )
    yield built
    built.close()


def ask(engine: Any, route: routes.Route, message: Any) -> tuple[int, Any]:
    body = json.dumps(message).encode()
    status, reply = engine.handle(route.method, route.path, body, connection=1)
    return status, json.loads(reply)


@pytest.mark.parametrize(
    ("route", "message"),
    [
        (routes.LIST_SESSIONS, {"cursor": 5}),
        (routes.LIST_SESSIONS, {"deadline_epoch_ms": "soon"}),
        (routes.READ_SESSION, {}),
        (routes.READ_SESSION, {"session_id": "a#b"}),
        (routes.READ_SESSION, {**NAMED, "cursor": 5}),
        (routes.WRITE_SESSION, {}),
        (routes.WRITE_SESSION, {"record": {"session_id": "ada"}}),
        (routes.WRITE_SESSION, {"record": {"session_id": "ada", "owner": 5}}),
        (routes.WRITE_SESSION, {"record": NAMED, "claim": 5}),
        (routes.MOVE_SESSION, NAMED),
        (routes.MOVE_SESSION, {**NAMED, "to_owner": ""}),
        (routes.MOVE_SESSION, {**NAMED, "to_owner": 5}),
        (routes.MOVE_SESSION, {"session_id": "ada", "owner": None, "to_owner": ""}),
        (routes.MOVE_SESSION, {**NAMED, "to_owner": "x" * 9_000}),
        (routes.MOVE_SESSION, {**NAMED, "to_owner": "x", "cursor": ["y"]}),
        (routes.DELETE_SESSION, {"session_id": 7}),
    ],
)
def test_what_no_route_takes_is_refused(engine: Any, route: routes.Route, message: Any) -> None:
    status, problem = ask(engine, route, message)

    assert (status, problem["code"]) == (400, "invalid_request")
    assert ask(engine, routes.LIST_SESSIONS, {})[1] == {"sessions": [], "cursor": ""}


@pytest.mark.parametrize("cursor", ["x", "[]", "[1,1,1]", '["1",1,1,"TURN"]', "5", "[1,1,1,5]"])
def test_a_cursor_that_no_page_answered_is_refused(engine: Any, cursor: str) -> None:
    expires_at = 4_000_000_000
    said = [{"role": "user", "content": "q"}]
    record = {**NAMED, "lambdallm_session": 1, "expires_at": expires_at, "messages": said}
    assert ask(engine, routes.WRITE_SESSION, {"record": record})[1]["outcome"] == "written"

    status, problem = ask(engine, routes.READ_SESSION, {**NAMED, "cursor": cursor})

    assert (status, problem["code"]) == (400, "invalid_request")


def test_a_move_with_a_cursor_of_another_one_moves_nothing(engine: Any) -> None:
    said = [{"role": "user", "content": "q"}]
    record = {**NAMED, "lambdallm_session": 1, "expires_at": 4_000_000_000, "messages": said}
    ask(engine, routes.WRITE_SESSION, {"record": record})

    moved = ask(engine, routes.MOVE_SESSION, {**NAMED, "to_owner": "x", "cursor": "claim TURN#1"})

    assert moved == (200, {"outcome": "absent", "cursor": "", "other": None})
    (session,) = ask(engine, routes.LIST_SESSIONS, {})[1]["sessions"]
    assert session["owner"] == ""
