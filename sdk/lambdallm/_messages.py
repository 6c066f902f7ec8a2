"""What is said to a model and what it answers: messages, a prompt's variables, an answer."""

from __future__ import annotations

import json
import re
from _string import formatter_parser  # type: ignore[import-not-found]  # `str.format` reads with it

from lambdallm import _settings
from lambdallm_wire import turns
from lambdallm_wire.tokens import input_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from lambdallm_wire.chat import Usage

PICO_USD = 1_000_000_000_000
"""Pico-USD in a dollar: every token price is a whole number of them."""

_VARIABLE = re.compile(r"\{(\w+)\}")


class Message:
    """One message of a conversation.

    Attributes:
        role: `user`, `assistant` or `system`.
        content: Text, or blocks in the form of Bedrock's Converse.
        timestamp: Epoch seconds.
        metadata: Stored beside it.
        pinned: Whether it stays in every window.
    """

    pinned = False

    def __init__(
        self,
        role: str,
        content: Any,
        timestamp: float | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        pinned: bool = False,
    ) -> None:
        """Make one, now if no time is given."""
        self.role = role
        self.content = content
        self.timestamp = _settings.epoch_ms() / 1_000 if timestamp is None else timestamp
        self.metadata = {} if metadata is None else metadata
        if pinned:
            self.pinned = True

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Message:
        """Make one from `to_dict`'s result."""
        return cls(
            fields["role"],
            fields["content"],
            fields.get("timestamp"),
            fields.get("metadata"),
            pinned=fields.get("pinned") is True,
        )

    def to_turn(self) -> dict[str, Any]:
        """Return it as a turn on the wire (`lambdallm_wire.sessions`)."""
        turn = {
            "role": self.role,
            "content": self.content,
            "metadata": self.metadata,
            "at_epoch_ms": round(self.timestamp * 1_000),
        }
        return {**turn, "pinned": True} if self.pinned else turn

    @classmethod
    def from_turn(cls, turn: Mapping[str, Any]) -> Message:
        """Make one from a turn; content of which nobody could make anything becomes its JSON."""
        content = turn["content"]
        if turns.content_fault_of(content) is not None:
            content = json.dumps(content, ensure_ascii=False)
        pinned = turn.get("pinned") is True
        at = turn["at_epoch_ms"] / 1_000
        return cls(turn["role"], content, at, turn["metadata"], pinned=pinned)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Message(role={self.role!r}, content={self.content!r})"


class History(str):  # noqa: SLOT000 - it carries its messages
    """A conversation as text, that still knows its messages.

    Given to `context.invoke`, it asks the model with the messages and their roles; put into a
    longer text, it is the text alone.
    """

    messages: tuple[dict[str, Any], ...]

    def __new__(cls, messages: Iterable[Mapping[str, Any]]) -> History:
        """Make the text, one line a message: `role: content`."""
        kept = tuple(dict(message) for message in messages)
        history = super().__new__(cls, flatten(kept))
        history.messages = kept
        return history


class ToolCall:
    """A tool that the model wants to be called.

    Attributes:
        name: The tool's.
        id: Goes back with the result, as `toolUseId`.
        input: What to call it with; a text where the answer was cut, so that it is no JSON.
    """

    __slots__ = ("id", "input", "name")

    def __init__(self, name: str, id: str, input: Any) -> None:  # noqa: A002 - the API's names
        """Keep the three."""
        self.name = name
        self.id = id
        self.input = input

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToolCall) and (self.name, self.id, self.input) == (
            other.name,
            other.id,
            other.input,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ToolCall(name={self.name!r}, id={self.id!r}, input={self.input!r})"


class ChatResponse:
    """What a model answered.

    Attributes:
        text: The answer's text.
        content: The answer as blocks in the form of Bedrock's Converse.
        usage: Tokens in disjoint counts.
        cost_pico_usd: Exact; None when no price is known for the model.
        finish_reason: `stop`, `length`, `tool_calls`, `content_filter` or `other`.
        attempts: How often it was asked until it answered.
        call_id: Key of the call's record.
    """

    __slots__ = (
        "attempts",
        "call_id",
        "content",
        "cost_pico_usd",
        "finish_reason",
        "latency_ms",
        "model",
        "text",
        "usage",
    )

    def __init__(self, reply: Mapping[str, Any]) -> None:
        """Keep what came back (`lambdallm_wire.chat.ChatResponse`)."""
        self.text: str = reply["text"]
        self.model: str = reply["model"]
        self.usage: Usage = reply["usage"]
        self.cost_pico_usd: int | None = reply["cost_pico_usd"]
        self.finish_reason: str = reply["finish_reason"]
        self.latency_ms: float = reply["latency_ms"]
        self.content: list[dict[str, Any]] = reply["content"]
        self.attempts: int = reply["attempts"]
        self.call_id: str = reply["call_id"]

    @property
    def cost_usd(self) -> float | None:
        """The cost in dollars; None when it is not known."""
        return None if self.cost_pico_usd is None else self.cost_pico_usd / PICO_USD

    @property
    def input_tokens(self) -> int:
        """Tokens read, cached ones included."""
        return input_tokens(self.usage)

    @property
    def output_tokens(self) -> int:
        """Tokens written."""
        return self.usage["output_tokens"]

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tools that the model wants to be called, in its order."""
        used = [block["toolUse"] for block in self.content if "toolUse" in block]
        return [ToolCall(each["name"], each["toolUseId"], each["input"]) for each in used]

    @property
    def reasoning(self) -> str:
        """What the model has thought aloud, where it shows that."""
        thoughts = [block.get("reasoningContent", {}) for block in self.content]
        return "".join(each.get("reasoningText", {}).get("text", "") for each in thoughts)


def flatten(messages: Iterable[Mapping[str, Any]]) -> str:
    """Return a conversation as text, one line a message."""
    return "\n".join(f"{each['role']}: {text_of(each['content'])}" for each in messages)


def text_of(content: Any) -> str:
    """Return the text of a message's content; blocks of other kinds are named."""
    if isinstance(content, str):
        return content
    if turns.content_fault_of(content) is not None:
        return json.dumps(content, ensure_ascii=False, default=str)
    return " ".join(block.get("text", f"[{next(iter(block))}]") for block in content)


def to_messages(prompt: Any) -> list[dict[str, Any]]:
    """Turn what `invoke` and `chat` take into messages.

    Raises:
        TypeError: It is neither text nor a list of messages.
    """
    if isinstance(prompt, History):
        return _without_blanks([dict(message) for message in prompt.messages])
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, (list, tuple)):
        return _without_blanks([_to_message(each) for each in prompt])
    message = f"A prompt is a string or a list of messages, not {type(prompt).__name__}."
    raise TypeError(message)


def _without_blanks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write blank texts as JSON, but for the last one, which is new and may be refused.

    Models refuse blank texts. One that was said in a conversation, as an answer that is empty
    can be, would be in the way of everything that is said in it later.
    """
    for message in messages[:-1]:
        content = message["content"]
        if isinstance(content, str) and not content.strip():
            message["content"] = json.dumps(content)
        elif isinstance(content, (list, tuple)):
            message["content"] = [_without_blank(block) for block in content]
    return messages


def _without_blank(block: Any) -> Any:
    if isinstance(block, dict) and isinstance(block.get("text"), str) and not block["text"].strip():
        return {**block, "text": json.dumps(block["text"])}
    return block


def _to_message(each: Any) -> dict[str, Any]:
    if isinstance(each, Message):
        return {"role": each.role, "content": each.content}
    if isinstance(each, dict) and "role" in each and "content" in each:
        return {"role": each["role"], "content": each["content"]}
    message = 'A message is {"role": "user", "content": "…"}.'
    raise TypeError(message)


def substitute(template: str, variables: Mapping[str, Any]) -> str:
    """Put variables into a template.

    A template that `str.format` would take, with nothing but the names of given variables, is
    formatted by it (`{{` is a brace, `{price:.2f}` works). In any other, such as one with
    literal JSON in it, each `{name}` of a given variable is replaced and the rest stays as it
    is. Attributes and indexes are never followed: a template may hold somebody's text.
    """
    if _is_format(template, variables):
        return template.format(**variables)
    return _VARIABLE.sub(
        lambda found: str(variables[found[1]]) if found[1] in variables else found[0], template
    )


def names_in(prompt: Any) -> set[str]:
    """Return the names that a prompt has a place for, as `substitute` finds them."""
    if not isinstance(prompt, str) or isinstance(prompt, History):
        return set()
    try:
        fields = [*formatter_parser(prompt)]
    except ValueError:
        fields = [("", None, "{", None)]
    if any("{" in (spec or "") for _, _, spec, _ in fields):
        return set(_VARIABLE.findall(prompt))
    return {name for _, name, _, _ in fields if name}


def _is_format(template: str, variables: Mapping[str, Any]) -> bool:
    try:
        return all(
            name is None or (name in variables and "{" not in (spec or ""))
            for _, name, spec, _ in formatter_parser(template)
        )
    except ValueError:
        return False
