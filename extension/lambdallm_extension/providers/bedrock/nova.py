"""Nova through InvokeModel: the words of Converse, in a body of its own.

Source: Nova User Guide, "Complete request schema" and "Using the Invoke API", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.bedrock import reply as converse_reply, request as converse
from lambdallm_extension.providers.bedrock.converse_stream import ConverseEvents
from lambdallm_extension.providers.bedrock.families import Family
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.providers.bedrock.families import Take
    from lambdallm_wire.chat import ChatDelta, ChatRequest

SCHEMA_VERSION = "messages-v1"


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body: Converse's, with what is special to the model beside the rest."""
    body = converse.encode(model_id, request)
    body.pop("serviceTier", None)
    body |= body.pop("additionalModelRequestFields", {})
    return {"schemaVersion": SCHEMA_VERSION} | body


def _fill(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
    for index, block in enumerate(reply["output"]["message"]["content"]):
        if "toolUse" in block:
            called = block["toolUse"]
            answer.begin_tool(index, called["toolUseId"], called["name"])
            answer.add_tool_input(index, plain_json.dumps(called.get("input", {})))
        elif "reasoningContent" in block:
            thought = block["reasoningContent"]["reasoningText"]
            answer.add_reasoning(index, thought["text"])
        elif "text" in block:
            answer.add_text(index, block["text"])
    answer.finish_reason = converse_reply.finish_reason(reply.get("stopReason"))
    usage = reply.get("usage")
    if usage:
        answer.usage = converse_reply.decode_usage(answer.model, usage)
        answer.raw_usage = usage


def _open(answer: AnswerSoFar) -> Take:
    events = ConverseEvents(answer.model, answer)

    def take(event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        for name, content in event.items():
            if isinstance(content, dict):
                events.take(name, content, pieces)

    return take


NOVA = Family("nova", encode, _fill, _open)
