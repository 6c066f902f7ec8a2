"""A newer SDK sends fields that this sidecar does not know: no message is refused for that."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fakes.thoroughness import examples
from lambdallm_extension import engine as engines
from lambdallm_extension.server.http import Server, listen
from lambdallm_extension.settings import Settings
from lambdallm_wire import chat, invocations, names, routes, sessions

TOKEN = "token-of-this-test"
DEADLINE = 4_102_444_800_000
"""The year 2100: nothing here waits for it."""

KNOWN = {
    kind: set(message.__annotations__)
    for kind, message in {
        "begin": invocations.BeginRequest,
        "rule": sessions.SessionRule,
        "memory": sessions.Memory,
        "append": sessions.AppendRequest,
        "turn": sessions.Turn,
        "chat": chat.ChatRequest,
        "message": chat.ChatMessage,
        "end": invocations.EndRequest,
        "asking": sessions.WindowRequest,
    }.items()
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)

Ask = Callable[[routes.Route, dict[str, Any]], dict[str, Any]]

_numbers = count(1)


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """The real engine behind the real server; every answer is a success."""
    engine = engines.build(
        Settings.from_environ(
            {
                "LAMBDALLM_STORE": "memory:",
                "LAMBDALLM_MODEL": "scripted/demo",
                "LAMBDALLM_SCRIPT": json.dumps(["You said {last}."]),
                "LAMBDALLM_TELEMETRY": "off",
            }
        )
    )
    listener = listen(0)
    server = Server(listener, TOKEN, engine, lambda _: None)
    server.start()
    connection = http.client.HTTPConnection(*listener.getsockname(), timeout=20)

    def ask(route: routes.Route, message: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(message).encode()
        connection.request(route.method, route.path, body, {names.TOKEN_HEADER: TOKEN})
        response = connection.getresponse()
        reply: dict[str, Any] = json.loads(response.read())
        assert response.status == 200, reply
        return reply

    yield ask
    connection.close()
    server.close()


def converse(ask: Ask, session: str, extra: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Go through every route once; `extra` says what is added to each kind of message."""
    work = f"work-{next(_numbers)}"
    asking = {"work_id": work}
    rule = {
        "session_id": session,
        "identity": work,
        "ttl_seconds": 60,
        "memory": {"strategy": "full_history", **extra("memory")},
        "durability": "before_response",
        **extra("rule"),
    }
    begun = {
        "wire_version": names.WIRE_VERSION + 1,
        "work_id": work,
        "request_id": work,
        "deadline_epoch_ms": DEADLINE,
        "session": rule,
        **extra("begin"),
    }
    ask(routes.BEGIN, begun)
    window = ask(routes.WINDOW, {**asking, **extra("asking")})
    said = {"role": "user", "content": "hello", "at_epoch_ms": 1, **extra("turn")}
    ask(routes.APPEND, {**asking, "turns": [said], **extra("append")})
    message = {"role": "user", "content": "hello", **extra("message")}
    asked = {**asking, "call_id": work, "messages": [message], **extra("chat")}
    answer = ask(routes.CHAT, asked)
    heard = {"role": "assistant", "content": answer["text"], "at_epoch_ms": 2, **extra("turn")}
    ask(routes.APPEND, {**asking, "turns": [heard], **extra("append")})
    saved = ask(routes.SAVE, {**asking, **extra("asking")})
    end = ask(routes.END, {**asking, "outcome": "ok", **extra("end")})
    return {
        "window": window["turns"],
        "answer": {name: answer[name] for name in ("text", "content", "usage", "cost_pico_usd")},
        "saved": saved,
        "end": end,
    }


@given(data=st.data())
@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_message_may_carry_fields_that_nobody_knows(ask: Ask, data: st.DataObject) -> None:
    def extra(kind: str) -> dict[str, Any]:
        unknown = st.text(max_size=12).filter(lambda name: name not in KNOWN[kind])
        return data.draw(st.dictionaries(unknown, JSON, max_size=3), label=kind)

    plain, newer = f"plain-{next(_numbers)}", f"newer-{next(_numbers)}"

    for _ in range(2):  # the second time reads what the first one has written
        expected = converse(ask, plain, lambda _: {})
        assert converse(ask, newer, extra) == expected
    assert [turn["content"] for turn in expected["window"]] == ["hello", "You said hello."]
