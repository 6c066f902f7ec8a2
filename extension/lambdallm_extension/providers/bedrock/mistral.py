"""Mistral through InvokeModel: older models take a prompt, newer ones messages.

Shape:
    {"prompt": "<s>[INST] Hi [/INST]", "max_tokens": 100, "stop": […]}
    {"outputs": [{"text": "…", "stop_reason": "stop"}]}
    {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
    {"choices": [{"index": 0, "message": {"role": "assistant", "content": "…"},
                  "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 9}}

Streamed, each piece is such an object, newer ones with `delta` for `message`. Tokens stand in
headers or metrics where a body says none.
Source: Bedrock User Guide, "Mistral AI text completion" and "Mistral AI chat completion", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.bedrock.families import Family
from lambdallm_extension.providers.bedrock.models import family
from lambdallm_extension.providers.bedrock.prompts import texts_of
from lambdallm_extension.providers.conversation import given
from lambdallm_extension.providers.counts import two_counts
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_extension.providers.bedrock.families import Take
    from lambdallm_extension.providers.bedrock.prompts import Spoken
    from lambdallm_wire.chat import ChatDelta, ChatRequest

_PROMPTED = ("mistral.mistral-7b", "mistral.mixtral", "mistral.mistral-small-2402")
"""Models that take a prompt alone."""

_REASONS = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
}


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body."""
    system, spoken = texts_of(model_id, request)
    parameters = given(
        {
            "max_tokens": request.get("max_tokens"),
            "temperature": request.get("temperature"),
            "top_p": request.get("top_p"),
            "stop": request.get("stop_sequences") or None,
        }
    )
    if family(model_id).startswith(_PROMPTED):
        return {"prompt": _prompt(system, spoken)} | parameters
    said = [("system", system), *spoken] if system else spoken
    return {"messages": [{"role": role, "content": text} for role, text in said]} | parameters


def _prompt(system: str, spoken: Spoken) -> str:
    written = "<s>"
    for index, (role, text) in enumerate(spoken):
        if role == "assistant":
            written += f" {text}</s>"
        else:
            first = f"{system}\n\n" if system and index == 0 else ""
            written += f"[INST] {first}{text} [/INST]"
    return written


def _fill(answer: AnswerSoFar, reply: dict[str, Any]) -> None:
    _open(answer)(reply, [])


def _open(answer: AnswerSoFar) -> Take:
    def take(event: dict[str, Any], pieces: list[ChatDelta]) -> None:
        for part in (event.get("outputs") or event.get("choices") or [])[:1]:
            said = part.get("delta") or part.get("message") or {"content": part.get("text")}
            if said.get("content"):
                pieces.append(answer.add_text(0, said["content"]))
            for index, called in enumerate(said.get("tool_calls") or ()):
                pieces.extend(_tool(answer, index, called))
            reason = part.get("finish_reason") or part.get("stop_reason")
            if reason:
                answer.finish_reason = _REASONS.get(reason, "other")
                answer.ended = True
        _count(answer, event.get("usage"))

    return take


def _tool(answer: AnswerSoFar, index: int, called: dict[str, Any]) -> list[ChatDelta]:
    """Take a tool's call, which comes whole."""
    function = called["function"]
    arguments = function.get("arguments") or ""
    text = arguments if isinstance(arguments, str) else plain_json.dumps(arguments)
    return [
        answer.begin_tool(index + 1, called["id"], function["name"]),
        answer.add_tool_input(index + 1, text),
    ]


def _count(answer: AnswerSoFar, counts: dict[str, Any] | None) -> None:
    if not counts:
        return
    answer.usage = two_counts(counts, "prompt_tokens", "completion_tokens")
    answer.raw_usage = counts


MISTRAL = Family("mistral", encode, _fill, _open)
