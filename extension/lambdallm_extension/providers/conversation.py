"""A canonical request's conversation, in the order and the roles that every API can take."""

from __future__ import annotations

from lambdallm_extension.errors import InvalidRequestError
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_wire.chat import ChatRequest

    Block = dict[str, Any]
    Turn = tuple[str, list[Block]]

_ROLES = ("user", "assistant")

_IMAGE_TYPES = {"jpg": "jpeg"}
"""Where a format is not the second half of its media type."""


def conversation(request: ChatRequest) -> tuple[list[Block], list[Turn]]:
    """Return the blocks of the system prompt, and the turns, oldest first.

    System messages become part of the system prompt, wherever they stand; neighbours of one role
    become one turn.

    Raises:
        InvalidRequestError: There is nothing to answer, or something else than messages and
            blocks; says which message.
    """
    system = _system(request.get("system"))
    turns: list[Turn] = []
    for index, message in enumerate(request.get("messages") or ()):
        role = message.get("role")
        blocks = _blocks(message.get("content"), index)
        if role == "system":
            system += blocks
        elif role not in _ROLES:
            reason = f"Message {index} has the role {role!r}; known are user, assistant, system."
            raise InvalidRequestError(reason)
        elif turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns:
        raise InvalidRequestError("There is no message to answer: give at least one of the user.")
    return system, turns


def text_of(blocks: list[Block]) -> str:
    """Return the text of blocks that hold nothing else, one paragraph each.

    Raises:
        InvalidRequestError: There is something else in the system prompt.
    """
    for block in blocks:
        if "text" not in block and "cachePoint" not in block:
            reason = f"The system prompt holds {_kind(block)}; it takes text alone."
            raise InvalidRequestError(reason)
    return "\n\n".join(block["text"] for block in blocks if "text" in block)


def image_url(block: Block) -> str:
    """Return where an image is, which may be a `data:` URL.

    Raises:
        InvalidRequestError: It has neither bytes nor a URL.
    """
    media_type, encoded, url = image_source(block)
    return url or f"data:{media_type};base64,{encoded}"


def image_source(block: Block) -> tuple[str, str, str]:
    """Return an image's media type, its bytes as Base64, and its URL; "" for what it has not.

    Raises:
        InvalidRequestError: It has neither bytes nor a URL.
    """
    image = block["image"] if isinstance(block["image"], dict) else {}
    source = image.get("source")
    source = source if isinstance(source, dict) else {}
    encoded, url = source.get("bytes"), source.get("url")
    kind = str(image.get("format") or "png").lower()
    if isinstance(url, str) and url:
        return "", "", url
    if not isinstance(encoded, str) or not encoded:
        raise InvalidRequestError(
            'An image has no source: give {"bytes": Base64 text} or {"url": "https://…"}.'
        )
    return f"image/{_IMAGE_TYPES.get(kind, kind)}", encoded, ""


def tool_result(block: Block) -> tuple[str, list[Block], bool]:
    """Return whose result it is, its content as text and images, and whether the tool failed.

    Raises:
        InvalidRequestError: It names no call, or holds something else.
    """
    result = block["toolResult"] if isinstance(block["toolResult"], dict) else {}
    tool_use_id = result.get("toolUseId")
    if not isinstance(tool_use_id, str) or not tool_use_id:
        raise InvalidRequestError("A toolResult has no toolUseId; take that of the model's call.")
    content = result.get("content")
    parts = [{"text": content}] if isinstance(content, str) else content or []
    blocks: list[Block] = []
    for part in parts:
        if "json" in part:
            blocks.append({"text": as_json(part["json"])})
        elif "text" in part or "image" in part:
            blocks.append(part)
        elif "cachePoint" not in part:
            reason = f"A toolResult holds {_kind(part)}; this API takes text, json and images."
            raise InvalidRequestError(reason)
    return tool_use_id, blocks, result.get("status") == "error"


def tool_use(block: Block) -> tuple[str, str, Any]:
    """Return id, name and input of a tool's call.

    Raises:
        InvalidRequestError: It has no id, or no name.
    """
    call = block["toolUse"] if isinstance(block["toolUse"], dict) else {}
    if not isinstance(call.get("toolUseId"), str) or not isinstance(call.get("name"), str):
        raise InvalidRequestError("A toolUse has no toolUseId, or no name.")
    return call["toolUseId"], call["name"], call.get("input", {})


def as_json(value: object) -> str:
    """Write what a tool was given, or has returned, as a text.

    Raises:
        InvalidRequestError: It cannot be written.
    """
    try:
        return plain_json.dumps(value)
    except (TypeError, ValueError) as error:
        reason = f"What a tool was given or returned is no JSON: {error}"
        raise InvalidRequestError(reason) from error


def given(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that somebody said."""
    return {name: value for name, value in parameters.items() if value is not None}


def unknown_block(block: Block) -> InvalidRequestError:
    """Make the error of a block that an API has no form for."""
    reason = f"This API has no form for {_kind(block)}. Leave it out, or ask another model."
    return InvalidRequestError(reason)


def _system(given: object) -> list[Block]:
    if not given:
        return []
    if isinstance(given, str):
        return [{"text": given}]
    if isinstance(given, list) and all(isinstance(block, dict) for block in given):
        return list(given)
    raise InvalidRequestError("The system prompt is neither a text nor a list of blocks.")


def _blocks(content: object, index: int) -> list[Block]:
    blocks = [{"text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not blocks:
        reason = f"The content of message {index} is neither a text nor a list of content blocks."
        raise InvalidRequestError(reason)
    for block in blocks:
        if not isinstance(block, dict):
            reason = f"Message {index} holds a {type(block).__name__} where a block belongs."
            raise InvalidRequestError(reason)
        if "text" in block and not isinstance(block["text"], str):
            reason = f"Message {index} has a text that is none."
            raise InvalidRequestError(reason)
    return list(blocks)


def _kind(block: Block) -> str:
    names = ", ".join(sorted(map(str, block)))
    return f"a block of {names[:80]}" if names else "an empty block"
