"""`async for` over answers: what comes, what fails, and who lets go."""

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import lambdallm
from lambdallm import _async_streaming, _sidecar, _transport, handler
from lambdallm.testing import MockLambdaContext

SCRIPT = {
    "models": {
        "words": ["one two three"],
        "fails": [{"chunks": ["o", "ne"], "error": "modelStreamErrorException"}],
        "refuses": [{"error": "AccessDeniedException", "status": 403}],
        "long": [{"chunks": ["piece "] * 2_000, "delay_ms": 1}],
        "huge": [{"chunks": ["x" * 5_000] * 1_000}],
    }
}
HUGE = {"model": "scripted/huge", "max_tokens": 10_000_000}


@pytest.fixture(params=["embedded", "sidecar"])
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Who answers: `None`, or the sidecar."""
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(SCRIPT))
    return request.getfixturevalue("sidecar") if request.param == "sidecar" else None


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Any:
    yield
    gc.collect()
    until = time.monotonic() + 10
    while time.monotonic() < until and pumps():
        time.sleep(0.001)
    assert not pumps()


def pumps() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "lambdallm-stream"]


def run(function: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
    """Run a handler's body, on a loop of its own."""

    def call(_event: Any, context: Any) -> str:
        asyncio.run(function(context))
        return "ok"

    handler(call)({"name": "direct"}, MockLambdaContext())


def calls_under_way() -> int:
    transport = _transport.current()
    return transport._pool._calls if isinstance(transport, _sidecar.SidecarTransport) else 0


def test_pieces_come_one_by_one_and_the_response_last(host: Any) -> None:
    async def read(context: Any) -> None:
        stream = context.astream("Hi", model="scripted/words")
        assert await anext_of(stream) == "one "
        assert (stream.text, stream.response) == ("one ", None)
        assert [piece async for piece in stream] == ["two ", "three"]
        assert stream.text == stream.response.text == "one two three"
        events = [event async for event in context.astream("Hi", model="scripted/words").events()]
        assert events == [{"text": "one "}, {"text": "two "}, {"text": "three"}]

    run(read)


async def anext_of(stream: Any) -> str:
    piece: str = await stream.__anext__()
    return piece


def test_a_stream_that_fails_tells_what_had_come(host: Any) -> None:
    async def read(context: Any) -> None:
        stream = context.astream("Hi", model="scripted/fails", max_retries=0)
        with pytest.raises(lambdallm.ModelInvocationError) as failed:
            async for _ in stream:
                pass
        assert failed.value.partial_text == stream.text == "one"
        with pytest.raises(lambdallm.ModelInvocationError, match="AccessDenied"):
            await anext_of(context.astream("Hi", model="scripted/refuses"))

    run(read)


def test_streams_run_side_by_side_and_beside_other_coroutines(host: Any) -> None:
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    async def whole(context: Any) -> str:
        return "".join([piece async for piece in context.astream("Hi", **HUGE)])

    async def read(context: Any) -> None:
        ticking = asyncio.create_task(tick())
        texts = await asyncio.gather(*(whole(context) for _ in range(4)))
        ticking.cancel()
        assert texts == ["x" * 5_000_000] * 4

    run(read)

    assert len(ticks) > 10


@pytest.mark.parametrize("host", ["sidecar"], indirect=True)
def test_a_reader_that_waits_holds_the_thread_back(host: Any) -> None:
    async def read(context: Any) -> None:
        stream = context.astream("Hi", **HUGE)
        assert await anext_of(stream)
        pump = stream._pump
        while len(pump.batches) < _async_streaming.BATCHES_AHEAD - 1:
            await asyncio.sleep(0.001)
        for _ in range(100):
            await asyncio.sleep(0.001)
            assert len(pump.batches) <= _async_streaming.BATCHES_AHEAD
        assert len("".join([piece async for piece in stream])) == 5_000_000 - 5_000

    run(read)


@pytest.mark.parametrize("how", ["close", "with", "break", "cancel", "unread"])
def test_letting_go_early_ends_the_thread_and_frees_the_place(host: Any, how: str) -> None:
    async def read(context: Any) -> None:
        stream = context.astream("Hi", model="scripted/long")
        if how == "unread":
            return
        if how == "cancel":
            task = asyncio.create_task(consume(stream))
            while not stream.text:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "with":
            async with stream:
                await anext_of(stream)
        else:
            async for piece in stream:
                assert piece == "piece "
                break
            if how == "close":
                await stream.aclose()
        del stream
        until = time.monotonic() + 10
        while calls_under_way() and time.monotonic() < until:
            await asyncio.sleep(0.001)
        assert calls_under_way() == 0

    run(read)
    if host is not None:
        assert not host.engine.invocations._works


async def consume(stream: Any) -> None:
    async for _ in stream:
        pass


def test_a_stream_whose_loop_has_ended_ends_too(host: Any) -> None:
    kept: list[Any] = []

    async def read(context: Any) -> None:
        kept.append(context.astream("Hi", **HUGE))
        assert await anext_of(kept[0])

    run(read)
    kept.clear()


def test_vectors_and_answers_beside_it(host: Any) -> None:
    async def read(context: Any) -> None:
        vectors, text = await asyncio.gather(
            context.aembed(["a", "b"], model="scripted/v"),
            context.achat("Hi", model="scripted/words"),
        )
        assert len(vectors) == 2
        assert text

    run(read)
