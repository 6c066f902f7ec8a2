"""The events of Bedrock's ConverseStream, and of Nova's own stream, which names them alike.

    messageStart ► contentBlockStart ► contentBlockDelta … ► contentBlockStop ► … ► messageStop
                 ► metadata: usage, after everything else

Source: Bedrock API Reference, "ConverseStreamOutput", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.bedrock import reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_wire.chat import ChatDelta


class ConverseEvents:
    """Fills one answer. Unknown events and fields are passed over: newer Bedrocks send more."""

    def __init__(self, model_id: str, answer: AnswerSoFar) -> None:
        """Take the model, whose usage may need to be read in its own way, and the answer."""
        self._model_id = model_id
        self._answer = answer

    def take(self, name: str, event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        """Take one event and append the pieces that it holds.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: A field is not what it should be.
        """
        if name == "contentBlockDelta":
            delta = event["delta"]
            if "text" in delta:
                pieces.append(self._answer.add_text(_index(event), delta["text"]))
            else:
                self._take_delta(_index(event), delta, pieces)
        elif name == "contentBlockStart":
            started = (event.get("start") or {}).get("toolUse")
            if started is not None:
                begun = self._answer.begin_tool(
                    _index(event), _text(started["toolUseId"]), _text(started["name"])
                )
                pieces.append(begun)
        elif name == "messageStop":
            self._answer.finish_reason = reply.finish_reason(event.get("stopReason"))
        elif name == "metadata":
            self._take_metadata(event)

    def _take_delta(self, index: int, delta: dict[str, Any], pieces: list[ChatDelta]) -> None:
        answer = self._answer
        if "toolUse" in delta:
            pieces.append(answer.add_tool_input(index, _text(delta["toolUse"]["input"])))
        elif "reasoningContent" in delta:
            thought = delta["reasoningContent"]
            if "text" in thought:
                pieces.append(answer.add_reasoning(index, _text(thought["text"])))
            elif "signature" in thought:
                answer.add_signature(index, _text(thought["signature"]))
            elif "redactedContent" in thought:
                answer.add_redacted(index, _text(thought["redactedContent"]))

    def _take_metadata(self, event: dict[str, Any]) -> None:
        answer = self._answer
        usage = event["usage"]
        answer.usage, answer.raw_usage = reply.decode_usage(self._model_id, usage), usage
        answer.model = reply.answering_model(event) or answer.model
        answer.service_tier = reply.service_tier(event)
        answer.ended = True


def _index(event: dict[str, Any]) -> int:
    index = event.get("contentBlockIndex", 0)
    if type(index) is not int:
        message = f"contentBlockIndex is {index!r:.80}"
        raise TypeError(message)
    return index


def _text(value: Any) -> str:
    if type(value) is not str:
        message = f"a {type(value).__name__} where a text belongs"
        raise TypeError(message)
    return value
