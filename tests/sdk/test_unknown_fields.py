"""A newer sidecar answers with fields that this SDK does not know: no answer is lost for that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import sample_events as samples
from lambdallm import MemoryStrategy, Session, _errors, handler
from lambdallm.testing import MockLambdaContext

REPLIES = ("/v1/begin", "/v1/session/window", "/v1/session/append", "/v1/chat", "/v1/end",
           "/v1/health")  # fmt: skip
UNKNOWN = st.text(max_size=12).map(lambda name: f"later {name}")
JSON = st.none() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
EXTRA = st.dictionaries(UNKNOWN, JSON, min_size=1, max_size=3)


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """A sidecar with a model of its own; `engine.handle` is replaced by one that says more."""
    monkeypatch.setenv("LAMBDALLM_MODEL", "scripted/demo")
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(["You said {last}."]))
    return request.getfixturevalue("sidecar")


@handler(session=Session(session_id="s", memory=MemoryStrategy.FULL_HISTORY))
def chat(event: Any, context: Any) -> dict[str, Any]:
    context.session.add_message("user", "hello")
    context.session.add_message("assistant", context.invoke(context.session.format_history()))
    return {"said": [turn["content"] for turn in context.session.get_history()]}


@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_reply_may_carry_fields_that_nobody_knows(newest: Any, data: st.DataObject) -> None:
    extra = {path: data.draw(EXTRA, label=path) for path in REPLIES}
    handle = type(newest.engine).handle

    def newer(method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        status, reply = handle(newest.engine, method, path, body, connection=connection)
        message = {**json.loads(reply), **extra.get(path, {})}
        for turn in message.get("turns", ()):
            turn.update(extra[path])
        if "usage" in message:
            message["usage"].update(extra[path])
        return status, json.dumps(message).encode()

    newest.engine.handle = newer
    before = len(newest.requests)
    answer = chat(samples.http_api(), MockLambdaContext())

    assert answer["statusCode"] == 200, answer
    assert json.loads(answer["body"])["said"][-2:] == ["hello", "You said hello."]
    asked = set(newest.paths[before:])
    assert asked >= {"/v1/begin", "/v1/session/append", "/v1/chat", "/v1/end"}


@given(extra=EXTRA, code=st.text(max_size=10) | st.integers() | st.none())
def test_a_problem_of_a_later_version_is_an_error_of_this_one(extra: Any, code: Any) -> None:
    error = _errors.from_problem({"detail": "What to do.", **extra, "code": code})

    assert isinstance(error, _errors.LambdaLLMError)
    assert error.detail == "What to do."


@pytest.mark.parametrize("status", [418, 599])
def test_a_status_of_a_later_version_is_an_error_too(newest: Any, status: int) -> None:
    handle = newest.engine.handle

    def newer(method: str, path: str, body: bytes, *, connection: int) -> tuple[int, bytes]:
        if path == "/v1/chat":
            return status, b'{"code": "later", "detail": "What to do."}'
        answer: tuple[int, bytes] = handle(method, path, body, connection=connection)
        return answer

    newest.engine.handle = newer

    with pytest.raises(_errors.SidecarError, match="What to do"):
        handler(lambda event, context: context.invoke("Hi"))({"direct": True}, MockLambdaContext())
