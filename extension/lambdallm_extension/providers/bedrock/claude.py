"""Claude through InvokeModel: Anthropic's Messages, without the model's name.

Source: Bedrock User Guide, "Anthropic Claude Messages API", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.anthropic.messages import MessageReading
from lambdallm_extension.providers.anthropic.request import encode_body
from lambdallm_extension.providers.bedrock.families import Family
from lambdallm_extension.providers.bedrock.frames import SOURCE
from lambdallm_extension.providers.bedrock.models import claude_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.providers.bedrock.families import Take
    from lambdallm_wire.chat import ChatRequest

VERSION = "bedrock-2023-05-31"


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body; the service tier is a header here."""
    body = encode_body(claude_name(model_id), request)
    body.pop("service_tier", None)
    return {"anthropic_version": VERSION} | body


def _reading(answer: AnswerSoFar) -> MessageReading:
    reading = MessageReading(SOURCE, answer.model, answer.provider_request_id)
    reading.answer = answer
    return reading


def _fill(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
    _reading(answer).fill(answer, reply)


def _open(answer: AnswerSoFar) -> Take:
    return _reading(answer).take


CLAUDE = Family("claude", encode, _fill, _open)
