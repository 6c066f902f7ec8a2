"""A canonical request as the body of OpenAI's Responses API.

Nothing is kept at OpenAI (`store` is false): the conversation is whole in each request. Stop
sequences have no form here, cache points neither: it caches by itself.
Source: API reference, "Create a model response", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.providers.conversation import (
    conversation,
    given,
    image_url,
    text_of,
    tool_result,
    unknown_block,
)
from lambdallm_extension.providers.models import is_openai_reasoning, takes_effort
from lambdallm_extension.providers.openai.chat_request import (
    TOOL_CHOICES,
    call_of,
    function_of,
    is_left_out,
)
from lambdallm_extension.providers.openai.json_schema import described, is_strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import ChatRequest

    Block = dict[str, Any]


def encode(model_id: str, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
    """Make the body.

    Raises:
        InvalidRequestError: Something in the conversation has no form here; says what.
    """
    system, turns = conversation(request)
    items: list[dict[str, Any]] = []
    for role, blocks in turns:
        items += _items(role, blocks)
    body: dict[str, Any] = {"model": model_id, "input": items, "store": False}
    prompt = text_of(system)
    if prompt:
        body["instructions"] = prompt
    if request.get("max_tokens") is not None:
        body["max_output_tokens"] = request["max_tokens"]
    if not is_openai_reasoning(model_id):
        sampling = {"temperature": request.get("temperature"), "top_p": request.get("top_p")}
        body |= given(sampling)
    effort = (request.get("reasoning") or {}).get("effort")
    if effort and takes_effort(model_id):
        body["reasoning"] = {"effort": effort}
    body |= _tools(request)
    schema = request.get("output_schema")
    if schema:
        body["text"] = {"format": {"type": "json_schema", **described(schema)}}
    if request.get("service_tier"):
        body["service_tier"] = request["service_tier"]
    if stream:
        body["stream"] = True
    return body | (request.get("additional_fields") or {})


def _items(role: str, blocks: list[Block]) -> list[dict[str, Any]]:
    """Return the items of one turn; calls of tools and their results are items of their own."""
    items: list[dict[str, Any]] = []
    for block in blocks:
        if "text" in block and role == "assistant":
            # As a list it would need ids of an earlier response.
            items.append({"type": "message", "role": role, "content": block["text"]})
        elif "text" in block:
            _ask(items, {"type": "input_text", "text": block["text"]})
        elif "image" in block and role == "user":
            _ask(items, _image(block))
        elif "toolUse" in block:
            call_id, name, arguments = call_of(block)
            called = {"call_id": call_id, "name": name, "arguments": arguments}
            items.append({"type": "function_call", **called})
        elif "toolResult" in block:
            call_id, content, _ = tool_result(block)
            items.append({"type": "function_call_output", "call_id": call_id, **_output(content)})
        elif not is_left_out(block):
            raise unknown_block(block)
    return items


def _ask(items: list[dict[str, Any]], part: dict[str, Any]) -> None:
    if items and items[-1]["type"] == "message":
        items[-1]["content"].append(part)
    else:
        items.append({"type": "message", "role": "user", "content": [part]})


def _image(block: Block) -> dict[str, Any]:
    return {"type": "input_image", "image_url": image_url(block), "detail": "auto"}


def _output(content: list[Block]) -> dict[str, Any]:
    if all("text" in part for part in content):
        return {"output": "\n".join(part["text"] for part in content)}
    parts = [
        {"type": "input_text", "text": part["text"]} if "text" in part else _image(part)
        for part in content
    ]
    return {"output": parts}


def _tools(request: ChatRequest) -> dict[str, Any]:
    functions = [function_of(tool) for tool in request.get("tools") or () if "name" in tool]
    if not functions:
        return {}
    # Without a word it would be strict here, and refuse many a schema.
    body: dict[str, Any] = {
        "tools": [
            {"type": "function", **function, "strict": is_strict(function["parameters"])}
            for function in functions
        ]
    }
    choice = request.get("tool_choice")
    if choice:
        body["tool_choice"] = TOOL_CHOICES.get(choice, {"type": "function", "name": choice})
    return body
