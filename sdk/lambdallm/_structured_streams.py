"""An answer in a shape, as it grows: partial objects, and the whole one that was checked.

What grows is one dict (or list), each time the same; keep a copy of what has to stay. It is not
checked before its end: fields may be missing, and a text may go on.
"""

from __future__ import annotations

from lambdallm._partial_json import PartialJson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from lambdallm._async_streaming import AsyncChatStream
    from lambdallm._messages import ChatResponse
    from lambdallm._streaming import ChatStream
    from lambdallm._structured_answers import Question, Reading


class StructuredStream:
    """An answer that is on its way; yields what there is of it. For one thread at a time."""

    def __init__(self, stream: ChatStream, question: Question) -> None:
        """Read this stream, which answers this question."""
        self._stream = stream
        self._question = question
        self._partial = PartialJson(question.beginnings)
        self._reading: Reading | None = None
        self._error: BaseException | None = None
        self._values = self._read()

    @property
    def result(self) -> Any:
        """The whole answer, checked, as `invoke_structured` returns it; what is left is read.

        Raises:
            OutputError: The answer was refused, or cut, or wrong in the end.
        """
        for _ in self:
            pass
        return _value_of(self._reading, self._error)

    @property
    def text(self) -> str:
        """What was read of the model's words so far."""
        return self._stream.text

    @property
    def response(self) -> ChatResponse | None:
        """All that is known of the streamed answer, once it was read to its end."""
        return self._stream.response

    def close(self) -> None:
        """Let go of it; what the model goes on to write is not read any more."""
        self._values.close()
        self._stream.close()

    def _read(self) -> Any:
        for piece in self._stream:
            if self._partial.feed(piece):
                yield self._partial.value
        response = self._stream.response
        assert response is not None  # noqa: S101 - it was read to its end
        self._reading = self._question.settle(response)
        if self._reading.plain != self._partial.value:  # mended, or not the first JSON in it
            yield self._reading.plain

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._values)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise

    def __enter__(self) -> StructuredStream:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class AsyncStructuredStream:
    """An answer that is on its way; yields what there is of it. For one coroutine at a time."""

    def __init__(self, stream: AsyncChatStream, question: Question) -> None:
        """Read this stream, which answers this question."""
        self._stream = stream
        self._question = question
        self._partial = PartialJson(question.beginnings)
        self._reading: Reading | None = None
        self._error: BaseException | None = None
        self._values = self._read()

    async def result(self) -> Any:
        """Return the whole answer; see `StructuredStream.result`."""
        async for _ in self:
            pass
        return _value_of(self._reading, self._error)

    @property
    def text(self) -> str:
        """What was read of the model's words so far."""
        return self._stream.text

    @property
    def response(self) -> ChatResponse | None:
        """All that is known of the streamed answer, once it was read to its end."""
        return self._stream.response

    async def aclose(self) -> None:
        """Let go of it; what the model goes on to write is not read any more."""
        await self._values.aclose()
        self._stream.close()

    async def _read(self) -> Any:
        from lambdallm import _async

        async for piece in self._stream:
            if self._partial.feed(piece):
                yield self._partial.value
        response = self._stream.response
        assert response is not None  # noqa: S101 - it was read to its end
        self._reading = await _async.in_thread(lambda: self._question.settle(response))
        if self._reading.plain != self._partial.value:
            yield self._reading.plain

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            value: Any = await self._values.__anext__()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._error = error
            raise
        return value

    async def __aenter__(self) -> AsyncStructuredStream:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()


def _value_of(reading: Reading | None, error: BaseException | None) -> Any:
    """Return what was read to its end; what was raised on the way is raised again."""
    if error is not None:
        raise error
    if reading is None:
        message = "The stream was closed before the answer's end."
        raise ValueError(message)
    return reading.value
