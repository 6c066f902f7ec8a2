"""An answer that is read while the model writes it.

    for piece in context.stream("Tell me a story."):     # str
        ...

One iterator lies beneath all ways of reading: `for`, `next`, `events()` and the thread of an
`async for` take turns and miss nothing. What is let go of early frees its connection; the engine
reads on for the books.
"""

from __future__ import annotations

import sys
from _thread import start_new_thread

from lambdallm import _errors
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from lambdallm._messages import ChatResponse
    from lambdallm._reply_stream import Lines
    from lambdallm._work import Work

    Event = dict[str, Any]


_LAST = frozenset(("response", "problem", "perform"))
"""Kinds of messages that end a stream of lines."""


class Call:
    """One streamed call, from its opening to its booking. It knows nothing of its reader."""

    def __init__(
        self,
        work: Work,
        request: dict[str, Any],
        deadline_epoch_ms: int,
        book: Callable[[dict[str, Any]], ChatResponse],
    ) -> None:
        """Open it: return when the model has begun to answer.

        Args:
            work: Who pays.
            request: See `lambdallm_wire.chat`.
            deadline_epoch_ms: No use for more of the answer after this.
            book: Told of the response.

        Raises:
            LambdaLLMError: The model did not begin.
        """
        self._work = work
        self._unit = work.unit_for_call()
        self._request = request
        self._deadline_epoch_ms = deadline_epoch_ms
        self._book = book
        self._left = False
        self._last: Event = {}
        self._own: Generator[Event, None, None] | None = None
        self.response: ChatResponse | None = None
        try:
            self._lines: Lines = self._unit.stream(request, deadline_epoch_ms)  # type: ignore[arg-type]  # built key by key
        except BaseException:
            self._leave("error")
            raise

    def read(self) -> list[Event]:
        """Wait for more and return all that has come; nothing at the end.

        Raises:
            LambdaLLMError: The stream failed, or was cut.
        """
        try:
            events = self._read()
        except BaseException:
            self.leave("error")
            raise
        if not events:
            self.leave("ok" if self.response is not None else "error")
        return events

    def close(self) -> None:
        """Let go of it, from any thread; whoever reads it has to `leave` it."""
        self._lines.close()

    def leave(self, outcome: str = "error") -> None:
        """End it for the books, once."""
        self._lines.close()
        if self._own is not None:
            self._own.close()
        self._leave(outcome)

    def _read(self) -> list[Event]:
        if self.response is not None or self._left:
            return []
        if self._own is not None:
            return self._read_own(self._own)
        batch = [] if self._last else self._lines.read()
        if batch and "text" not in batch[-1] and batch[-1].keys() & _LAST:
            self._last = batch.pop()
        if batch:
            return batch
        last, self._last = self._last, {}
        if "response" in last:
            self.response = self._book(self._unit.settle(last["response"]))
        elif "problem" in last:
            raise _errors.from_problem(last["problem"])
        elif "perform" in last:
            self._own = self._ask_own(last["perform"])
            return self._read_own(self._own)
        elif not self._lines.closed:
            message = "The stream ended before the answer did. The call may have happened."
            raise _errors.SidecarError(message)
        return []

    def _ask_own(self, perform: dict[str, Any]) -> Generator[Event, None, None]:
        from lambdallm import _own_providers

        def post(performed: dict[str, Any]) -> dict[str, Any]:
            return self._unit.call(routes.PERFORMED, performed, self._deadline_epoch_ms)

        self._lines.close()
        return _own_providers.stream(perform, self._request, post)

    def _read_own(self, own: Generator[Event, None, None]) -> list[Event]:
        event = next(own, {})
        if "response" not in event:
            return [event] if event else []
        self.response = self._book(event["response"])
        return []

    @property
    def ended(self) -> bool:
        """Whether nothing is left to let go of."""
        return self._left

    def _leave(self, outcome: str) -> None:
        if not self._left:
            self._left = True
            self._work.leave(self._unit, outcome)


class WholeAnswer:
    """The answer of a model that a test has put in place, which is not streamed, as a call."""

    ended = True

    def __init__(self, response: ChatResponse) -> None:
        """Keep what is told in one piece."""
        self.response = response
        self._unread = [[{"text": response.text}]]

    def read(self) -> list[Event]:
        """Return its text, then nothing."""
        return self._unread.pop() if self._unread else []

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def leave(self, outcome: str = "error") -> None:
        """Do nothing: it is booked."""


class ChatStream:
    """An answer that is on its way; yields pieces of its text. For one thread at a time."""

    def __init__(self, call: Call | WholeAnswer) -> None:
        """Read this call."""
        self._call = call
        self._pieces: list[str] = []
        self._events = _flatten(call, self._pieces)

    @property
    def text(self) -> str:
        """What was read of it so far."""
        return "".join(self._pieces)

    @property
    def response(self) -> ChatResponse | None:
        """All that is known of the answer, once it was read to its end."""
        return self._call.response

    def events(self) -> Iterator[Event]:
        """Yield pieces of all kinds.

        Shape:
            {"text": "Hel"}
            {"reasoning": "The user greets"}
            {"tool_use": {"index": 1, "id": "tooluse_1", "name": "weather"}}
            {"tool_input": {"index": 1, "json": "{ …"}}
        """
        return self._events

    def close(self) -> None:
        """Let go of it; what the model goes on to write is not read any more."""
        self._events.close()
        self._call.leave()

    def __iter__(self) -> ChatStream:
        return self

    def __next__(self) -> str:
        for event in self._events:
            if "text" in event:
                text: str = event["text"]
                return text
        raise StopIteration

    def __enter__(self) -> ChatStream:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __del__(self) -> None:
        call = getattr(self, "_call", None)
        if call is not None and not call.ended and not sys.is_finalizing():
            # Collected at any moment, this thread may hold locks that the end needs.
            start_new_thread(call.leave, ())


def _flatten(call: Call | WholeAnswer, pieces: list[str]) -> Generator[Event, None, None]:
    """Yield the events one by one, and keep their text."""
    try:
        while batch := call.read():
            for event in batch:
                if "text" in event:
                    pieces.append(event["text"])
                yield event
    except _errors.LambdaLLMError as error:
        error.partial_text = "".join(pieces)
        raise
