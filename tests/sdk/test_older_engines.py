"""An engine that is one version older gets what it understands, and nothing that it would drop."""

from typing import Any

import pytest

import lambdallm
from lambdallm import _embedded, _transport, handler, providers
from lambdallm.testing import MockLambdaContext
from lambdallm_wire import routes


class Older:
    """The embedded engine, which says that it speaks version 2."""

    usable = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._engine = _embedded.EmbeddedTransport.start()

    def request(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> Any:
        self.asked.append((route.path, dict(message)))
        reply = self._engine.request(route, message, timeout_seconds=timeout_seconds)
        return {**reply, "wire_version": 2} if route is routes.BEGIN else reply

    def stream(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> Any:
        raise AssertionError("it has no such route")

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


def asking(function: Any) -> None:
    handler(model="scripted/x")(lambda _event, context: function(context) or "ok")(
        {"name": "direct"}, MockLambdaContext()
    )


@pytest.mark.parametrize(
    "given",
    [
        {"tools": [{"name": "add", "input_schema": {"type": "object"}}]},
        {"tool_choice": "auto"},
        {"output_schema": {"type": "object"}},
        {"reasoning": {"effort": "low"}},
        {"service_tier": "flex"},
        {"additional_fields": {"top_k": 1}},
        {"fallback_models": ["scripted/y"]},
        {"system": [{"text": "Be brief."}]},
    ],
)
def test_what_it_would_drop_is_refused_by_name(older: Older, given: dict[str, Any]) -> None:
    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.ConfigurationError, match="Update the layer"):
            context.chat("Hi", **given)

    asking(ask)
    assert [path for path, _ in older.asked] == ["/v1/begin", "/v1/end"]


def test_what_it_has_no_route_for_is_refused(older: Older) -> None:
    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.ConfigurationError, match="cannot stream an answer"):
            context.stream("Hi")
        with pytest.raises(lambdallm.ConfigurationError, match="cannot turn texts into vectors"):
            context.embed(["Hi"])

    asking(ask)


def test_all_else_works_and_own_providers_are_not_spoken_of(
    older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambdallm._own_providers._registered", {})
    providers.register("mine", Mine())

    def ask(context: Any) -> None:
        assert context.chat("Hi", system="Be brief.", fallback_model="scripted/y").text == "fine"
        with pytest.raises(lambdallm.ConfigurationError, match="ask a provider of your own"):
            context.chat("Hi", model="mine/x")
        with pytest.raises(lambdallm.ConfigurationError, match="ask a provider of your own"):
            context.chat("Hi", fallback_model="mine/x")

    asking(ask)
    (chat,) = [message for path, message in older.asked if path == "/v1/chat"]
    assert "own_providers" not in chat
    assert chat["max_tokens"] == 1_024


def test_a_short_name_is_told_as_the_id_that_it_means(older: Older) -> None:
    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.ConfigurationError, match="region"):
            context.chat("Hi", model="nova-micro")

    asking(ask)
    (chat,) = [message for path, message in older.asked if path == "/v1/chat"]
    assert chat["model"] == "bedrock/us.amazon.nova-micro-v1:0"
