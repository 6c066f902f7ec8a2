"""Cohere's Command through InvokeModel: R models take a message, older ones a prompt.

Shape:
    {"message": "Hi", "chat_history": [{"role": "USER", "message": "…"}], "preamble": "…"}
    {"text": "…", "finish_reason": "COMPLETE", "response_id": "…"}
    {"event_type": "text-generation", "text": "…", "is_finished": false}
    {"prompt": "Hi"}     {"generations": [{"text": "…", "finish_reason": "COMPLETE"}]}

Tokens stand in headers or metrics alone.
Source: Bedrock User Guide, "Cohere Command models" and "Cohere Command R and Command R+", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.bedrock.families import Family
from lambdallm_extension.providers.bedrock.models import family
from lambdallm_extension.providers.bedrock.prompts import texts_of
from lambdallm_extension.providers.conversation import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.providers.bedrock.families import Take
    from lambdallm_wire.chat import ChatDelta, ChatRequest

_ROLES = {"user": "USER", "assistant": "CHATBOT"}

_CHATTING = "cohere.command-r"

_REASONS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "ERROR_LIMIT": "length",
    "ERROR_TOXIC": "content_filter",
}


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body."""
    system, spoken = texts_of(model_id, request)
    parameters = given(
        {
            "max_tokens": request.get("max_tokens"),
            "temperature": request.get("temperature"),
            "p": request.get("top_p"),
            "stop_sequences": request.get("stop_sequences") or None,
        }
    )
    if not family(model_id).startswith(_CHATTING):
        lines = [system, *(text for _, text in spoken)]
        return {"prompt": "\n".join(line for line in lines if line)} | parameters
    history = [{"role": _ROLES[role], "message": text} for role, text in spoken[:-1]]
    body = given({"chat_history": history or None, "preamble": system or None})
    return {"message": spoken[-1][1]} | body | parameters


def _fill(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
    said = reply["generations"][0] if "generations" in reply else reply
    answer.add_text(0, said["text"])
    answer.finish_reason = _REASONS.get(said.get("finish_reason", ""), "other")


def _open(answer: AnswerSoFar) -> Take:
    def take(event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        if event.get("text") and event.get("event_type", "text-generation") == "text-generation":
            pieces.append(answer.add_text(0, event["text"]))
        if event.get("is_finished"):
            answer.finish_reason = _REASONS.get(event.get("finish_reason", ""), "other")
            answer.ended = True

    return take


COHERE = Family("cohere", encode, _fill, _open)
