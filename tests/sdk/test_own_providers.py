"""Providers of the user's own: asked in the function's process, metered by the engine."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from fakes.units import run
from lambdallm import ModelResponse, _own_providers, handler, providers
from lambdallm.testing import MockLambdaContext

USED = {
    "uncached_input_tokens": 3,
    "cache_read_tokens": 0,
    "cache_write_5m_tokens": 0,
    "cache_write_1h_tokens": 0,
    "output_tokens": 2,
}


@pytest.fixture(params=["embedded", "sidecar"], autouse=True)
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Who keeps the books: `None`, or the sidecar."""
    monkeypatch.setenv("LAMBDALLM_SCRIPT", '["the fallback"]')
    yield request.getfixturevalue("sidecar") if request.param == "sidecar" else None
    _own_providers._registered.clear()
    _own_providers._of_class.clear()


class Mine:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, Any]] = []

    def chat(self, request: dict[str, Any]) -> Any:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Streaming:
    """Streams what it is told to."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.closed = False

    def stream(self, request: dict[str, Any]) -> Iterator[Any]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True


@pytest.mark.parametrize(
    ("answer", "text", "usage", "cost"),
    [
        ("Hi!", "Hi!", 0, None),
        ({"text": "Hi!", "usage": {"input_tokens": 3, "output_tokens": 2}}, "Hi!", 5, None),
        ({"content": [{"text": "Hi"}, {"text": "!"}], "usage": USED}, "Hi!", 5, None),
        ({"text": "Hi!", "cost_usd": 0.25}, "Hi!", 0, 250_000_000_000),
        ({"text": "Hi!", "cost_pico_usd": 0}, "Hi!", 0, 0),
        (ModelResponse("Hi!", "m", 3, 2, 1.0), "Hi!", 5, None),
        (ModelResponse("Hi!", "m", 3, 2, 1.0, 0.5), "Hi!", 5, 500_000_000_000),
    ],
)
def test_what_it_returns_is_the_answer_and_is_metered(
    answer: Any, text: str, usage: int, cost: int | None
) -> None:
    provider = Mine(answer)
    providers.register("mine", provider)

    def ask(context: Any) -> Any:
        response = context.chat("Hello", model="mine/tiny", temperature=0.5, system="Be brief.")
        return response, context.total_cost_pico_usd, context.unpriced_calls

    response, total, unpriced = run(ask)

    assert (response.text, response.model) == (text, "mine/tiny")
    assert response.input_tokens + response.output_tokens == usage
    assert response.cost_pico_usd == cost
    assert (total, unpriced) == (cost or 0, int(cost is None))
    (request,) = provider.requests
    assert request["model"] == "tiny"
    assert request["messages"] == [{"role": "user", "content": "Hello"}]
    assert (request["temperature"], request["system"]) == (0.5, "Be brief.")
    assert request["deadline_epoch_ms"] > 0
    assert not {"work_id", "call_id", "max_retries", "own_providers"} & request.keys()


def test_a_tool_that_it_wants_to_be_called_comes_through() -> None:
    tool = {"toolUse": {"toolUseId": "1", "name": "add", "input": {"a": 1}}}
    providers.register("mine", Mine({"content": [tool]}))

    response = run(lambda context: context.chat("Hello", model="mine/x"))

    assert response.tool_calls == [lambdallm.ToolCall("add", "1", {"a": 1})]
    assert response.finish_reason == "tool_calls"


def test_it_is_streamed_piece_by_piece(host: Any) -> None:
    provider = Streaming("He", {"text": "llo"}, {"reasoning": "Hm."}, {"usage": USED})
    providers.register("mine", provider)

    def ask(context: Any) -> None:
        stream = context.stream("Hello", model="mine/x")
        assert list(stream) == ["He", "llo"]
        assert stream.response.text == "Hello"
        assert stream.response.usage == USED
        assert stream.response.reasoning == "Hm."
        assert context.chat("Hello", model="mine/x").text == "Hello", "the same, in one piece"

    run(ask)


def test_one_that_does_not_stream_comes_in_one_piece() -> None:
    providers.register("mine", Mine("Hello"))

    assert run(lambda context: list(context.stream("Hello", model="mine/x"))) == ["Hello"]


class BusyError(Exception):
    retryable = True


def test_it_is_asked_again_if_its_error_says_so() -> None:
    provider = Mine(BusyError("busy"), "Hello")
    providers.register("mine", provider)

    assert run(lambda context: context.invoke("Hello"), model="mine/x") == "Hello"
    assert len(provider.requests) == 2


def test_another_error_is_told_with_its_cause() -> None:
    provider = Mine(ValueError("what is that?"))
    providers.register("mine", provider)

    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.ModelInvocationError, match="what is that") as failed:
            context.invoke("Hello")
        assert isinstance(failed.value.__cause__, ValueError)
        assert failed.value.source == "mine"
        assert not failed.value.retryable

    run(ask, model="mine/x")
    assert len(provider.requests) == 1


def test_a_fallback_of_ours_takes_its_place_streamed_or_not() -> None:
    providers.register("mine", Mine(ValueError("no")))
    providers.register("streams", Streaming(ValueError("no")))

    def ask(context: Any) -> None:
        given = {"fallback_model": "scripted/x"}
        assert context.chat("Hello", model="mine/x", **given).text == "the fallback"
        stream = context.stream("Hello", model="streams/x", **given)
        assert "".join(stream) == stream.response.text == "the fallback"

    run(ask)


def test_what_fails_after_it_has_begun_is_told_and_nobody_else_is_asked() -> None:
    providers.register("mine", Streaming("He", BusyError("cut")))

    def ask(context: Any) -> None:
        stream = context.stream("Hello", model="mine/x", fallback_model="scripted/x")
        with pytest.raises(lambdallm.ModelInvocationError, match="cut") as failed:
            list(stream)
        assert failed.value.partial_text == "He"

    run(ask)


def test_what_it_has_begun_to_say_is_asked_of_nobody_else_in_one_piece_either() -> None:
    provider = Streaming("He", BusyError("cut"))
    providers.register("mine", provider)

    def ask(context: Any) -> int:
        with pytest.raises(lambdallm.ModelInvocationError, match="cut"):
            context.chat("Hello", model="mine/x", fallback_model="scripted/x")
        context.chat("Hello", model="scripted/x")
        unpriced: int = context.unpriced_calls
        return unpriced

    assert run(ask) == 1, "nobody knows what it has cost"


def test_one_that_is_let_go_of_in_the_call_of_a_tool_is_booked() -> None:
    begun = {"tool_use": {"index": 0, "id": "1", "name": "add"}}
    providers.register("mine", Streaming("He", begun, {"tool_input": {"index": 0, "json": "{"}}))

    def ask(context: Any) -> int:
        with context.stream("Hello", model="mine/x") as stream:
            for event in stream.events():
                if "tool_input" in event:
                    break
        context.chat("Hello", model="scripted/x")
        unpriced: int = context.unpriced_calls
        return unpriced

    assert run(ask) == 1


def test_one_that_is_let_go_of_early_is_closed_and_booked(host: Any) -> None:
    provider = Streaming("He", "llo", {"usage": USED})
    providers.register("mine", provider)

    def ask(context: Any) -> int:
        with context.stream("Hello", model="mine/x") as stream:
            assert next(stream) == "He"
        assert provider.closed
        context.chat("Hello", model="scripted/x")
        unpriced: int = context.unpriced_calls
        return unpriced

    assert run(ask) >= 1
    if host is not None:
        assert not host.engine.invocations._works


def test_an_answer_that_the_engine_refuses_is_booked_as_one_that_was_made() -> None:
    providers.register("mine", Mine({"text": "Hi!", "cost_pico_usd": -1}))

    def ask(context: Any) -> int:
        with pytest.raises(lambdallm.ModelInvocationError, match="'cost_pico_usd' must be"):
            context.chat("Hello", model="mine/x", fallback_model="scripted/x")
        context.chat("Hello", model="scripted/x")
        unpriced: int = context.unpriced_calls
        return unpriced

    assert run(ask) == 1, "nobody knows what it has cost"


@pytest.mark.parametrize("bad", [7, None, {"texts": "x"}, b"Hi"])
def test_what_is_no_answer_is_said(bad: Any) -> None:
    providers.register("mine", Mine(bad))

    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.LambdaLLMError, match=r"chat\(\) returns a text"):
            context.invoke("Hello")

    run(ask, model="mine/x")


@pytest.mark.parametrize(
    ("name", "provider"),
    [("bedrock", Mine("x")), ("a/b", Mine("x")), ("", Mine("x")), ("mine", object()), ("m", Mine)],
)
def test_what_cannot_be_a_provider_is_refused(name: str, provider: Any) -> None:
    with pytest.raises(lambdallm.ConfigurationError):
        providers.register(name, provider)


def test_a_name_can_be_taken_back() -> None:
    providers.register("mine", Mine("x"))
    providers.register("mine", None)

    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.ConfigurationError, match="mine"):
            context.invoke("Hello")

    run(ask, model="mine/x")


def test_the_example_of_the_documents_runs(tmp_path: Path, monkeypatch: Any) -> None:
    page = Path(__file__).parents[2] / "docs/own_providers.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "echo_model.py").write_text(blocks[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    space: dict[str, Any] = {}
    exec(blocks[1], space)

    answer = space["chat_handler"]({"body": json.dumps({"message": "Hi"})}, MockLambdaContext())

    assert json.loads(answer["body"]) == {
        "reply": "You said: Hi", "pieces": 3, "vectors": [[2.0]],
    }  # fmt: skip
    del sys.modules["echo_model"]


class Endless:
    """Never comes to an end."""

    def stream(self, request: dict[str, Any]) -> Iterator[str]:
        while True:
            yield "and "


def test_a_stream_that_goes_on_past_its_deadline_is_ended_with_what_had_come() -> None:
    providers.register("mine", Endless())

    def read(context: Any) -> str:
        with pytest.raises(lambdallm.DeadlineExceededError, match="time for it was over") as ended:
            for _ in context.stream("Hi", model="mine/m"):
                pass
        return ended.value.partial_text[:4]

    kept: list[str] = []
    body = handler(timeout_buffer=0)(lambda _event, context: kept.append(read(context)))
    body({}, MockLambdaContext(timeout_ms=600))

    assert kept == ["and "]
