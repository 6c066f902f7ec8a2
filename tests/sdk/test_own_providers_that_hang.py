"""Providers of the user's own that hang: left at the deadline, on a thread of their own."""

import asyncio
import contextvars
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import lambdallm
from fakes.units import run
from fakes.waiting import until
from lambdallm import _bounded_calls, _own_providers, _transport, handler, providers
from lambdallm._bounded_calls import OverdueError
from lambdallm.testing import MockLambdaContext
from lambdallm_cli.commands import lambdallm as command

TIMEOUT_MS = 400
ENDED_SECONDS = 10
YAML = "models:\n  hung: {model: mine/x, fallbacks: [scripted/v]}\n"


class Hanging:
    """Answers when the test has ended, and says on which thread it was asked."""

    def __init__(self) -> None:
        self.freed = threading.Event()
        self.ended = threading.Event()
        self.closed = threading.Event()
        self.asked = 0

    def chat(self, request: Any) -> str:
        self._hang()
        return "late"

    def embed(self, request: Any) -> Any:
        self._hang()
        return [[1.0] for _ in request["texts"]]

    def _hang(self) -> None:
        self.asked += 1
        try:
            self.freed.wait()
        finally:
            self.ended.set()


class HangingStream(Hanging):
    """Hangs behind its first piece."""

    chat = None  # type: ignore[assignment]  # it streams

    def stream(self, request: Any) -> Iterator[str]:
        try:
            yield "He"
            self._hang()
            yield "llo"
        finally:
            self.closed.set()


@pytest.fixture(params=["embedded", "sidecar"])
def host(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    """Who keeps the books: `None`, or the sidecar."""
    monkeypatch.setenv("LAMBDALLM_SCRIPT", '["x"]')
    monkeypatch.setenv("LAMBDALLM_STORE", f"sqlite:///{tmp_path}/calls.sqlite")
    (tmp_path / "lambdallm.yaml").write_text(YAML)
    yield request.getfixturevalue("sidecar") if request.param == "sidecar" else None
    _own_providers._registered.clear()


@pytest.fixture
def hanging() -> Iterator[Callable[[Hanging], Hanging]]:
    """Register a provider as `mine`, and let it go at the end."""
    made: list[Hanging] = []

    def put(provider: Hanging) -> Hanging:
        made.append(provider)
        providers.register("mine", provider)
        return provider

    yield put
    for provider in made:
        provider.freed.set()
        assert provider.ended.wait(ENDED_SECONDS)


def run_briefly(function: Callable[[Any], Any]) -> Any:
    return run(function, timeout_buffer=0, lambda_context=MockLambdaContext(TIMEOUT_MS))


def leave(context: Any) -> None:
    """Ask, and leave what was asked."""
    with pytest.raises(lambdallm.DeadlineExceededError, match="mine was still answering"):
        context.chat("Hi", model="mine/x")


def booked(host: Any) -> list[tuple[str, str, str]]:
    """Return each call's operation, state and error, as they stand in the store."""
    engine = host.engine if host is not None else _transport.current()._engine  # type: ignore[attr-defined]
    assert engine.wait_persisted(5)
    result = CliRunner().invoke(command, ["calls", "list", "--json"])
    assert result.exit_code == 0, result.output
    return [
        (call["operation"], call["state"], call.get("error") or "")
        for call in json.loads(result.stdout)["calls"]
    ]


ASK: dict[str, Callable[[Any], object]] = {
    "chat": lambda context: context.chat("Hi", model="hung"),
    "embeddings": lambda context: context.embed("text", model="hung"),
}


@pytest.mark.parametrize("operation", ASK)
def test_it_is_left_at_the_deadline_and_booked_as_unknown(
    host: Any, hanging: Any, operation: str
) -> None:
    provider = hanging(Hanging())

    def ask(context: Any) -> None:
        with pytest.raises(lambdallm.DeadlineExceededError, match="mine was still answering"):
            ASK[operation](context)

    run_briefly(ask)
    assert provider.asked == 1
    assert not provider.ended.is_set()
    assert booked(host) == [(operation, "unknown", "deadline exceeded")], "and nobody else is asked"


def test_a_stream_is_left_between_two_pieces_and_closed_when_it_goes_on(
    host: Any, hanging: Any
) -> None:
    provider = hanging(HangingStream())

    def read(context: Any) -> None:
        with pytest.raises(lambdallm.DeadlineExceededError) as left:
            list(context.stream("Hi", model="mine/x"))
        assert left.value.partial_text == "He"

    run_briefly(read)
    run_briefly(leave)
    assert booked(host) == [("chat", "unknown", "deadline exceeded")] * 2
    assert not provider.closed.is_set()
    provider.freed.set()
    assert provider.closed.wait(ENDED_SECONDS)


def test_coroutines_are_told_too(host: Any, hanging: Any) -> None:
    hanging(Hanging())
    told: list[BaseException | Any] = []

    @handler(timeout_buffer=0)
    async def ask(_event: Any, context: Any) -> str:
        told.extend(
            await asyncio.gather(
                context.achat("Hi", model="mine/x"), context.aembed("text", model="mine/x"),
                return_exceptions=True,
            )
        )  # fmt: skip
        return "ok"

    ask({"name": "direct"}, MockLambdaContext(TIMEOUT_MS))
    assert [type(error) for error in told] == [OverdueError] * 2
    assert sorted(booked(host)) == [
        ("chat", "unknown", "deadline exceeded"), ("embeddings", "unknown", "deadline exceeded"),
    ]  # fmt: skip


def test_a_coroutine_that_is_cancelled_does_not_wait_for_it(host: Any, hanging: Any) -> None:
    provider = hanging(Hanging())
    seen: list[bool] = []

    @handler
    async def ask(_event: Any, context: Any) -> str:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(context.achat("Hi", model="mine/x"), 0.1)
        seen.append(provider.ended.is_set())
        provider.freed.set()
        return "ok"

    ask({"name": "direct"}, MockLambdaContext())
    assert seen == [False]


def test_a_stream_that_a_coroutine_reads_is_left_too(host: Any, hanging: Any) -> None:
    hanging(HangingStream())
    read: list[str] = []

    @handler(timeout_buffer=0)
    async def ask(_event: Any, context: Any) -> str:
        stream = context.astream("Hi", model="mine/x")
        read.append(await anext(stream))
        with pytest.raises(lambdallm.DeadlineExceededError):
            await anext(stream)
        return "ok"

    ask({"name": "direct"}, MockLambdaContext(TIMEOUT_MS))
    assert read == ["He"]


def test_what_goes_wrong_after_the_deadline_is_said(
    host: Any, hanging: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Late(Hanging):
        def chat(self, request: Any) -> str:
            self._hang()
            raise ValueError("too late")

    provider = hanging(Late())
    run_briefly(leave)
    provider.freed.set()
    until(lambda: _bounded_calls._left == 0)
    until(lambda: "too late" in capsys.readouterr().err)


# What the code sees of it

ASKED_BY: contextvars.ContextVar[str] = contextvars.ContextVar("ASKED_BY", default="nobody")


class Seeing:
    """Says what it sees of its caller, and on which thread."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def chat(self, request: Any) -> str:
        self.threads.add(threading.get_ident())
        return ASKED_BY.get()

    def stream(self, request: Any) -> Iterator[str]:
        for _ in range(3):
            self.threads.add(threading.get_ident())
            yield ASKED_BY.get()

    def embed(self, request: Any) -> Any:
        self.threads.add(threading.get_ident())
        return [[float(ASKED_BY.get() == "me")]]


def test_context_variables_are_those_of_the_caller(host: Any) -> None:
    providers.register("mine", Seeing())
    ASKED_BY.set("me")

    def ask(context: Any) -> list[Any]:
        return [
            context.chat("Hi", model="mine/x").text,
            list(context.stream("Hi", model="mine/x")),
            context.embed("Hi", model="mine/x").vectors,
        ]

    assert run(ask) == ["me", ["me"] * 3, [[1.0]]]


def test_those_of_a_coroutine_too(host: Any) -> None:
    providers.register("mine", Seeing())
    seen: list[Any] = []

    async def one(context: Any, name: str) -> None:
        ASKED_BY.set(name)
        response = await context.achat("Hi", model="mine/x")
        pieces = [piece async for piece in context.astream("Hi", model="mine/x")]
        seen.append((name, response.text, {*pieces}))

    @handler
    async def ask(_event: Any, context: Any) -> str:
        await asyncio.gather(*(one(context, name) for name in "ab"))
        return "ok"

    ask({"name": "direct"}, MockLambdaContext())
    assert sorted(seen) == [("a", "a", {"a"}), ("b", "b", {"b"})]


def test_one_caller_after_the_other_meets_the_same_thread(host: Any) -> None:
    provider = Seeing()
    providers.register("mine", provider)

    def ask(context: Any) -> None:
        for _ in range(20):
            context.chat("Hi", model="mine/x")
            list(context.stream("Hi", model="mine/x"))

    run(ask)
    assert len(provider.threads) == 1
    assert provider.threads != {threading.get_ident()}


def test_where_too_many_still_run_nobody_is_asked(
    host: Any, hanging: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bounded_calls, "LEFT_MAX", 1)
    provider = hanging(Hanging())

    def ask(context: Any) -> Any:
        with pytest.raises(lambdallm.ModelInvocationError, match="still run"):
            context.chat("Hi", model="mine/x")
        return context.embed("text", model="hung").model

    run_briefly(leave)
    assert run_briefly(ask) == "scripted/v"
    assert provider.asked == 1
    provider.freed.set()
    until(lambda: _bounded_calls._left == 0)
