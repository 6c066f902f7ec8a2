"""What a scripted model answers: the script's entries, and the rules they are played by."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, NamedTuple

CHARACTERS_PER_TOKEN = 4

SAME_AGAIN = ("You said {count} thing(s). The last one was: {last}",)
"""What is answered without a script."""


class Answer(NamedTuple):
    """An answer with more to it than its text. What is None follows the rules of this module.

    Attributes:
        text: As in a script; `{last}` and `{count}` are filled in.
        content: Converse's content blocks, in place of a text.
        stop_reason: Bedrock's word; `max_tokens` by itself where the request's limit cuts.
        input_tokens: Uncached ones, as Bedrock counts them.
        output_tokens, cache_read_tokens, cache_write_tokens: As billed.
        delay_seconds: Before this answer, beside the server's own.
    """

    text: str = ""
    content: list[dict[str, Any]] | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    delay_seconds: float = 0.0


class Failure(NamedTuple):
    """A refusal in place of an answer.

    Attributes:
        status: HTTP status; 0 cuts the connection after the request was read.
        error: Bedrock's name of it, in `x-amzn-ErrorType`.
        message: Its text.
        retry_after: Value of a `Retry-After` header, in seconds.
        body: Sent in place of Bedrock's own shape, to be malformed with.
        cut_after_bytes: Cut the connection after so much of the body.
        delay_seconds: Before this failure, beside the server's own.
    """

    status: int
    error: str = ""
    message: str = "Scripted failure."
    retry_after: float | None = None
    body: bytes | None = None
    cut_after_bytes: int | None = None
    delay_seconds: float = 0.0


Scripted = str | Answer | Failure


def refuse(body: dict[str, Any]) -> Failure | None:
    """Return what Converse itself would refuse the request with, None where it would not."""
    messages = body.get("messages") or []
    roles = [message.get("role") for message in messages]
    reason = ""
    if not messages:
        reason = "The messages field is empty. Add a message, and try again."
    elif roles[0] != "user":
        reason = (
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message."
        )
    elif any(one == next_one for one, next_one in pairwise(roles)):
        reason = (
            "A conversation must alternate between user and assistant roles. Make sure the "
            "conversation alternates between user and assistant roles and try again."
        )
    for index, message in enumerate(messages):
        for place, block in enumerate(message.get("content") or ()):
            if "text" in block and not str(block["text"]).strip():
                reason = (
                    f"The text field in the ContentBlock object at messages.{index}.content."
                    f"{place} is blank. Add text to the text field, and try again."
                )
    return Failure(400, "ValidationException", reason) if reason else None


def make_reply(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Make a Converse reply of an answer: text filled in, tokens counted, the limit kept."""
    text = fill_in(answer.text, body.get("messages", []))
    limit = body.get("inferenceConfig", {}).get("maxTokens")
    stop_reason = answer.stop_reason or "end_turn"
    tokens_out = answer.output_tokens
    if tokens_out is None and limit is not None and count_tokens(text) > limit:
        text, tokens_out = text[: limit * CHARACTERS_PER_TOKEN], limit
        stop_reason = answer.stop_reason or "max_tokens"
    content = [{"text": text}] if answer.content is None else answer.content
    if tokens_out is None:
        tokens_out = count_tokens("".join(block.get("text", "") for block in content))
    tokens_in = answer.input_tokens
    if tokens_in is None:
        system = "".join(block.get("text", "") for block in body.get("system") or ())
        tokens_in = count_tokens(system + "".join(map(_text, body.get("messages", []))))
    usage = {"inputTokens": tokens_in, "outputTokens": tokens_out}
    if answer.cache_read_tokens is not None:
        usage["cacheReadInputTokens"] = answer.cache_read_tokens
    if answer.cache_write_tokens is not None:
        usage["cacheWriteInputTokens"] = answer.cache_write_tokens
    usage["totalTokens"] = sum(usage.values())
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": stop_reason,
        "usage": usage,
        "metrics": {"latencyMs": 1},
    }


def fill_in(answer: str, messages: list[dict[str, Any]]) -> str:
    """Replace `{last}` and `{count}`; other braces stay."""
    spoken = [_text(message) for message in messages if message.get("role") == "user"]
    last = spoken[-1] if spoken else ""
    return answer.replace("{count}", str(len(spoken))).replace("{last}", last)


def count_tokens(text: str) -> int:
    """Count by the rule of this module."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


def _text(message: dict[str, Any]) -> str:
    return "".join(block.get("text", "") for block in message.get("content") or ())


def read_script(text: str) -> list[Scripted]:
    """Read a script: a JSON list of texts, answers and failures.

    Raises:
        ValueError: It is something else.
    """
    entries = json.loads(text)
    if not isinstance(entries, list) or not entries:
        message = "A script is a JSON list of at least one answer."
        raise ValueError(message)
    return [_read_entry(entry) for entry in entries]


def _read_entry(entry: Any) -> Scripted:
    if isinstance(entry, str):
        return entry
    kind = Failure if isinstance(entry, dict) and "status" in entry else Answer
    if not isinstance(entry, dict) or not set(entry) <= set(kind._fields):
        message = f"{entry!r} is neither a text nor an object of Answer's or Failure's fields."
        raise ValueError(message)
    if isinstance(entry.get("body"), str):
        entry = {**entry, "body": entry["body"].encode()}
    return kind(**entry)
