"""What providers of the user's own return, in the form of `lambdallm_wire.chat.Performed`."""

from __future__ import annotations

from math import isfinite

from lambdallm import _errors
from lambdallm._models import ModelResponse
from lambdallm_wire import plain_json
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

PICO_USD = 1_000_000_000_000

_PASSED_ON = ("finish_reason", "model", "provider_request_id")


class Pieces:
    """What has come of a streamed answer."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools: dict[Any, dict[str, Any]] = {}
        self._facts: dict[str, Any] = {}
        self.begun = False

    def take(self, piece: Any) -> list[dict[str, Any]]:
        """Keep a piece, and return it in the form of `lambdallm_wire.chat.ChatDelta`."""
        if isinstance(piece, str):
            piece = {"text": piece}
        if not isinstance(piece, dict):
            message = f"A piece of an answer is a text or a dict, not {type(piece).__name__}."
            raise _errors.OutputError(message)
        passed: list[dict[str, Any]] = []
        for kind, value in piece.items():
            if kind == "text":
                self._text.append(value)
            elif kind == "reasoning":
                self._reasoning.append(value)
            elif kind == "tool_use":
                self._tools[value["index"]] = {**value, "json": ""}
            elif kind == "tool_input":
                self._tools[value["index"]]["json"] += value["json"]
            else:
                self._facts[kind] = value
                continue
            if value:
                passed.append({kind: value})
        self.begun = self.begun or bool(passed)
        return passed

    def to_performed(self) -> dict[str, Any]:
        """Return the whole of it."""
        content: list[dict[str, Any]] = []
        if self._reasoning:
            thought = {"text": "".join(self._reasoning)}
            content.append({"reasoningContent": {"reasoningText": thought}})
        if self._text or not self._tools:
            content.append({"text": "".join(self._text)})
        content += [
            {
                "toolUse": {
                    "toolUseId": tool["id"],
                    "name": tool["name"],
                    "input": _input_of(tool["json"]),
                }
            }
            for _, tool in sorted(self._tools.items())
        ]
        return from_chat({"content": content, **self._facts})


def _input_of(text: str) -> Any:
    """Return what a tool is called with; of JSON that is cut or wrong its text."""
    try:
        return plain_json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text


def to_pieces(content: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Say a whole answer as pieces: a fallback's, which was not streamed."""
    for index, block in enumerate(content):
        if block.get("text"):
            yield {"text": block["text"]}
        elif "toolUse" in block:
            tool = block["toolUse"]
            yield {"tool_use": {"index": index, "id": tool["toolUseId"], "name": tool["name"]}}
            yield {"tool_input": {"index": index, "json": plain_json.dumps(tool["input"])}}


def from_chat(said: Any) -> dict[str, Any]:
    """Turn what `chat` returned into a `lambdallm_wire.chat.Performed`."""
    if isinstance(said, str):
        said = {"text": said}
    elif isinstance(said, ModelResponse):
        said = _fields_of(said)
    if not isinstance(said, dict) or not ("text" in said or "content" in said):
        message = (
            "A provider's chat() returns a text, a ModelResponse, or a dict with 'text' or "
            f"'content', not {type(said).__name__}."
        )
        raise _errors.OutputError(message)
    content = said.get("content")
    if content is None:
        content = [{"text": said["text"]}]
    text = said.get("text")
    if text is None:
        text = "".join(block.get("text", "") for block in content)
    tools = any("toolUse" in block for block in content)
    performed: dict[str, Any] = {
        "text": text,
        "content": content,
        "finish_reason": "tool_calls" if tools else "stop",
        **_spent(said),
    }
    return performed | _passed_on(said)


def from_embed(said: Any) -> dict[str, Any]:
    """Turn what `embed` returned into a `lambdallm_wire.chat.Performed`."""
    told = said if isinstance(said, dict) else {"vectors": said}
    try:
        vectors = [[*map(float, vector)] for vector in told["vectors"]]
    except (KeyError, TypeError, ValueError) as error:
        message = (
            "A provider's embed() returns a list of vectors, each a list of numbers, or a dict "
            f"with 'vectors', not {type(said).__name__} ({type(error).__name__}: {error})."
        )
        raise _errors.OutputError(message) from error
    if not all(all(map(isfinite, vector)) for vector in vectors):
        message = "A provider's embed() returned a vector that has NaN or an infinity in it."
        raise _errors.OutputError(message)
    return {"vectors": vectors, **_spent(told), **_passed_on(told)}


def _fields_of(response: ModelResponse) -> dict[str, Any]:
    """A cost of 0 is that class's default, and says nothing."""
    fields: dict[str, Any] = {
        "text": response.content,
        "model": response.model_id,
        "usage": {"input_tokens": response.tokens_in, "output_tokens": response.tokens_out},
    }
    return fields | ({"cost_usd": response.cost_usd} if response.cost_usd else {})


def _passed_on(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said[name] for name in _PASSED_ON if said.get(name)}


def _spent(said: Mapping[str, Any]) -> dict[str, Any]:
    usage = dict(said.get("usage") or {})
    if "input_tokens" in usage:
        usage.setdefault("uncached_input_tokens", usage["input_tokens"])
    spent: dict[str, Any] = {
        "usage": {name: int(usage.get(name, 0)) for name in NO_USAGE},
    }
    if said.get("cost_pico_usd") is not None:
        spent["cost_pico_usd"] = int(said["cost_pico_usd"])
    elif said.get("cost_usd") is not None:
        spent["cost_pico_usd"] = round(float(said["cost_usd"]) * PICO_USD)
    return spent
