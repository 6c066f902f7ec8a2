"""`async def` handlers: one loop per process, and nobody else pays for asyncio."""

import asyncio
import functools
import subprocess
import sys
import threading
from typing import Any

import pytest

import lambdallm
import sample_events as samples
from lambdallm import Session, handler
from lambdallm.testing import MockLambdaContext, MockProvider, mock_model


@pytest.fixture(autouse=True)
def closed_loop(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A loop of this test's own."""
    loops: dict[int, asyncio.AbstractEventLoop] = {}
    monkeypatch.setattr("lambdallm._async._loops", loops)
    yield
    for loop in loops.values():
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    asyncio.set_event_loop(None)


def test_an_async_handler_answers_and_remembers(model: MockProvider) -> None:
    @handler(session=Session())
    async def chat(event: Any, context: Any) -> Any:
        session = context.session
        session.add_message("user", event["body"]["message"])
        reply = await context.ainvoke(session.format_history())
        session.add_message("assistant", reply)
        response = await context.achat("And?", max_tokens=5)
        return {"reply": reply, "more": response.text}

    model.say("Hello!", "More.")
    event = samples.http_api('{"message": "Hi", "session_id": "s"}')
    first = chat(event, MockLambdaContext())
    chat(event, MockLambdaContext())

    assert samples.body_of(first) == {"reply": "Hello!", "more": "More."}
    assert model.prompts[2] == "user: Hi\nassistant: Hello!\nuser: Hi"


def test_clients_of_a_module_work_on_in_the_next_invocation() -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    queue: asyncio.Queue[int] = asyncio.Queue()

    @handler
    async def use(event: Any, context: Any) -> int:
        loops.append(asyncio.get_running_loop())
        asyncio.get_running_loop().call_later(0, queue.put_nowait, len(loops))
        return await queue.get()

    assert [use({"body": "{}"}, None)["body"] for _ in range(3)] == ["1", "2", "3"]
    assert len(set(map(id, loops))) == 1


@pytest.mark.parametrize("calls", [2, 64])
def test_calls_run_side_by_side(calls: int) -> None:
    all_of_them = threading.Barrier(calls, timeout=10)

    class Slow:
        def invoke(self, prompt: str, config: Any) -> Any:
            all_of_them.wait()
            return lambdallm.ModelResponse(prompt, "m", 1, 1, 1.0, 0.0001)

    @handler
    async def ask(event: Any, context: Any) -> list[str]:
        return list(await asyncio.gather(*(context.ainvoke(str(n)) for n in range(calls))))

    with mock_model():
        from lambdallm import providers

        providers.get_provider = lambda config: Slow()  # type: ignore[assignment,return-value]
        assert samples.body_of(ask({"body": "{}"}, None)) == [str(n) for n in range(calls)]


def test_failures_are_those_of_other_handlers() -> None:
    @handler(timeout_strategy="checkpoint")
    async def fail(event: Any, context: Any) -> None:
        context.checkpoint = 7
        await context.ainvoke("Hi")

    response = fail({"body": "{}"}, MockLambdaContext(timeout_ms=100))

    assert response["statusCode"] == 202
    with pytest.raises(lambdallm.DeadlineExceededError):
        fail(samples.SERVICE["sqs"], MockLambdaContext(timeout_ms=100))


def test_wrapped_coroutines_are_found_too() -> None:
    async def base(greeting: str, event: Any, context: Any) -> str:
        return greeting

    class Callable:
        async def __call__(self, event: Any, context: Any) -> str:
            return "object"

    assert handler()(functools.partial(base, "partial"))({"body": "{}"}, None)["body"] == "partial"
    assert handler()(Callable())({"body": "{}"}, None)["body"] == "object"


def test_a_synchronous_handler_never_loads_asyncio() -> None:
    code = """
import sys
from lambdallm import handler, Session
from lambdallm.testing import mock_model, MockLambdaContext
with mock_model():
    handler(session=Session())(lambda event, context: context.invoke("Hi"))({"body": "{}"}, None)
assert "asyncio" not in sys.modules
"""
    subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path[:0] = {[*filter(None, sys.path)]!r}\n{code}",
        ],
        check=True,
        timeout=30,
    )
