"""What the dialects share whose streams are server-sent events: OpenAI's two, and Anthropic's."""

from __future__ import annotations

from lambda_runtime_api.declarations import Protocol
from lambdallm_extension.providers import readings, refusals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.domain.answers import AnswerSoFar, ChatAnswer
    from lambdallm_extension.errors import ProviderError
    from lambdallm_extension.model_ports import StreamReader
    from lambdallm_wire.chat import ChatDelta


class WholeReading(Protocol):
    """A `readings.Reading` that can read a whole reply, too."""

    answer: AnswerSoFar
    names_events: bool

    def take(self, event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        """Take one event."""
        ...

    def fail(self, event: object) -> ProviderError:
        """Make the error that an event is."""
        ...

    def fill(self, answer: AnswerSoFar, reply: dict[str, Any], /) -> None:
        """Fill an answer from a whole reply."""
        ...


class EventDialect:
    """A `model_ports.Dialect` whose API's own part is a reading, and advice on its refusals."""

    def __init__(
        self,
        source: str,
        begin: Callable[[str, str, str], WholeReading],
        id_headers: tuple[str, ...],
        advise: refusals.Advise,
    ) -> None:
        """Take the API's own parts.

        Args:
            source: Who answers, for errors.
            begin: Begins a reading: source, the model's id, the request's id.
            id_headers: Where the request's id stands, the first that is there.
            advise: Says what to do about a refusal.
        """
        self._source = source
        self._begin = begin
        self._id_headers = id_headers
        self._advise = advise

    def decode(self, model_id: str, headers: Headers, body: bytes) -> ChatAnswer:
        """Read a 200 that is not streamed; see `model_ports.Dialect`."""
        reading = self._reading(model_id, headers)
        readings.fill_whole(self._source, reading.answer, reading.fill, body)
        return reading.answer.to_answer()

    def read_stream(self, model_id: str, headers: Headers) -> StreamReader:
        """Return the reader of a 200 that is streamed."""
        reading = self._reading(model_id, headers)
        return readings.open_stream(self._source, headers, reading, reading.fill)

    def refusal(self, model_id: str, status: int, headers: Headers, body: bytes) -> ProviderError:
        """Make the error of a reply whose status is no 200."""
        return refusals.refusal(self._source, model_id, status, headers, body, self._advise)

    def _reading(self, model_id: str, headers: Headers) -> WholeReading:
        request_id = readings.request_id(headers, *self._id_headers)
        return self._begin(self._source, model_id, request_id)
