"""`async for` over an answer: one thread reads, and hands over to the loop what has come.

    thread   open ─► read ─► [room?] ─► call_soon_threadsafe ─┐
    loop                                                      └─► batches ─► async for

The thread waits where the loop is BATCHES_AHEAD batches behind, so that a slow reader holds the
model back and not the memory.
"""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from lambdallm import _errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from lambdallm._messages import ChatResponse
    from lambdallm._streaming import Call, Event, WholeAnswer

BATCHES_AHEAD = 64
"""Of at most 16 KB each: one read from the sidecar's socket."""


class _Pump:
    """The thread's side. It knows nothing of its reader, whose end therefore ends it."""

    def __init__(
        self, open_call: Callable[[], Call | WholeAnswer], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._open_call = open_call
        self._loop = loop
        self._room = threading.Semaphore(BATCHES_AHEAD)
        self._lock = threading.Lock()
        self._closed = False
        self._call: Call | WholeAnswer | None = None
        self.batches: deque[list[Event]] = deque()
        self.woken = asyncio.Event()
        self.ended = False
        self.failure: BaseException | None = None
        self.response: ChatResponse | None = None
        run = contextvars.copy_context().run
        threading.Thread(
            target=run, args=(self._run,), name="lambdallm-stream", daemon=True
        ).start()

    def take(self) -> list[Event]:
        """Take the oldest batch, on the loop's thread."""
        self._room.release()
        return self.batches.popleft()

    def close(self) -> None:
        """Let the thread end, whatever it is waiting for."""
        with self._lock:
            self._closed = True
            call = self._call
        self._room.release()
        if call is not None:
            call.close()

    def _run(self) -> None:
        failure: BaseException | None = None
        call: Call | WholeAnswer | None = None
        try:
            call = self._open_call()
            with self._lock:
                self._call = call
            self._read(call)
        except BaseException as error:  # noqa: BLE001 - raised where the answer is read
            failure = error
        finally:
            if call is not None:
                call.leave()
        self._say(self._end, failure, None if call is None else call.response)

    def _read(self, call: Call | WholeAnswer) -> None:
        while batch := call.read():
            self._room.acquire()
            if self._closed or not self._say(self._put, batch):
                return

    def _say(self, what: Callable[..., None], *arguments: Any) -> bool:
        """Run something on the loop's thread; False when the loop has ended."""
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            return False
        return True

    def _put(self, batch: list[Event]) -> None:
        self.batches.append(batch)
        self.woken.set()

    def _end(self, failure: BaseException | None, response: ChatResponse | None) -> None:
        self.failure, self.response = failure, response
        self.ended = True
        self.woken.set()


class AsyncChatStream:
    """An answer that is on its way; yields pieces of its text. For one coroutine at a time.

    Nothing is asked before the first piece is waited for.
    """

    def __init__(self, open_call: Callable[[], Call | WholeAnswer]) -> None:
        """Open it with this, on a thread, when it is wanted."""
        self._open_call = open_call
        self._pump: _Pump | None = None
        self._batch: deque[Event] = deque()
        self._pieces: list[str] = []
        self._closed = False

    @property
    def text(self) -> str:
        """What was read of it so far."""
        return "".join(self._pieces)

    @property
    def response(self) -> ChatResponse | None:
        """All that is known of the answer, once it was read to its end."""
        unread = self._pump is None or self._batch or self._pump.batches
        return None if unread or self._pump is None else self._pump.response

    async def events(self) -> AsyncIterator[Event]:
        """Yield pieces of all kinds; see `ChatStream.events`."""
        while (event := await self._next()) is not None:
            yield event

    def close(self) -> None:
        """Let go of it; what the model goes on to write is not read any more."""
        self._closed = True
        self._batch.clear()
        if self._pump is not None:
            self._pump.close()

    async def aclose(self) -> None:
        """Do as `close`, which waits for nothing."""
        self.close()

    def __aiter__(self) -> AsyncChatStream:
        return self

    async def __anext__(self) -> str:
        while (event := await self._next()) is not None:
            if "text" in event:
                text: str = event["text"]
                return text
        raise StopAsyncIteration

    async def __aenter__(self) -> AsyncChatStream:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        pump = getattr(self, "_pump", None)
        if pump is not None and not pump.ended and not sys.is_finalizing():
            # Collected at any moment, this thread may hold locks that the end needs.
            _thread.start_new_thread(pump.close, ())

    async def _next(self) -> Event | None:
        if not self._batch and not await self._fetch():
            return None
        event = self._batch.popleft()
        if "text" in event:
            self._pieces.append(event["text"])
        return event

    async def _fetch(self) -> bool:
        """Wait for the next batch; False at the end."""
        if self._closed:
            return False
        if self._pump is None:
            self._pump = _Pump(self._open_call, asyncio.get_running_loop())
        pump = self._pump
        while not pump.batches:
            if pump.ended:
                self._closed = True
                if pump.failure is not None:
                    raise self._told(pump.failure)
                return False
            pump.woken.clear()
            try:
                await pump.woken.wait()
            except asyncio.CancelledError:
                self.close()
                raise
        self._batch.extend(pump.take())
        return True

    def _told(self, failure: BaseException) -> BaseException:
        if isinstance(failure, _errors.LambdaLLMError):
            failure.partial_text = self.text
        return failure
