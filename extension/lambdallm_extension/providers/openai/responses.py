"""OpenAI's Responses API: its answers, whole and streamed.

Source: API reference, "The response object" and "Streaming events", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.providers import refusals
from lambdallm_extension.providers.event_dialect import EventDialect
from lambdallm_extension.providers.openai import responses_request
from lambdallm_extension.providers.openai.failures import advise
from lambdallm_extension.providers.openai.usage import decode_usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.errors import ProviderError
    from lambdallm_wire.chat import ChatDelta, ChatRequest


_REQUEST_ID = ("x-request-id", "apim-request-id")


class Responses(EventDialect):
    """A `model_ports.Dialect`, which also makes requests."""

    name = "openai.responses"
    path = "/responses"

    def __init__(self, source: str = "openai") -> None:
        """Take who answers, for errors."""
        super().__init__(source, ResponseReading, _REQUEST_ID, advise)

    def encode(self, model_id: str, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Make the body of a request; see `responses_request.encode`."""
        return responses_request.encode(model_id, request, stream=stream)


class ResponseReading:
    """Fills an answer from events, or from a whole response.

    Places are given in the order in which parts of the output first speak.
    """

    __slots__ = ("_called", "_model_id", "_places", "_source", "answer")

    names_events = False  # they have, but the package `openai` reads those without as well

    def __init__(self, source: str, model_id: str, request_id: str) -> None:
        """Begin an answer of a model."""
        self.answer = AnswerSoFar(model=model_id, provider_request_id=request_id)
        self._source = source
        self._model_id = model_id
        self._places: dict[tuple[object, ...], int] = {}
        self._called = False

    def fail(self, event: object) -> ProviderError:
        """Make the error that an event is."""
        generated = self.answer.generated_characters > 0
        return refusals.in_band(self._source, self._model_id, event, advise, generated=generated)

    def fill(self, answer: AnswerSoFar, response: dict[str, Any]) -> None:
        """Take a whole response; `answer` is this reading's own."""
        if response.get("error"):
            raise self.fail(response)
        if "output" not in response:
            message = "a response without output"
            raise KeyError(message)
        pieces: list[ChatDelta] = []
        for index, item in enumerate(response["output"] or ()):
            self._take_item(index, item, pieces)
        self._finish(response)
        answer.ended = True

    def take(self, event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        """Take one event; see `readings.Reading`."""
        kind = event.get("type")
        if kind in _TEXT_EVENTS:
            place = self._place(event.get("output_index"), event.get("content_index"))
            pieces.append(self.answer.add_text(place, event["delta"]))
            if kind == "response.refusal.delta":
                self.answer.finish_reason = "content_filter"
        elif kind in _REASONING_EVENTS:
            place = self._place(event.get("output_index"))
            pieces.append(self.answer.add_reasoning(place, event["delta"]))
        elif kind == "response.output_item.added":
            item = event["item"]
            if item.get("type") in _CALLS:
                pieces.append(self._begin_call(event.get("output_index"), item))
        elif kind in _INPUT_EVENTS:
            place = self._place(event.get("output_index"))
            pieces.append(self.answer.add_tool_input(place, event["delta"]))
        elif kind in _ENDS:
            self._end(event["response"])
        elif kind == "response.created":
            self.answer.model = str(event["response"].get("model") or self.answer.model)
        elif kind == "error" or event.get("error"):
            raise self.fail(event)

    def _end(self, response: dict[str, Any]) -> None:
        self._finish(response)
        if response.get("status") == "failed" or response.get("error"):
            raise self.fail(response)
        self.answer.ended = True

    def _finish(self, response: dict[str, Any]) -> None:
        answer = self.answer
        answer.model = str(response.get("model") or answer.model)
        answer.service_tier = str(response.get("service_tier") or "")
        usage = response.get("usage")
        if usage:
            answer.usage, answer.raw_usage = decode_usage(usage), usage
        if answer.finish_reason == "content_filter":
            return
        if response.get("status") == "incomplete":
            reason = (response.get("incomplete_details") or {}).get("reason")
            answer.finish_reason = _INCOMPLETE.get(str(reason), "other")
        elif response.get("status") == "completed":
            answer.finish_reason = "tool_calls" if self._called else "stop"

    def _take_item(self, index: int, item: dict[str, Any], pieces: list[ChatDelta]) -> None:
        kind = item.get("type")
        if kind == "message":
            for part, content in enumerate(item.get("content") or ()):
                text = content.get("text") or content.get("refusal")
                if content.get("type") == "refusal":
                    self.answer.finish_reason = "content_filter"
                if text:
                    pieces.append(self.answer.add_text(self._place(index, part), text))
        elif kind == "reasoning":
            thoughts = item.get("summary") or item.get("content") or ()
            text = "".join(thought["text"] for thought in thoughts)
            if text:
                pieces.append(self.answer.add_reasoning(self._place(index), text))
        elif kind in _CALLS:
            pieces.append(self._begin_call(index, item))
            given = item.get("arguments") or item.get("input") or ""
            pieces.append(self.answer.add_tool_input(self._place(index), given))

    def _begin_call(self, index: object, item: dict[str, Any]) -> ChatDelta:
        self._called = True
        call_id = str(item.get("call_id") or item.get("id") or "")
        return self.answer.begin_tool(self._place(index), call_id, str(item.get("name") or ""))

    def _place(self, *where: object) -> int:
        return self._places.setdefault(where, len(self._places))


DIALECT = Responses()
"""Reads the answers that clients of their own are given."""

_TEXT_EVENTS = ("response.output_text.delta", "response.refusal.delta")
_REASONING_EVENTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_INPUT_EVENTS = (
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
)
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_CALLS = ("function_call", "custom_tool_call")
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}
