"""A canonical request as the body of OpenAI's chat completions.

    canonical                        chat completions
    system                           a first message of the role `system`
    text, image, toolUse             parts, `image_url`, `tool_calls`
    toolResult                       a message of the role `tool` for each, before the rest
    cachePoint, reasoningContent     left out: it caches by itself, and takes no reasoning back
    max_tokens                       `max_completion_tokens`; of other servers `max_tokens`
    reasoning.effort                 `reasoning_effort`; a number of tokens has no form here

Source: API reference, "Create chat completion", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.conversation import (
    as_json,
    conversation,
    given,
    image_url,
    text_of,
    tool_result,
    tool_use,
    unknown_block,
)
from lambdallm_extension.providers.models import is_openai_reasoning, takes_effort
from lambdallm_extension.providers.openai.json_schema import described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import ChatRequest, Tool

    Block = dict[str, Any]

_LEFT_OUT = ("cachePoint", "reasoningContent")
"""Blocks that OpenAI's APIs have no use for."""


def encode(
    model_id: str, request: ChatRequest, *, stream: bool, compatible: bool = False
) -> dict[str, Any]:
    """Make the body.

    Args:
        model_id: As the API knows it.
        request: The canonical request.
        stream: Whether the answer is to come piece by piece, with its usage at the end.
        compatible: Whether the server is another one that speaks as OpenAI does.

    Raises:
        InvalidRequestError: Something in the conversation has no form here; says what.
    """
    system, turns = conversation(request)
    messages: list[dict[str, Any]] = []
    prompt = text_of(system)
    if prompt:
        messages.append({"role": "system", "content": prompt})
    for role, blocks in turns:
        messages += _answer(blocks) if role == "assistant" else _question(blocks)
    body: dict[str, Any] = {"model": model_id, "messages": messages}
    limit = "max_tokens" if compatible else "max_completion_tokens"
    if request.get("max_tokens") is not None:
        body[limit] = request["max_tokens"]
    body |= _sampling(model_id, request)
    effort = (request.get("reasoning") or {}).get("effort")
    if effort and (compatible or takes_effort(model_id)):
        body["reasoning_effort"] = effort
    body |= _tools(request)
    if request.get("output_schema"):
        schema = described(request["output_schema"])
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.get("service_tier"):
        body["service_tier"] = request["service_tier"]
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body | (request.get("additional_fields") or {})


def function_of(tool: Tool) -> dict[str, Any]:
    """Return a tool as OpenAI describes functions."""
    function: dict[str, Any] = {"name": tool["name"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    function["parameters"] = tool.get("input_schema") or {"type": "object", "properties": {}}
    return function


def call_of(block: Block) -> tuple[str, str, str]:
    """Return id, name and arguments of a tool's call; arguments are a text here.

    Raises:
        InvalidRequestError: It has no id, or no name, or no JSON.
    """
    tool_use_id, name, said = tool_use(block)
    return tool_use_id, name, said if isinstance(said, str) else as_json(said)


def is_left_out(block: Block) -> bool:
    """Say whether a block stays behind without a word."""
    return any(name in block for name in _LEFT_OUT)


def _question(blocks: list[Block]) -> list[dict[str, Any]]:
    """Return the messages of a user's turn: results of tools first, right behind their call."""
    results: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if "toolResult" in block:
            tool_use_id, content, _ = tool_result(block)
            text = "\n".join(part["text"] for part in content if "text" in part)
            results.append({"role": "tool", "tool_call_id": tool_use_id, "content": text})
            # A tool's message holds no image, so what it shows follows as the user's.
            parts += [_part(part) for part in content if "image" in part]
        elif not is_left_out(block):
            parts.append(_part(block))
    if not parts:
        return results
    content_of_turn: Any = parts
    if all(part["type"] == "text" for part in parts) and len(parts) == 1:
        content_of_turn = parts[0]["text"]
    return [*results, {"role": "user", "content": content_of_turn}]


def _answer(blocks: list[Block]) -> list[dict[str, Any]]:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if "text" in block:
            texts.append(block["text"])
        elif "toolUse" in block:
            tool_use_id, name, arguments = call_of(block)
            function = {"name": name, "arguments": arguments}
            calls.append({"id": tool_use_id, "type": "function", "function": function})
        elif not is_left_out(block):
            raise unknown_block(block)
    message: dict[str, Any] = {"role": "assistant"}
    if texts or not calls:
        message["content"] = "".join(texts)
    if calls:
        message["tool_calls"] = calls
    return [message]


def _part(block: Block) -> dict[str, Any]:
    if "text" in block:
        return {"type": "text", "text": block["text"]}
    if "image" in block:
        return {"type": "image_url", "image_url": {"url": image_url(block)}}
    raise unknown_block(block)


def _sampling(model_id: str, request: ChatRequest) -> dict[str, Any]:
    if is_openai_reasoning(model_id):
        return {}
    sampling = {
        "temperature": request.get("temperature"),
        "top_p": request.get("top_p"),
        "stop": request.get("stop_sequences") or None,
    }
    return given(sampling)


def _tools(request: ChatRequest) -> dict[str, Any]:
    tools = [tool for tool in request.get("tools") or () if "name" in tool]
    if not tools:
        return {}
    body: dict[str, Any] = {
        "tools": [{"type": "function", "function": function_of(tool)} for tool in tools]
    }
    choice = request.get("tool_choice")
    if choice:
        named = {"type": "function", "function": {"name": choice}}
        body["tool_choice"] = TOOL_CHOICES.get(choice, named)
    return body


TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
