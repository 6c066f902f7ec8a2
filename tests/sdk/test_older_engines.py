"""An engine that is one version older gets what it understands, and nothing that it would drop."""

from typing import Any

import pytest

import lambdallm
from lambdallm import _embedded, _transport, handler, providers
from lambdallm.testing import MockLambdaContext
from lambdallm_wire import routes


class Older:
    """The embedded engine, which says that it speaks version 3."""

    usable = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._engine = _embedded.EmbeddedTransport.start()

    def request(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> Any:
        self.asked.append((route.path, dict(message)))
        reply = self._engine.request(route, message, timeout_seconds=timeout_seconds)
        return {**reply, "wire_version": 3} if route is routes.BEGIN else reply

    def stream(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> Any:
        return self._engine.stream(route, message, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Older:
    monkeypatch.setenv("LAMBDALLM_SCRIPT", '["fine"]')
    transport = Older()
    _transport.replace(transport)
    return transport


class Mine:
    def chat(self, request: Any) -> str:
        return "mine"

    def embed(self, request: Any) -> Any:
        raise AssertionError("an older engine cannot ask for it")


def asking(function: Any) -> None:
    handler(model="scripted/x")(lambda _event, context: function(context) or "ok")(
        {"name": "direct"}, MockLambdaContext()
    )


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambdallm._own_providers._registered", {})
    providers.register("mine", Mine())


def test_what_it_would_drop_is_refused_by_name(older: Older) -> None:
    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.ConfigurationError, match="Update the layer") as refused:
            context.embed("text", model="mine/x")
        assert "cannot ask a provider of your own for vectors" in refused.value.detail

    asking(ask)
    assert [path for path, _ in older.asked] == ["/v1/begin", "/v1/end"]


def test_all_else_works(older: Older) -> None:
    def ask(context: Any) -> None:
        assert context.chat("Hi", model="mine/x").text == "mine"
        assert list(context.stream("Hi")) == ["fine"]
        assert context.embed("text", model="scripted/v").model == "scripted/v"

    asking(ask)
    (embed,) = [message for path, message in older.asked if path == "/v1/embed"]
    assert "own_providers" not in embed


def test_a_pinned_message_is_refused_and_others_are_kept(older: Older) -> None:
    """An older engine would show it for as long as its window reaches."""
    session = lambdallm.Session().load("s")
    session.add_message("user", "question")
    with pytest.raises(lambdallm.ConfigurationError, match="too old to pin"):
        session.add_message("assistant", "answer", pinned=True)

    assert [path for path, message in older.asked if message.get("turns")] == [routes.APPEND.path]
