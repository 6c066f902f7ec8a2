"""A canonical chat request as the body of Bedrock's Converse.

What Converse would refuse is refused here, before anything is sent: an empty conversation, one
that does not begin with the user, a blank text, an image that lies elsewhere.
Source: Bedrock API Reference, "Converse", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.bedrock import reasoning
from lambdallm_extension.providers.bedrock.models import sampling, takes_schema
from lambdallm_extension.providers.conversation import conversation
from lambdallm_extension.providers.output_schemas import grammar, instructed
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.providers.conversation import Block, Turn
    from lambdallm_wire.chat import ChatRequest

SCHEMA_NAME = "answer"
"""Of the schema that an answer is to follow; Converse wants one."""


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body.

    System messages become the system prompt, neighbours of one role become one message, and
    parameters that the model does not take are left out (`temperature` goes before `top_p`). A
    schema that it cannot be held to stands in the system prompt.

    Raises:
        InvalidRequestError: Converse would not take the conversation; says which message.
    """
    schema = request.get("output_schema")
    held = grammar(schema) if schema and takes_schema(model_id) else None
    if schema and held is None:
        request = instructed(request)
    system, turns = conversation(request)
    _check(request)
    if turns[0][0] != "user":
        raise InvalidRequestError(
            "The conversation begins with an assistant message; Bedrock takes only one that "
            "begins with a user message. Drop what stands before the first one."
        )
    messages = [
        {"role": role, "content": [_block(block) for block in turn]} for role, turn in turns
    ]
    body: dict[str, Any] = {"messages": messages}
    if system:
        body["system"] = system
    given = reasoning.fields(model_id, request)
    inference = _inference(model_id, request, given)
    if inference:
        body["inferenceConfig"] = inference
    tools = _tools(request, turns)
    if tools:
        body["toolConfig"] = tools
    given = {**given, **(request.get("additional_fields") or {})}
    if given:
        body["additionalModelRequestFields"] = given
    if request.get("service_tier"):
        body["serviceTier"] = {"type": request["service_tier"]}
    if held is not None:
        described = {"schema": plain_json.dumps(held), "name": SCHEMA_NAME}
        structure = {"type": "json_schema", "structure": {"jsonSchema": described}}
        body["outputConfig"] = {"textFormat": structure}
    return body


def _check(request: ChatRequest) -> None:
    for index, message in enumerate(request["messages"]):
        content = message["content"]
        texts = (
            [content] if isinstance(content, str) else [b["text"] for b in content if "text" in b]
        )
        if not all(text.strip() for text in texts):
            reason = f"Message {index} has a blank text; Bedrock refuses it. Leave the message out."
            raise InvalidRequestError(reason)


def _block(block: Block) -> Block:
    """Return a block as Converse takes it: an image's format by its usual name."""
    image = block.get("image")
    if not isinstance(image, dict):
        return block
    if "url" in (image.get("source") or {}):
        raise InvalidRequestError(
            "Bedrock fetches no image by its URL: give its bytes (Base64), or an s3Location."
        )
    if image.get("format") == "jpg":
        return {**block, "image": {**image, "format": "jpeg"}}
    return block


def _inference(model_id: str, request: ChatRequest, given: dict[str, Any]) -> dict[str, Any]:
    temperature, top_p = request.get("temperature"), request.get("top_p")
    max_tokens = request.get("max_tokens")
    if temperature is not None or top_p is not None:
        takes = "none" if reasoning.forbids_sampling(given) else sampling(model_id)
        if takes == "none":
            temperature = top_p = None
        elif takes == "one" and temperature is not None:
            top_p = None
    if reasoning.forbids_limits(given):
        max_tokens = None
    parameters = {
        "maxTokens": max_tokens,
        "temperature": temperature,
        "topP": top_p,
        "stopSequences": request.get("stop_sequences") or None,
    }
    return {name: value for name, value in parameters.items() if value is not None}


def _tools(request: ChatRequest, turns: list[Turn]) -> dict[str, Any] | None:
    """Return the tools. Converse has no word for `none`: then there are none.

    A conversation that holds calls of tools is refused without them, so then they stay, and the
    model may call one.
    """
    choice = request.get("tool_choice") or ""
    tools = [_tool(tool) for tool in request.get("tools") or ()]
    if not tools or (choice == "none" and not _uses_tools(turns)):
        return None
    config: dict[str, Any] = {"tools": tools}
    if choice in ("auto", "any"):
        config["toolChoice"] = {choice: {}}
    elif choice not in ("", "none"):
        config["toolChoice"] = {"tool": {"name": choice}}
    return config


def _tool(tool: Any) -> dict[str, Any]:
    if "cachePoint" in tool:
        return {"cachePoint": tool["cachePoint"]}
    if not isinstance(tool.get("name"), str):
        raise InvalidRequestError("A tool has no name.")
    spec = {
        "name": tool["name"],
        "inputSchema": {"json": tool.get("input_schema") or {"type": "object", "properties": {}}},
    }
    if tool.get("description"):
        spec["description"] = tool["description"]
    return {"toolSpec": spec}


def _uses_tools(turns: list[Turn]) -> bool:
    return any("toolUse" in block or "toolResult" in block for _, turn in turns for block in turn)
