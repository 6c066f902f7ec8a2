"""What Bedrock's Converse refuses in a conversation, as a validator for tests.

Written after the API reference ("Converse", "Message", "ToolUseBlock", "ToolResultBlock"), the
words that the service answers with, and Anthropic's "Handle tool calls", 2026-11. Structure
(members, types, lengths) is botocore's own model to judge, `structure_faults`.

    assert not window_faults(window["turns"])            a session's window, before a question
    assert not faults(body["messages"])                  the messages of a request as they leave
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUESTION = {"role": "user", "content": [{"text": "And now?"}]}


def window_faults(turns: Iterable[Any]) -> list[str]:
    """Return what Converse would refuse when a user asks behind this window.

    A window that ends with calls of tools is followed by their results in place of a question.
    Blank texts go out as JSON, as the SDK sends them; messages of the system beside the others.
    """
    messages: list[dict[str, Any]] = []
    for turn in turns:
        if turn["role"] != "system":
            _say(messages, turn["role"], _blocks(turn["content"]))
    first = ["The window begins with an answer."] if _begins_wrong(messages) else []
    calls = _uses(messages[-1]) if messages and messages[-1]["role"] == "assistant" else []
    if calls:
        results = [{"toolResult": {"toolUseId": each, "content": []}} for each in calls]
        _say(messages, "user", results)
    else:
        _say(messages, "user", QUESTION["content"])
    return first + faults(messages) + structure_faults(messages)


def faults(messages: Sequence[Any]) -> list[str]:
    """Return what Converse would refuse in the messages of a request, in its words mostly."""
    if not messages:
        return ["A conversation must have at least one message."]
    found = []
    if messages[0]["role"] != "user":
        found.append("A conversation must start with a user message.")
    if messages[-1]["role"] != "user":
        found.append("A conversation must end with a user message.")
    asked: list[str] = []
    for index, message in enumerate(messages):
        if index and messages[index - 1]["role"] == message["role"]:
            found.append(f"messages.{index}: roles must alternate between user and assistant.")
        found += [f"messages.{index}: {fault}" for fault in _message_faults(message, asked)]
        asked = _uses(message)
    return found


def _message_faults(message: Any, asked: list[str]) -> list[str]:
    found = []
    content = message["content"]
    if not content:
        found.append("the content field is empty.")
    if any("text" in block and not block["text"].strip() for block in content):
        found.append("The text field in the ContentBlock object is blank.")
    uses, results = _uses(message), _results(message)
    if message["role"] == "user" and uses:
        found.append("toolUse blocks can only be given by the assistant.")
    if message["role"] == "assistant" and results:
        found.append("toolResult blocks can only be given by the user.")
    for ids, kind in ((uses, "toolUse"), (results, "toolResult")):
        if len({*ids}) < len(ids):
            found.append(f"contains duplicate {kind} ids.")
    if {*asked} - {*results}:
        found.append(f"Expected toolResult blocks for the ids: {sorted({*asked} - {*results})}")
    if {*results} - {*asked}:
        found.append(
            f"toolResult blocks exceed the toolUse blocks: {sorted({*results} - {*asked})}"
        )
    if any("toolResult" not in block for block in content[: len(results)]):
        found.append("toolResult blocks must come first.")
    return found


def structure_faults(messages: Sequence[Any]) -> list[str]:
    """Return what botocore's model of Converse says of members, types and lengths."""
    from botocore.validate import ParamValidator

    request = {"modelId": "m", "messages": _decoded(list(messages))}
    report = ParamValidator().validate(request, _converse_input())
    return [report.generate_report()] if report.has_errors() else []


@functools.cache
def _converse_input() -> Any:
    import botocore.session

    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    return model.operation_model("Converse").input_shape


def _decoded(value: Any) -> Any:
    """Make bytes of what stands for them in JSON: botocore wants them as they are."""
    if isinstance(value, dict):
        return {
            key: each.encode() if key == "bytes" and isinstance(each, str) else _decoded(each)
            for key, each in value.items()
        }
    return [_decoded(each) for each in value] if isinstance(value, list) else value


def _begins_wrong(messages: list[dict[str, Any]]) -> bool:
    return bool(messages) and (messages[0]["role"] != "user" or bool(_results(messages[0])))


def _say(messages: list[dict[str, Any]], role: str, blocks: list[dict[str, Any]]) -> None:
    if messages and messages[-1]["role"] == role:
        messages[-1]["content"] = messages[-1]["content"] + blocks
    else:
        messages.append({"role": role, "content": blocks})


def _blocks(content: Any) -> list[dict[str, Any]]:
    blocks = [{"text": content}] if isinstance(content, str) else list(content)
    return [
        {"text": json.dumps(block["text"])}
        if "text" in block and not block["text"].strip()
        else block
        for block in blocks
    ]


def _uses(message: Any) -> list[str]:
    return [block["toolUse"]["toolUseId"] for block in message["content"] if "toolUse" in block]


def _results(message: Any) -> list[str]:
    return [
        block["toolResult"]["toolUseId"] for block in message["content"] if "toolResult" in block
    ]
