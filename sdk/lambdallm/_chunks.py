"""What a handler yields, as the bytes of its answer.

bytes            as they are
str              as UTF-8, `sse(…)` among them
dict, list       an event `data: {…}` in a stream of events, else a line of JSON
"" and b""       nothing: of the first one the head leaves, before there is a body
"""

from __future__ import annotations

import json
import sys

from lambdallm import _errors, _sse
from lambdallm._streaming import ChatStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

TEXT = "text/plain; charset=utf-8"
LINES = "application/x-ndjson"
BYTES = "application/octet-stream"


class StreamingResponse:
    """A body that is made piece by piece, returned by a handler of `@stream_handler`.

    Attributes:
        metadata: Kept for the handler; it does not leave.
    """

    def __init__(self, generator: Any, metadata: dict[str, Any] | None = None) -> None:
        """Keep an iterable of chunks."""
        self._generator = generator
        self._pieces: list[str] = []
        self.metadata = metadata or {}

    @property
    def full_text(self) -> str:
        """The text that has left so far."""
        return "".join(self._pieces)

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._generator:
            if isinstance(chunk, str):
                self._pieces.append(chunk)
            yield chunk

    def close(self) -> None:
        """Let go of what makes it."""
        _close(self._generator)


def is_stream(value: Any) -> bool:
    """Say whether a handler's answer, or its body, is made piece by piece: any iterator is."""
    return isinstance(value, StreamingResponse) or hasattr(value, "__next__") or _is_async(value)


def _is_async(value: Any) -> bool:
    return hasattr(value, "__anext__")


class Chunks:
    """An iterator over a body's chunks, and the end of what makes them.

    Attributes:
        returned: What a generator has returned at its end, None for most.
    """

    def __init__(self, body: Any) -> None:
        """Read a body that `is_stream`, of coroutines too."""
        self._made_by = body
        streaming = sys.modules.get("lambdallm._async_streaming")
        self._answers = isinstance(body, ChatStream) or (
            streaming is not None and isinstance(body, streaming.AsyncChatStream)
        )
        if _is_async(body):
            from lambdallm import _async

            self._made_by = body = _async.iterate(body)
        self.returned: Any = None
        self._chunks = self._through(iter(body))

    def __iter__(self) -> Iterator[Any]:
        return self._chunks

    def close(self) -> None:
        """Let go: a generator sees `GeneratorExit` at its `yield`."""
        self._chunks.close()
        _close(self._made_by)

    def _through(self, chunks: Any) -> Generator[Any, None, None]:
        self.returned = yield from chunks

    def content_type_of(self, first: Any) -> str:
        """Return the content type that a first chunk means, where nobody has named one."""
        if isinstance(first, _sse.Event):
            return _sse.CONTENT_TYPE
        if isinstance(first, (dict, list)):
            return LINES
        return TEXT if isinstance(first, str) else BYTES

    def encode(self, chunk: Any, content_type: str) -> bytes:
        """Return a chunk's bytes.

        Raises:
            OutputError: It is nothing that can be sent.
        """
        if isinstance(chunk, str):
            events = content_type.startswith("text/event-stream")
            if isinstance(chunk, _sse.Event) and content_type and not events:
                message = (
                    f"sse(…) was yielded in an answer of {content_type}, in which nobody reads "
                    "events: yield it first, or say content_type='text/event-stream'."
                )
                raise _errors.OutputError(message)
            if self._answers and chunk and events:
                chunk = _sse.sse(chunk)
            data: bytes = chunk.encode("utf-8", "replace")
            return data
        if isinstance(chunk, (bytes, bytearray, memoryview)):
            return bytes(chunk)
        if isinstance(chunk, (dict, list)):
            return _encode_json(chunk, content_type)
        message = (
            f"A streamed answer is made of bytes, str, dict, list and sse(…), not "
            f"{type(chunk).__name__}."
        )
        raise _errors.OutputError(message)


def _encode_json(chunk: Any, content_type: str) -> bytes:
    try:
        if content_type.startswith("text/event-stream"):
            return _sse.sse(chunk).encode("utf-8", "replace")
        text = json.dumps(chunk, ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "replace") + b"\n"
    except (TypeError, ValueError) as error:
        message = f"What was yielded is no JSON: {error}."
        raise _errors.OutputError(message) from error


def _close(made_by: Any) -> None:
    close = getattr(made_by, "close", None)
    if callable(close):
        close()
