"""Llama through InvokeModel: one prompt, in the marks of the model's own template.

Shape:
    {"prompt": "<|begin_of_text|>…", "max_gen_len": 512, "temperature": 0.5, "top_p": 0.9}
    {"generation": "…", "prompt_token_count": 5, "generation_token_count": 9, "stop_reason": "stop"}

Streamed, each piece is such an object; its counts are of all so far.
Source: Bedrock User Guide, "Meta Llama models"; Meta's model cards and prompt formats of Llama 3
and 4; 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.bedrock.families import Family
from lambdallm_extension.providers.bedrock.models import family
from lambdallm_extension.providers.bedrock.prompts import texts_of
from lambdallm_extension.providers.conversation import given
from lambdallm_extension.providers.counts import two_counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.providers.bedrock.families import Take
    from lambdallm_wire.chat import ChatDelta, ChatRequest

_LLAMA_3 = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_LLAMA_4 = ("<|header_start|>", "<|header_end|>", "<|eot|>")
"""Before a role, behind it, and behind what it says."""

_REASONS = {"stop": "stop", "length": "length"}


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body. Stop sequences are none of the form: they are left out."""
    system, spoken = texts_of(model_id, request)
    before, behind, end = _LLAMA_4 if family(model_id).startswith("meta.llama4") else _LLAMA_3
    said = [("system", system), *spoken] if system else spoken
    turns = [f"{before}{role}{behind}\n\n{text.strip()}{end}" for role, text in said]
    return given(
        {
            "prompt": f"<|begin_of_text|>{''.join(turns)}{before}assistant{behind}\n\n",
            "max_gen_len": request.get("max_tokens"),
            "temperature": request.get("temperature"),
            "top_p": request.get("top_p"),
        }
    )


def _fill(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
    answer.add_text(0, reply["generation"])
    answer.finish_reason = _REASONS.get(reply.get("stop_reason", ""), "other")
    _count(answer, reply)


def _open(answer: AnswerSoFar) -> Take:
    counts: dict[str, Any] = {}

    def take(event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        if event.get("generation"):
            pieces.append(answer.add_text(0, event["generation"]))
        counts.update({name: value for name, value in event.items() if value is not None})
        if event.get("stop_reason"):
            answer.finish_reason = _REASONS.get(event["stop_reason"], "other")
            answer.ended = True
        _count(answer, counts)

    return take


def _count(answer: AnswerSoFar, counts: dict[str, Any]) -> None:
    """Take the counts of a body, if it has both."""
    if "prompt_token_count" not in counts or "generation_token_count" not in counts:
        return
    raw = {name: counts[name] for name in ("prompt_token_count", "generation_token_count")}
    answer.usage = two_counts(raw, "prompt_token_count", "generation_token_count")
    answer.raw_usage = raw


LLAMA = Family("llama", encode, _fill, _open)
