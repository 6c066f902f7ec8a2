"""What the caller of a function receives: a response at once, or piece by piece as it comes.

    connection of the runtime ─► begin ─► write, write, … (each waits until there is room)
    end of the invocation     ─► finish ─► the caller has everything, and no more is taken

A streamed response passes through with one piece of it in memory: nothing more is read from the
runtime before the caller has taken what there is.
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lambda_runtime_api.emulator.logs import LogLine

PAYLOAD_MAX_BYTES = 6_291_556
"""6 MB and 100 bytes. Source: the message of the error `Function.ResponseSizeTooLarge`."""

STREAM_MAX_BYTES = 209_715_200
"""200 MB. Source: Lambda developer guide, "Response streaming for Lambda functions", 2026-10."""


class StreamError(NamedTuple):
    """Why a response is not, or not all, what the function meant to say."""

    error_type: str
    """An exception's name, or Lambda's (`Runtime.TruncatedResponse`)."""
    body: object
    """What is said of it: decoded JSON, else text."""


class Invocation(NamedTuple):
    """What the caller of a function gets, and what was seen of it."""

    request_id: str
    payload: bytes
    error_type: str | None
    """None for an answer; an exception's name, or Lambda's (`Runtime.ExitError`), for an error."""
    cold: bool
    """Whether the processes were started for this invocation."""
    init_ms: float | None
    """Duration of the Init phase; None when warm, and when it was part of the invocation."""
    duration_ms: float
    """From the event to the answer, without what extensions do after it."""
    logs: list[LogLine]
    """What was printed meanwhile; it grows until `Environment.wait_until_idle` returns."""

    def json(self) -> object:
        """Decode the payload."""
        value: object = json.loads(self.payload)
        return value


class Receiver:
    """Where the answer to one invocation goes."""

    limit_bytes = PAYLOAD_MAX_BYTES
    """The longest streamed response that is taken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._finished = False
        self._begun_at: float | None = None
        self._content_type = ""
        self.size_bytes = 0
        self.response_ms = 0.0
        """How long a streamed response took, from its first byte to its last."""

    @property
    def begun(self) -> bool:
        """Whether the runtime streams, or has streamed."""
        return self._begun_at is not None

    def begin(self, content_type: str, abort: Callable[[], None]) -> None:
        """A streamed response begins.

        Args:
            content_type: The runtime's.
            abort: Breaks the runtime's connection; for any thread.
        """
        with self._changed:
            self._begun_at = time.monotonic()
            self._content_type = content_type
            self._changed.notify_all()

    def write(self, data: bytes) -> bool:
        """Take a piece, as soon as there is room; False: no more is wanted."""
        with self._changed:
            if not self._take(data):
                return False
            self.size_bytes += len(data)
            if self._begun_at is not None:
                self.response_ms = (time.monotonic() - self._begun_at) * 1_000
            return True

    def _take(self, data: bytes) -> bool:
        raise NotImplementedError  # each receiver has its own

    def finish(self, invocation: Invocation, content_type: str = "") -> None:
        """Take the end of the invocation, with the payload where it was not streamed."""
        raise NotImplementedError  # each receiver has its own

    def fail(self, error: BaseException) -> None:
        """Take that the emulator itself has failed."""
        raise NotImplementedError  # each receiver has its own


class Collected(Receiver):
    """For who waits for the whole: a streamed response becomes one payload."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._answered: Future[Invocation] = Future()

    def result(self) -> Invocation:
        """Wait for the end of the invocation."""
        return self._answered.result()

    def _take(self, data: bytes) -> bool:
        self._pieces.append(data)
        return not self._finished

    def finish(self, invocation: Invocation, content_type: str = "") -> None:
        """Take the end of the invocation: an error, if there is one, in the place of the pieces."""
        with self._changed:
            self._finished = True
            if self.begun and invocation.error_type is None:
                invocation = invocation._replace(payload=b"".join(self._pieces))
            self._pieces = []
        self._answered.set_result(invocation)

    def fail(self, error: BaseException) -> None:
        """Take that the emulator itself has failed."""
        if not self._answered.done():
            self._answered.set_exception(error)


class InvocationStream(Receiver):
    """A response on its way to its caller: an iterator of `bytes`, as they come from the runtime.

    One thread iterates; `close` may come from any. It ends with the invocation, whatever became of
    that: `error` tells, and `result`. What is not taken holds the runtime up, until the function's
    timeout.
    """

    limit_bytes = STREAM_MAX_BYTES

    def __init__(self) -> None:
        super().__init__()
        self._piece = b""
        self._closed = False
        self._interrupted = False
        self._abort: Callable[[], None] | None = None
        self._invocation: Invocation | None = None
        self._error: StreamError | None = None
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._piece or self._finished or self._closed)
            if not self._piece or self._closed:
                self._raise_failure()
                raise StopIteration
            piece, self._piece = self._piece, b""
            self._changed.notify_all()
            return piece

    @property
    def streamed(self) -> bool:
        """Whether the runtime streams; waits until that is known. Else there is one piece."""
        with self._changed:
            self._changed.wait_for(lambda: self.begun or self._finished)
            self._raise_failure()
            return self.begun

    @property
    def content_type(self) -> str:
        """As the runtime has told it, or ""; waits as `streamed` does."""
        return self._content_type if self.streamed or self._finished else ""

    @property
    def closed(self) -> bool:
        """Whether the caller has gone."""
        return self._closed

    @property
    def error(self) -> StreamError | None:
        """What went wrong, at the start or in the middle.

        Raises:
            RuntimeError: The stream was neither read to its end nor closed.
        """
        return self._ended()[1]

    @property
    def result(self) -> Invocation:
        """What `Environment.invoke` gives, with an empty payload.

        Raises:
            RuntimeError: The stream was neither read to its end nor closed.
        """
        return self._ended()[0]

    def close(self, *, interrupt: bool = False) -> None:
        """Go away, as a client does whose connection breaks.

        Lambda does not interrupt the function then: the rest of the response is read, and thrown
        away (developer guide, "Response streaming for Lambda functions").

        Args:
            interrupt: Break the runtime's connection instead, as something between may do.
        """
        with self._changed:
            self._closed, self._piece = True, b""
            self._interrupted = self._interrupted or interrupt
            abort = self._abort if interrupt and not self._finished else None
            self._changed.notify_all()
        if abort is not None:
            abort()

    def abandon(self) -> None:
        """Go away, unless the invocation is over: what has come then may still be read."""
        with self._changed:
            finished = self._finished
        if not finished:
            self.close()

    def begin(self, content_type: str, abort: Callable[[], None]) -> None:
        """A streamed response begins."""
        super().begin(content_type, abort)
        with self._changed:
            self._abort = abort
            interrupted = self._interrupted
        if interrupted:
            abort()

    def _take(self, data: bytes) -> bool:
        self._changed.wait_for(lambda: not self._piece or self._finished or self._closed)
        if self._finished or self._interrupted:
            return False
        if not self._closed:
            self._piece = data
            self._changed.notify_all()
        return True

    def finish(self, invocation: Invocation, content_type: str = "") -> None:
        """Take the end of the invocation."""
        with self._changed:
            if invocation.error_type is not None:
                self._error = StreamError(invocation.error_type, _decode(invocation.payload))
            elif not (self.begun or self._closed):
                self._piece = invocation.payload
            if not self.begun:
                self._content_type = content_type
            self._invocation = invocation._replace(payload=b"")
            self._finished = True
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Take that the emulator itself has failed: the caller gets it raised."""
        with self._changed:
            self._failure, self._finished = error, True
            self._changed.notify_all()

    def _ended(self) -> tuple[Invocation, StreamError | None]:
        with self._changed:
            if self._closed:
                self._changed.wait_for(lambda: self._finished)
            self._raise_failure()
            if self._invocation is None or self._piece:
                raise RuntimeError("Read the stream to its end first, or close it.")
            return self._invocation, self._error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def _decode(payload: bytes) -> object:
    try:
        value: object = json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
    return value
