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
    except asyncio.CancelledError as error:  # by itself: nobody else knows its task
        message = "The handler's task was cancelled, by itself or by what it has waited for."
        raise RuntimeError(message) from error  # no end of the process, as of a BaseException
    finally:
        _event.reset(before)


def iterate(made_by: AsyncIterator[Any]) -> Generator[Any, None, None]:
    """Yield what an asynchronous iterator yields, on the process's loop."""
    steps = _Steps(made_by)
    try:
        while (piece := run(steps.take())) is not None:
            yield piece[0]
    finally:
        run(steps.leave())


class _Steps:
    """An asynchronous iterator, step by step.

    One task reads it from its first to its last piece, so that it keeps its context variables. It
    stands still at each piece until the next one is wanted: what is yielded leaves before more is
    made, and who lets go finds it at its `yield`.
    """

    def __init__(self, made_by: AsyncIterator[Any]) -> None:
        """Begin nothing yet."""
        self._made_by = made_by
        self._handed: asyncio.Queue[tuple[Any]] = asyncio.Queue(1)
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._left = False

    async def take(self) -> tuple[Any] | None:
        """Return the next piece, None at the end; raise what it raises."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._read())
        else:
            self._wanted.set()
        taking = asyncio.ensure_future(self._handed.get())
        await asyncio.wait({taking, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if taking.done():
            return taking.result()
        taking.cancel()
        await self._task  # raises what it has raised
        return None

    async def leave(self) -> None:
        """End it where it stands; raise what it raises in its turn."""
        self._left, task = True, self._task
        if task is None or task.done():
            return
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()

    async def _read(self) -> None:
        try:
            async for piece in self._made_by:
                if self._left:  # it has not heeded that
                    break
                self._handed.put_nowait((piece,))
                await self._wanted.wait()
                self._wanted.clear()
        finally:
            close = getattr(self._made_by, "aclose", None)
            if close is not None:
                await close()


async def in_thread(call: Callable[[], T]) -> T:
    """Run what blocks on a thread, while other coroutines run; as many at once as are served.

    It sees the context variables of the coroutine.
    """
    process = os.getpid()
    threads = _threads.get(process)
    if threads is None:  # a forked child has none of its parent's
        threads = _threads[process] = ThreadPoolExecutor(_pool.CALLS_MAX, "lambdallm-call")
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, call)
