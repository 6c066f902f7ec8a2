"""Coroutines of `async def` handlers, on one event loop per process, and their model calls.

One loop, because clients that were opened in one invocation belong to it and work on in the
next. Nobody else pays for asyncio: this module is imported with the first coroutine.

Model calls run on threads of our own. Those that asyncio keeps are four more than there are
CPUs: six on a function of two, and the seventh call would wait for the answer to the first.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING

from lambdallm import _handled, _pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator
    from typing import Any, TypeVar

    T = TypeVar("T")

_loops: dict[int, asyncio.AbstractEventLoop] = {}
_threads: dict[int, ThreadPoolExecutor] = {}
_event: ContextVar[int] = ContextVar("lambdallm-event", default=0)
_handled.of_coroutine = _event.get


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end and return its result."""
    process = os.getpid()
    loop = _loops.get(process)
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        _loops[process] = loop
    before = _event.set(_handled.number_here())
    try:
        return loop.run_until_complete(coroutine)
    finally:
        _event.reset(before)


def iterate(made_by: AsyncIterator[Any]) -> Generator[Any, None, None]:
    """Yield what an asynchronous iterator yields, on the process's loop.

    One task reads it from its first to its last piece, so that it keeps its context variables; it
    goes on while the next piece is waited for, and stands still in between.
    """
    handed: asyncio.Queue[Any] = asyncio.Queue(1)
    reading: list[asyncio.Task[None]] = []

    async def read() -> None:
        try:
            async for piece in made_by:
                await handed.put((piece,))
        finally:
            close = getattr(made_by, "aclose", None)
            if close is not None:
                await close()

    async def take() -> Any:
        if not reading:
            reading.append(asyncio.get_running_loop().create_task(read()))
        taking = asyncio.ensure_future(handed.get())
        await asyncio.wait({taking, *reading}, return_when=asyncio.FIRST_COMPLETED)
        if taking.done():
            return taking.result()
        taking.cancel()
        await reading[0]  # raises what it has raised
        return None

    async def stop() -> None:
        for task in reading:
            task.cancel()
            await asyncio.wait({task})

    try:
        while (piece := run(take())) is not None:
            yield piece[0]
    finally:
        run(stop())


async def in_thread(call: Callable[[], T]) -> T:
    """Run what blocks on a thread, while other coroutines run; as many at once as are served.

    It sees the context variables of the coroutine.
    """
    process = os.getpid()
    threads = _threads.get(process)
    if threads is None:  # a forked child has none of its parent's
        threads = _threads[process] = ThreadPoolExecutor(_pool.CALLS_MAX, "lambdallm-call")
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, call)
