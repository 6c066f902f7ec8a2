r"""Titan Text through InvokeModel.

Shape:
    {"inputText": "User: Hi\nBot:", "textGenerationConfig": {"maxTokenCount": 100, …}}
    {"inputTextTokenCount": 4, "results": [{"tokenCount": 9, "outputText": "…",
                                            "completionReason": "FINISH"}]}
    {"outputText": "…", "index": 0, "totalOutputTextTokenCount": null, "completionReason": null}

Source: Bedrock User Guide, "Amazon Titan Text models", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.bedrock.families import Family
from lambdallm_extension.providers.bedrock.prompts import texts_of
from lambdallm_extension.providers.conversation import given
from lambdallm_extension.providers.counts import two_counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.providers.bedrock.families import Take
    from lambdallm_wire.chat import ChatDelta, ChatRequest

_NAMES = {"user": "User", "assistant": "Bot"}

_REASONS = {
    "FINISH": "stop",
    "FINISHED": "stop",
    "STOP_CRITERIA_MET": "stop",
    "LENGTH": "length",
    "CONTENT_FILTERED": "content_filter",
}


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body: a prompt in which the two speak by turns."""
    system, spoken = texts_of(model_id, request)
    lines = ([system, ""] if system else []) + [f"{_NAMES[role]}: {text}" for role, text in spoken]
    config = given(
        {
            "maxTokenCount": request.get("max_tokens"),
            "temperature": request.get("temperature"),
            "topP": request.get("top_p"),
            "stopSequences": request.get("stop_sequences") or None,
        }
    )
    body: dict[str, Any] = {"inputText": "\n".join([*lines, "Bot:"])}
    return body | ({"textGenerationConfig": config} if config else {})


def _fill(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
    result = reply["results"][0]
    answer.add_text(0, result["outputText"])
    answer.finish_reason = _REASONS.get(result.get("completionReason"), "other")
    _count(answer, reply, result, "tokenCount")


def _open(answer: AnswerSoFar) -> Take:
    counts: dict[str, Any] = {}

    def take(event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        if event.get("outputText"):
            pieces.append(answer.add_text(0, event["outputText"]))
        counts.update({name: value for name, value in event.items() if value is not None})
        if event.get("completionReason"):
            answer.finish_reason = _REASONS.get(event["completionReason"], "other")
            answer.ended = True
            _count(answer, counts, counts, "totalOutputTextTokenCount")

    return take


def _count(answer: AnswerSoFar, read: dict[str, Any], said: dict[str, Any], name: str) -> None:
    """Take the counts of a body, if it has both."""
    if "inputTextTokenCount" not in read or name not in said:
        return
    raw = {"inputTextTokenCount": read["inputTextTokenCount"], name: said[name]}
    answer.usage = two_counts(raw, "inputTextTokenCount", name)
    answer.raw_usage = raw


TITAN = Family("titan", encode, _fill, _open)
