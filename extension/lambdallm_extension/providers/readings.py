"""Answers read by the form of their API: what all of those have in common that speak JSON.

bytes ──► server-sent events ──► JSON ──► the API's own `Reading` ──► AnswerSoFar, pieces
"""

from __future__ import annotations

from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.sse import EventReader
from lambdallm_extension.providers.streams import cut
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.model_ports import StreamReader
    from lambdallm_wire.chat import ChatDelta

    class Reading(Protocol):
        """Fills an answer from the events of one API, which are JSON objects."""

        answer: AnswerSoFar
        names_events: bool
        """Whether all of its API's events have names: one without is nothing of the answer."""

        def take(self, event: dict[str, Any], pieces: list[ChatDelta]) -> None:
            """Take one event and append the pieces that it holds. Unknown ones hold none.

            Raises:
                ProviderError: The API says that it failed.
                KeyError, TypeError, ValueError, AttributeError: A field is not what it should be.
            """
            ...

        def fail(self, event: object) -> ProviderError:
            """Make the error that an event is."""
            ...

    Fill = Callable[[AnswerSoFar, dict[str, Any]], None]
    """Fills an answer from a whole reply."""

ANSWER_MAX_BYTES = 33_554_432
"""Of a whole answer where a stream was asked for; images as Base64 are the largest."""

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)
"""What reading raises of fields that are not what they should be."""

_DONE = "[DONE]"
_PING = "ping"


class EventAnswer:
    """A `ports.StreamReader` of server-sent events.

    Pieces are never lost to an error that came with them: it is raised by the next `feed` or `end`.
    """

    def __init__(self, source: str, reading: Reading) -> None:
        """Take who answers, for errors, and the reader of its events."""
        self.answer = reading.answer
        self._source = source
        self._reading = reading
        self._events = EventReader()
        self._named = False
        self._done = False
        self._failure: ProviderError | None = None

    def feed(self, data: bytes) -> list[ChatDelta]:
        """Take bytes and return the pieces that they complete.

        Raises:
            ProviderError: The API says that it failed, or sends what it should not.
        """
        if self._failure is not None:
            raise self._failure
        pieces: list[ChatDelta] = []
        if not data:
            return pieces
        try:
            self._read(data, pieces)
        except ProviderError as error:
            self._failure = error
        except UNREADABLE as error:
            self._failure = malformed(self._source, error, self.answer.provider_request_id)
        if self._failure is not None and not pieces:
            raise self._failure
        return pieces

    def end(self) -> None:
        """Know that no more bytes come.

        Raises:
            ProviderError: The API's own end has not come, or what `feed` would have raised.
        """
        if self._failure is not None:
            raise self._failure
        if not self.answer.ended:
            raise cut(self._source)

    def _read(self, data: bytes, pieces: list[ChatDelta]) -> None:
        for name, text in self._events.feed(data):
            if name:
                self._named = True
            if text.startswith(_DONE):
                self._done = self.answer.ended = True
                continue
            if not text or text.isspace():
                continue  # a sign of life
            if name == "error":
                raise self._reading.fail(_lenient(text))
            try:
                event = plain_json.loads(text)
            except (ValueError, RecursionError):
                if self._is_beside(name):
                    continue
                raise
            if "\\u" in text and ("\\ud" in text or "\\uD" in text):
                event = _writable(event)
            if isinstance(event, dict):
                self._reading.take(event, pieces)

    def _is_beside(self, name: str) -> bool:
        """Say whether an event that cannot be read is nothing of the answer.

        The vendors' own clients pass over these, and stop at any other.
        Source: the packages anthropic 2.11 and openai 3.52, `_streaming.py`.
        """
        if self._done:
            return True
        return self._reading.names_events and (name == _PING or (not name and self._named))


class WholeAnswer:
    """A `ports.StreamReader` of a reply that is no stream, though one was asked for."""

    def __init__(self, source: str, answer: AnswerSoFar, fill: Fill) -> None:
        """Take who answers, for errors, and what reads the reply into an answer."""
        self.answer = answer
        self._source = source
        self._fill = fill
        self._body: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[ChatDelta]:
        """Keep bytes until all have come.

        Raises:
            ProviderError: There are too many of them.
        """
        self._body.append(data)
        self._size += len(data)
        if self._size > ANSWER_MAX_BYTES:
            self._body = []
            error = ValueError(f"longer than {ANSWER_MAX_BYTES:,} bytes")
            raise malformed(self._source, error, self.answer.provider_request_id)
        return []

    def end(self) -> None:
        """Read all of it; the answer then has what no piece has said.

        Raises:
            ProviderError: It is an error, or nothing that the API answers.
        """
        fill_whole(self._source, self.answer, self._fill, b"".join(self._body))


def open_stream(source: str, headers: Headers, reading: Reading, fill: Fill) -> StreamReader:
    """Return the reader of a 200: of events, unless it says that it is plain JSON."""
    kind = next((value for name, value in headers if name == "content-type"), "")
    if kind.strip().lower().startswith("application/json"):
        return WholeAnswer(source, reading.answer, fill)
    return EventAnswer(source, reading)


def fill_whole(source: str, answer: AnswerSoFar, fill: Fill, body: bytes) -> None:
    """Fill an answer from the body of a 200.

    Raises:
        ProviderError: It is an error, or nothing that the API answers.
    """
    try:
        reply = plain_json.loads(body)
        if b"\\u" in body:
            reply = _writable(reply)
        if not isinstance(reply, dict):
            message = f"a {type(reply).__name__} where an object belongs"
            raise TypeError(message)
        fill(answer, reply)
    except UNREADABLE as error:
        raise malformed(source, error, answer.provider_request_id) from error
    answer.ended = True


def load_reply(body: bytes) -> dict[str, Any]:
    """Return the object that a reply, or an event of it, holds as JSON.

    Raises:
        ValueError, TypeError, RecursionError: There is none.
    """
    reply = plain_json.loads(body)
    if b"\\u" in body and (b"\\ud" in body or b"\\uD" in body):
        reply = _writable(reply)
    if not isinstance(reply, dict):
        message = f"a {type(reply).__name__} where an object belongs"
        raise TypeError(message)
    return reply


def malformed(source: str, error: BaseException, request_id: str) -> ProviderError:
    """Make the error of a 200 that is not what its API answers."""
    detail = (
        f"{source} answered with something that is not in the form of its API "
        f"({type(error).__name__}: {str(error)[:200]}; request {request_id or '?'}). The "
        "generation may be billed; it is not asked for again."
    )
    return ProviderError(detail, status=200, kind="MalformedReply", source=source)


def request_id(headers: Headers, *names: str) -> str:
    """Return the API's own id of a request, "" where no header has it."""
    return next((value for name, value in headers if name in names), "")


def _lenient(text: str) -> object:
    try:
        return plain_json.loads(text)
    except (ValueError, RecursionError):
        return text


def _writable(value: Any) -> Any:
    """Replace halves of characters, which JSON can hold and UTF-8 cannot."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_writable(part) for part in value]
    if isinstance(value, dict):
        return {_writable(name): _writable(part) for name, part in value.items()}
    return value
