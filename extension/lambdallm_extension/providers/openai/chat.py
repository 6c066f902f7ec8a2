"""OpenAI's chat completions: its answers, whole and streamed.

Source: API reference, "The chat completion object" and "The chat completion chunk object", 2026-11.
What other servers do differently stands where it is read.
"""

from __future__ import annotations

from lambdallm_extension.domain.answers import AnswerSoFar
from lambdallm_extension.providers import refusals
from lambdallm_extension.providers.event_dialect import EventDialect
from lambdallm_extension.providers.openai import chat_request
from lambdallm_extension.providers.openai.failures import advise
from lambdallm_extension.providers.openai.usage import decode_usage
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.errors import ProviderError
    from lambdallm_wire.chat import ChatDelta, ChatRequest

FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "max_tokens": "length",
    "safety": "content_filter",
}
"""Whatever else servers say (`eos`, `abort`, …) is `other`; the last two are Gemini's, in capitals.

Source: replies quoted in QwenLM/qwen-code #9884, 2026-08.
"""

_REASONING, _TEXT, _FIRST_TOOL = 0, 1, 2
"""Places of the blocks: chunks have none, and a model thinks before it speaks."""


_REQUEST_ID = ("x-request-id", "apim-request-id")


class ChatCompletions(EventDialect):
    """A `model_ports.Dialect`, which also makes requests."""

    name = "openai.chat"
    path = "/chat/completions"

    def __init__(self, source: str = "openai", *, compatible: bool = False) -> None:
        """Take who answers, for errors, and whether it is another server that speaks alike."""
        super().__init__(source, ChunkReading, _REQUEST_ID, advise)
        self._compatible = compatible

    def encode(self, model_id: str, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Make the body of a request; see `chat_request.encode`."""
        return chat_request.encode(model_id, request, stream=stream, compatible=self._compatible)


class ChunkReading:
    """Fills an answer from chunks, or from a whole completion, which has the same fields.

    The answer is the first choice; what the others generate is counted, and not kept.
    """

    __slots__ = ("_ids", "_model_id", "_source", "answer")

    names_events = False

    def __init__(self, source: str, model_id: str, request_id: str) -> None:
        """Begin an answer of a model."""
        self.answer = AnswerSoFar(model=model_id, provider_request_id=request_id)
        self._source = source
        self._model_id = model_id
        self._ids: list[tuple[object, str]] = []

    def fail(self, event: object) -> ProviderError:
        """Make the error that an event is."""
        generated = self.answer.generated_characters > 0
        return refusals.in_band(self._source, self._model_id, event, advise, generated=generated)

    def fill(self, answer: AnswerSoFar, completion: dict[str, Any]) -> None:
        """Take a whole completion; `answer` is this reading's own."""
        if "choices" not in completion and not completion.get("error"):
            message = "a completion without choices"
            raise KeyError(message)
        pieces: list[ChatDelta] = []
        for choice in completion.get("choices") or ():
            choice["delta"] = choice.get("message") or {}
        self.take(completion, pieces)
        answer.ended = True

    def take(self, event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        """Take one chunk; see `readings.Reading`."""
        if event.get("error"):
            raise self.fail(event)
        answer = self.answer
        if event.get("model"):
            answer.model = str(event["model"])
        if event.get("service_tier"):
            answer.service_tier = str(event["service_tier"])
        for choice in event.get("choices") or ():
            delta = choice.get("delta")
            if choice.get("index"):
                answer.generated_characters += _characters(delta)
                continue
            if delta:
                self._take_delta(delta, pieces)
            if choice.get("finish_reason") and answer.finish_reason != "content_filter":
                answer.finish_reason = self._finish_reason(choice["finish_reason"])
        usage = event.get("usage")
        if usage:
            answer.usage, answer.raw_usage = decode_usage(usage), usage
            answer.ended = bool(answer.finish_reason)

    def _finish_reason(self, reason: str) -> str:
        """Return it in our words. A tool that had to be called ends with `stop` at OpenAI."""
        if reason.lower() == "stop" and self._ids:
            return "tool_calls"
        return FINISH_REASONS.get(reason.lower(), "other")

    def _take_delta(self, delta: dict[str, Any], pieces: list[ChatDelta]) -> None:
        # DeepSeek, vLLM and llama.cpp think under the first name, OpenRouter under the second.
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            pieces.append(self.answer.add_reasoning(_REASONING, thought))
        text = delta.get("content")
        if isinstance(text, list):  # Mistral's
            text = "".join(part.get("text") or "" for part in text if isinstance(part, dict))
        if text:
            pieces.append(self.answer.add_text(_TEXT, text))
        refused = delta.get("refusal")
        if refused:
            self.answer.finish_reason = "content_filter"
            pieces.append(self.answer.add_text(_TEXT, refused))
        calls = delta.get("tool_calls")
        if calls:
            for position, call in enumerate(calls):
                self._take_call(position, call, pieces)
        call = delta.get("function_call")
        if call:  # before there were tools, and still in drop-in clients
            self._take_call(0, {"function": call}, pieces)

    def _take_call(self, position: int, call: dict[str, Any], pieces: list[ChatDelta]) -> None:
        index, call_id = call.get("index", position), call.get("id") or ""
        function = call.get("function") or call.get("custom") or {}
        place = self._find(index, call_id)
        if place is None:
            place = len(self._ids)
            self._ids.append((index, call_id))
            begun = self.answer.begin_tool(
                _FIRST_TOOL + place, call_id or f"call_{place}", str(function.get("name") or "")
            )
            pieces.append(begun)
        arguments = function.get("arguments") or function.get("input")
        if isinstance(arguments, dict):  # Ollama's older versions
            arguments = plain_json.dumps(arguments)
        if arguments:
            pieces.append(self.answer.add_tool_input(_FIRST_TOOL + place, arguments))

    def _find(self, index: object, call_id: str) -> int | None:
        """Return the place of a call that has begun; None of a new one.

        Gemini's calls all have the index 0, each with an id of its own.
        Source: QuantumNous/new-api #2701, su-kaka/gcli2api #406, 2026-08.
        """
        for place in range(len(self._ids) - 1, -1, -1):
            known_index, known_id = self._ids[place]
            if known_index == index:
                return place if not call_id or call_id == known_id else None
        return None


DIALECT = ChatCompletions()
"""Reads the answers that clients of their own are given."""


def _characters(delta: object) -> int:
    """Return how much another choice has said."""
    if not isinstance(delta, dict):
        return 0
    return sum(len(value) for value in delta.values() if isinstance(value, str))
