"""A canonical chat request as the body of Bedrock's Converse.

What Converse would refuse is refused here, before anything is sent: an empty conversation, one
that does not begin with the user, a blank text.
Source: Bedrock API Reference, "Converse", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.bedrock.models import sampling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import ChatRequest

    Block = dict[str, Any]

_ROLES = ("user", "assistant")


def encode(model_id: str, request: ChatRequest) -> dict[str, Any]:
    """Make the body.

    System messages become the system prompt, neighbours of one role become one message, and
    sampling parameters that the model does not take together are left out (`temperature` stays).

    Raises:
        InvalidRequestError: Converse would not take the conversation; says which message.
    """
    system, messages = _conversation(request)
    body: dict[str, Any] = {"messages": messages}
    if system:
        body["system"] = system
    inference = _inference(model_id, request)
    if inference:
        body["inferenceConfig"] = inference
    return body


def _conversation(request: ChatRequest) -> tuple[list[Block], list[dict[str, Any]]]:
    system: list[Block] = [{"text": request["system"]}] if request.get("system") else []
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(request.get("messages") or ()):
        role = message.get("role")
        blocks = _blocks(message.get("content"), index)
        if role == "system":
            system += blocks
        elif role not in _ROLES:
            reason = f"Message {index} has the role {role!r}; known are user, assistant, system."
            raise InvalidRequestError(reason)
        elif messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})
    if not messages:
        raise InvalidRequestError("There is no message to answer: give at least one of the user.")
    if messages[0]["role"] != "user":
        raise InvalidRequestError(
            "The conversation begins with an assistant message; Bedrock takes only one that "
            "begins with a user message. Drop what stands before the first one."
        )
    return system, messages


def _blocks(content: object, index: int) -> list[Block]:
    blocks = [{"text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not blocks:
        reason = f"The content of message {index} is neither a text nor a list of content blocks."
        raise InvalidRequestError(reason)
    for block in blocks:
        if not isinstance(block, dict):
            reason = f"Message {index} holds a {type(block).__name__} where a block belongs."
            raise InvalidRequestError(reason)
        if "text" in block and not (isinstance(block["text"], str) and block["text"].strip()):
            reason = f"Message {index} has a blank text; Bedrock refuses it. Leave the message out."
            raise InvalidRequestError(reason)
    return list(blocks)


def _inference(model_id: str, request: ChatRequest) -> dict[str, Any]:
    temperature, top_p = request.get("temperature"), request.get("top_p")
    if temperature is not None or top_p is not None:
        takes = sampling(model_id)
        if takes == "none":
            temperature = top_p = None
        elif takes == "one" and temperature is not None:
            top_p = None
    given = {
        "maxTokens": request.get("max_tokens"),
        "temperature": temperature,
        "topP": top_p,
        "stopSequences": request.get("stop_sequences") or None,
    }
    return {name: value for name, value in given.items() if value is not None}
