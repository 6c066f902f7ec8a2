"""What a script's answers are made of: texts filled in, pieces that are streamed one by one."""

from __future__ import annotations

import json
import time

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.errors import InvalidRequestError, ProviderError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.domain.answers import AnswerSoFar
    from lambdallm_wire.chat import ChatDelta, ChatRequest, Usage

CHARACTERS_PER_TOKEN = 4
"""The rule of thumb of every tokenizer for English; declared, so that costs can be asserted."""


class Conversation:
    """What a script may refer to."""

    def __init__(self, request: ChatRequest) -> None:
        messages = request.get("messages") or []
        system = [_text_of(request.get("system") or "")]
        said: list[str] = []
        read = system[0]
        for message in messages:
            text = _text_of(message["content"])
            read += text
            if message["role"] == "system":
                system.append(text)
            elif message["role"] == "user":
                said.append(text)
        if not said:
            raise InvalidRequestError(
                "There is no message to answer: give at least one of the user."
            )
        self.tokens = count_tokens(read)
        self._places = {
            "last": said[-1],
            "count": str(len(said)),
            "system": "\n".join(part for part in system if part),
        }

    def fill(self, template: str) -> str:
        """Replace the places; any other brace stays as it is, so that JSON can be an answer."""
        pieces = []
        rest = template
        while rest:
            before, brace, after = rest.partition("{")
            name, closing, beyond = after.partition("}")
            known = bool(closing) and name in self._places
            pieces += [before, self._places[name] if known else brace]
            rest = beyond if known else after
        return "".join(pieces)


def _text_of(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(block.get("text", "")) for block in content)


def count_tokens(text: str) -> int:
    """Return what the rule of thumb makes of a text, at least 1."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


class Piece(NamedTuple):
    """A part of an answer: of a block by its number; `kind` is text, reasoning, tool or input."""

    block: int
    kind: str
    text: str
    tool_use_id: str = ""


class End(NamedTuple):
    """How an answer ends: whole, or with a failure."""

    finish_reason: str
    usage: Usage
    failure: ProviderError | None


class ScriptedStream:
    """A streamed answer from a script.

    Attributes:
        delay_ms: Before each piece.
        failure: Raised when the pieces are used up; None for an answer that ends well.
    """

    def __init__(self, answer: AnswerSoFar, pieces: list[Piece], end: End) -> None:
        """Begin it; nothing has come yet."""
        self.answer = answer
        self.delay_ms = 0
        self.failure = end.failure
        self._pieces = iter(pieces)
        self._left = len(pieces)
        self._end = end
        self._deadline_ms = 0
        self._closed = False

    @property
    def pieces_left(self) -> int:
        """How many pieces are to come."""
        return self._left

    def wait(self) -> None:
        """Wait as long as the script says.

        Raises:
            ProviderError: The deadline comes before that; it is waited for.
        """
        if not self.delay_ms:
            return  # a sleep of nothing takes 0.1 ms
        left_ms = self._deadline_ms - time.time_ns() // 1_000_000
        time.sleep(max(0, min(self.delay_ms, left_ms)) / 1_000)
        if self.delay_ms > left_ms:
            detail = "The script answers later than the deadline allows."
            raise ProviderError(detail, kind="AnswerLost", source="scripted")

    def read(self) -> list[ChatDelta] | None:
        """Return the next piece; None at the end.

        Raises:
            ProviderError: The script cuts it or lets it fail here, or is too slow.
        """
        if self._closed:
            return None
        piece = next(self._pieces, None)
        if piece is not None:
            self._left -= 1
            if self.delay_ms:
                self.wait()
            return [_add(self.answer, piece)]
        if self.failure is not None:
            raise self.failure
        self.answer.finish_reason, self.answer.usage = self._end.finish_reason, self._end.usage
        self.answer.ended = True
        return None

    def extend(self, deadline_ms: int, read_seconds: float) -> None:
        """Give it until another deadline."""
        del read_seconds
        self._deadline_ms = deadline_ms

    def close(self) -> None:
        """End it here."""
        self._closed = True


def _add(answer: AnswerSoFar, piece: Piece) -> ChatDelta:
    if piece.kind == "tool":
        return answer.begin_tool(piece.block, piece.tool_use_id, piece.text)
    if piece.kind == "input":
        return answer.add_tool_input(piece.block, piece.text)
    if piece.kind == "reasoning":
        return answer.add_reasoning(piece.block, piece.text)
    return answer.add_text(piece.block, piece.text)


def pieces_of(answer: dict[str, Any], spoken: Conversation) -> list[Piece]:
    """Return what is streamed of an answer; a text word by word."""
    if "chunks" in answer:
        return [Piece(0, "text", spoken.fill(chunk)) for chunk in answer["chunks"]]
    pieces = []
    for index, block in enumerate(answer.get("content") or [{"text": str(answer.get("text", ""))}]):
        if "toolUse" in block:
            use = block["toolUse"]
            pieces.append(Piece(index, "tool", use["name"], use["toolUseId"]))
            pieces.append(Piece(index, "input", json.dumps(use.get("input", {}))))
        elif "reasoningContent" in block:
            thought = block["reasoningContent"]["reasoningText"]["text"]
            pieces.append(Piece(index, "reasoning", thought))
        else:
            words = spoken.fill(block["text"]).split(" ")
            spaced = [f"{word} " for word in words[:-1]] + [word for word in words[-1:] if word]
            pieces += [Piece(index, "text", word) for word in spaced or [""]]
    return pieces


def shortened(pieces: list[Piece], characters: int) -> list[Piece]:
    """Return what of them fits into so many characters."""
    kept = []
    for piece in pieces:
        if characters <= 0:
            break
        if piece.kind == "tool":
            kept.append(piece)
            continue
        kept.append(piece._replace(text=piece.text[:characters]))
        characters -= len(piece.text)
    return kept
