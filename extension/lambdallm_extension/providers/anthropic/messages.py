"""Anthropic's Messages API: its answers, whole and streamed.

`MessageReading` reads them wherever they come from: events of this API, or of a host of the same
models that frames them in another way.
Source: platform.claude.com/docs, "Messages" and "Streaming messages", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.providers import refusals
from lambdallm_extension.providers.anthropic import request as messages_request
from lambdallm_extension.providers.anthropic.failures import advise
from lambdallm_extension.providers.counts import count, nested
from lambdallm_extension.providers.event_dialect import EventDialect
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm_extension.errors import ProviderError
    from lambdallm_wire.chat import ChatDelta, ChatRequest, Usage

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""`pause_turn`, and whatever comes later, is `other`."""


_REQUEST_ID = ("request-id", "x-request-id")


class Messages(EventDialect):
    """A `model_ports.Dialect`, which also makes requests."""

    name = "anthropic.messages"
    path = "/v1/messages"

    def __init__(self, source: str = "anthropic") -> None:
        """Take who answers, for errors."""
        super().__init__(source, MessageReading, _REQUEST_ID, advise)

    def encode(self, model_id: str, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Make the body of a request; see `request.encode`."""
        return messages_request.encode(model_id, request, stream=stream)


class MessageReading:
    """Fills an answer from events, or from a whole message."""

    __slots__ = ("_model_id", "_source", "_usage", "answer")

    names_events = True

    def __init__(self, source: str, model_id: str, request_id: str) -> None:
        """Begin an answer of a model."""
        self.answer = AnswerSoFar(model=model_id, provider_request_id=request_id)
        self._source = source
        self._model_id = model_id
        self._usage: dict[str, Any] = {}

    def fail(self, event: object) -> ProviderError:
        """Make the error that an event is."""
        generated = self.answer.generated_characters > 0
        return refusals.in_band(self._source, self._model_id, event, advise, generated=generated)

    def fill(self, answer: AnswerSoFar, message: dict[str, Any]) -> None:
        """Take a whole message; `answer` is this reading's own."""
        if message.get("type") == "error" or message.get("error"):
            raise self.fail(message)
        pieces: list[ChatDelta] = []
        for index, block in enumerate(message["content"]):
            self._begin_block(index, block, pieces)
        self._begin_message(message)
        self._end_message(message)
        answer.ended = True

    def take(self, event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        """Take one event; see `readings.Reading`."""
        kind = event.get("type")
        if kind == "content_block_delta":
            self._take_delta(event["index"], event["delta"], pieces)
        elif kind == "content_block_start":
            self._begin_block(event["index"], event["content_block"], pieces)
        elif kind == "message_start":
            self._begin_message(event["message"])
        elif kind == "message_delta":
            self._take_usage(event.get("usage"))
            self._end_message(event["delta"])
        elif kind == "message_stop":
            self.answer.ended = True
        elif kind == "error" or event.get("error"):
            raise self.fail(event)

    def _take_delta(self, index: int, delta: dict[str, Any], pieces: list[ChatDelta]) -> None:
        kind = delta.get("type")
        if kind == "text_delta":
            pieces.append(self.answer.add_text(index, delta["text"]))
        elif kind == "input_json_delta":
            if delta["partial_json"]:
                pieces.append(self.answer.add_tool_input(index, delta["partial_json"]))
        elif kind == "thinking_delta":
            pieces.append(self.answer.add_reasoning(index, delta["thinking"]))
        elif kind == "signature_delta":
            self.answer.add_signature(index, delta["signature"])

    def _begin_block(self, index: int, block: dict[str, Any], pieces: list[ChatDelta]) -> None:
        """Take the beginning of a block, in a whole message all of it.

        Tools that run at the server, and their results, are the API's own affair: no content here.
        """
        kind = block.get("type")
        if kind == "text" and block.get("text"):
            pieces.append(self.answer.add_text(index, block["text"]))
        elif kind == "tool_use":
            pieces.append(self.answer.begin_tool(index, block["id"], block["name"]))
            if block.get("input"):
                given = plain_json.dumps(block["input"])
                pieces.append(self.answer.add_tool_input(index, given))
        elif kind == "thinking":
            if block.get("thinking"):
                pieces.append(self.answer.add_reasoning(index, block["thinking"]))
            if block.get("signature"):
                self.answer.add_signature(index, block["signature"])
        elif kind == "redacted_thinking":
            self.answer.add_redacted(index, block["data"])

    def _begin_message(self, message: dict[str, Any]) -> None:
        self.answer.model = str(message.get("model") or self.answer.model)
        self._take_usage(message.get("usage"))

    def _end_message(self, ended: dict[str, Any]) -> None:
        reason = ended.get("stop_reason")
        if reason:
            self.answer.finish_reason = FINISH_REASONS.get(reason, "other")

    def _take_usage(self, usage: Mapping[str, Any] | None) -> None:
        """Take counts, which are of all so far: of each field what was said last stands."""
        if not usage:
            return
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        self.answer.raw_usage = self._usage
        self.answer.usage = decode_usage(self._usage)
        self.answer.service_tier = str(self._usage.get("service_tier") or "")


DIALECT = Messages()
"""Reads the answers that clients of their own are given."""


def decode_usage(usage: Mapping[str, object]) -> Usage:
    """Make disjoint counts: `input_tokens` are those that no cache had to do with.

    Cache writes are split by `cache_creation`; what it does not name is of five minutes.

    Raises:
        ValueError: A count is none.
    """
    split = nested(usage, "cache_creation")
    hour = count(split, "ephemeral_1h_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    written = max(written, hour + count(split, "ephemeral_5m_input_tokens"))
    return {
        "uncached_input_tokens": count(usage, "input_tokens"),
        "cache_read_tokens": count(usage, "cache_read_input_tokens"),
        "cache_write_5m_tokens": written - hour,
        "cache_write_1h_tokens": hour,
        "output_tokens": count(usage, "output_tokens"),
    }
