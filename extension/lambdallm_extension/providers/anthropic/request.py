"""A canonical request as the body of Anthropic's Messages API.

    canonical                        messages
    toolUse, toolResult              `tool_use`, `tool_result`
    reasoningContent                 `thinking` with its signature, `redacted_thinking`
    cachePoint                       `cache_control` of the block before it, its `ttl` kept
    reasoning.max_tokens             `thinking.budget_tokens`; to newer models `adaptive`
    reasoning.effort                 `output_config.effort`; to older models a budget
    output_schema                    `output_config.format`; to older models a sentence

Source: platform.claude.com/docs, "Messages", "Prompt caching", "Extended thinking", "Adaptive
thinking", "Effort", and the types of anthropic 2.11; 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.anthropic.thinking import thinking
from lambdallm_extension.providers.conversation import (
    conversation,
    image_source,
    text_of,
    tool_result,
    tool_use,
    unknown_block,
)
from lambdallm_extension.providers.models import claude_sampling, claude_takes_schema
from lambdallm_extension.providers.output_schemas import grammar, instructed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import ChatRequest

    Block = dict[str, Any]

MAX_TOKENS_DEFAULT = 4_096
"""The API wants a number. Every Claude since 3 can say so much, and few answers are longer."""

_CACHED = ("text", "image", "tool_use", "tool_result", "document")
"""Blocks that take `cache_control`; thinking does not."""


def encode(model_id: str, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
    """Make the body.

    Raises:
        InvalidRequestError: The API would not take it; says what.
    """
    body: dict[str, Any] = {"model": model_id} | encode_body(model_id, request)
    if stream:
        body["stream"] = True
    return body | (request.get("additional_fields") or {})


def encode_body(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make what every host of these models is sent: no model, no stream, no additional fields.

    Args:
        model_id: The maker's own name, such as `claude-haiku-4-5-20251001`.
        request: The canonical request.

    Raises:
        InvalidRequestError: As `encode`.
    """
    schema = request.get("output_schema")
    held = grammar(schema) if schema and claude_takes_schema(model_id) else None
    if schema and held is None:
        request = instructed(request)
    system, turns = conversation(request)
    if turns[0][0] != "user":
        raise InvalidRequestError(
            "The conversation begins with an assistant message; Claude takes only one that "
            "begins with a user message. Drop what stands before the first one."
        )
    messages = [{"role": role, "content": _blocks(blocks)} for role, blocks in turns]
    body: dict[str, Any] = {"messages": messages}
    text_of(system)  # refuses what is no text
    prompt = _blocks(system)
    if prompt:
        plain = len(prompt) == 1 and "cache_control" not in prompt[0]
        body["system"] = prompt[0]["text"] if plain else prompt
    body |= _tools(request)
    limit = request.get("max_tokens")
    thought = thinking(
        model_id, request.get("reasoning"), limit, forced=_forced(body.get("tool_choice"))
    )
    body["max_tokens"] = limit or thought.room_tokens + MAX_TOKENS_DEFAULT
    if thought.config:
        body["thinking"] = thought.config
    output: dict[str, Any] = {"effort": thought.effort} if thought.effort else {}
    if held is not None:
        output["format"] = {"type": "json_schema", "schema": held}
    if output:
        body["output_config"] = output
    if not thought.config:
        body |= _sampling(model_id, request)
    if request.get("stop_sequences"):
        body["stop_sequences"] = request["stop_sequences"]
    if request.get("service_tier"):
        body["service_tier"] = request["service_tier"]
    return body


def _blocks(blocks: list[Block]) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    for block in blocks:
        if "cachePoint" in block:
            _mark_cached(written, block["cachePoint"])
        elif "reasoningContent" in block:
            written += _thought(block["reasoningContent"])
        else:
            written.append(_block(block))
    return written


def _block(block: Block) -> dict[str, Any]:
    if "text" in block:
        if not block["text"].strip():
            raise InvalidRequestError("A text is blank; Claude refuses it. Leave it out.")
        return {"type": "text", "text": block["text"]}
    if "image" in block:
        return _image(block)
    if "toolUse" in block:
        tool_use_id, name, given = tool_use(block)
        # What was cut is kept as a text; the API wants an object.
        given = given if isinstance(given, dict) else {}
        return {"type": "tool_use", "id": tool_use_id, "name": name, "input": given}
    if "toolResult" in block:
        tool_use_id, content, failed = tool_result(block)
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_use_id}
        parts = [part for part in content if "image" in part or part["text"].strip()]
        if parts:
            result["content"] = [_block(part) for part in parts]
        return result | ({"is_error": True} if failed else {})
    raise unknown_block(block)


def _image(block: Block) -> dict[str, Any]:
    media_type, encoded, url = image_source(block)
    if url:
        return {"type": "image", "source": {"type": "url", "url": url}}
    source = {"type": "base64", "media_type": media_type, "data": encoded}
    return {"type": "image", "source": source}


def _thought(content: Any) -> list[dict[str, Any]]:
    """Return earlier reasoning as it has to be sent back; without its proof it is refused."""
    content = content if isinstance(content, dict) else {}
    if content.get("redactedContent"):
        return [{"type": "redacted_thinking", "data": content["redactedContent"]}]
    text = content.get("reasoningText") or {}
    if not text.get("signature"):
        return []
    thought = {"thinking": text.get("text") or "", "signature": text["signature"]}
    return [{"type": "thinking", **thought}]


def _mark_cached(written: list[dict[str, Any]], point: Any) -> None:
    for block in reversed(written):
        if block.get("type") in _CACHED or "input_schema" in block:
            block["cache_control"] = _cache_control(point)
            return


def _cache_control(point: Any) -> dict[str, Any]:
    ttl = point.get("ttl") if isinstance(point, dict) else None
    return {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})


def _tools(request: ChatRequest) -> dict[str, Any]:
    written: list[dict[str, Any]] = []
    for tool in request.get("tools") or ():
        if "cachePoint" in tool:
            _mark_cached(written, tool["cachePoint"])
            continue
        described: dict[str, Any] = {"name": tool["name"]}
        if tool.get("description"):
            described["description"] = tool["description"]
        described["input_schema"] = tool.get("input_schema") or {"type": "object"}
        written.append(described)
    if not written:
        return {}
    body: dict[str, Any] = {"tools": written}
    choice = request.get("tool_choice")
    if choice:
        plain = choice in ("auto", "any", "none")
        body["tool_choice"] = {"type": choice} if plain else {"type": "tool", "name": choice}
    return body


def _forced(tool_choice: Any) -> bool:
    return bool(tool_choice) and tool_choice["type"] in ("any", "tool")


def _sampling(model_id: str, request: ChatRequest) -> dict[str, Any]:
    takes = claude_sampling(model_id)
    given = {"temperature": request.get("temperature"), "top_p": request.get("top_p")}
    given = {name: value for name, value in given.items() if value is not None}
    if takes == "none":
        return {}
    if takes == "one" and "temperature" in given:
        given.pop("top_p", None)
    return given
