"""What has come of an answer that is still on its way: its content, its usage, how it ends.

Every reader of a streamed answer fills one of these, whatever the API's form; the pieces that it
returns are what travels on to the SDK, and the whole of it is what a call that is cut leaves
behind. Content has the form of Bedrock's Converse content blocks.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_wire import plain_json
from lambdallm_wire.tokens import NO_USAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm_wire.chat import ChatDelta, Usage

CONTENT_MAX_CHARACTERS = 4_194_304
"""Kept of one answer; the longest outputs of today's models (128,000 tokens) are half a million."""

CHARACTERS_PER_TOKEN = 3
"""To estimate what was generated when nobody says it: rather too many tokens than too few."""


class ChatAnswer(NamedTuple):
    """A provider's answer, in the terms of `lambdallm_wire.chat`.

    Attributes:
        model: The id that answered, where the provider names it; else the one asked.
        raw_usage: The usage in the provider's own form, to be recorded; None where it said none.
        service_tier: What is billed, "" where the provider does not say.
        cost_pico_usd: Where the price book is not to be asked: a provider of the user's own.
    """

    text: str
    content: list[dict[str, object]]
    finish_reason: str
    usage: Usage
    model: str
    provider_request_id: str
    raw_usage: Mapping[str, object] | None = None
    service_tier: str = ""
    cost_pico_usd: int | None = None


class EmbedAnswer(NamedTuple):
    """Vectors in the order of the texts; the rest as of a `ChatAnswer`."""

    vectors: list[list[float]]
    usage: Usage
    model: str
    provider_request_id: str
    raw_usage: Mapping[str, object] | None = None
    cost_pico_usd: int | None = None


class AnswerSoFar:
    """One answer, filled piece by piece.

    Attributes:
        usage: What the API has said last; None while it has said nothing.
        raw_usage: The same in the API's own form, to be recorded.
        finish_reason: In the terms of `lambdallm_wire.chat`; "" while it goes on.
        model: Who answers, "" while the API has not said.
        provider_request_id: The API's own id of the request.
        service_tier: What is billed, "" where the API does not say.
        cost_pico_usd: So far, where the price book is not to be asked; None leaves it to that.
        ended: Whether the API's own mark of the end has come; bytes that end without it were cut.
        truncated: Whether more came than is kept.
    """

    __slots__ = (
        "_blocks",
        "_kept",
        "cost_pico_usd",
        "ended",
        "finish_reason",
        "generated_characters",
        "model",
        "provider_request_id",
        "raw_usage",
        "service_tier",
        "truncated",
        "usage",
    )

    def __init__(self, *, model: str = "", provider_request_id: str = "") -> None:
        """Start with nothing."""
        self._blocks: dict[int, dict[str, Any]] = {}
        self._kept = 0
        self.usage: Usage | None = None
        self.raw_usage: Mapping[str, Any] | None = None
        self.finish_reason = ""
        self.model = model
        self.provider_request_id = provider_request_id
        self.service_tier = ""
        self.cost_pico_usd: int | None = None
        self.ended = False
        self.truncated = False
        self.generated_characters = 0

    def add_text(self, index: int, text: str) -> ChatDelta:
        """Take a piece of text; blocks stand in the order of their indexes."""
        self._keep(index, "text", text)
        return {"text": text}

    def add_reasoning(self, index: int, text: str) -> ChatDelta:
        """Take a piece of what the model thinks aloud."""
        self._keep(index, "reasoning", text)
        return {"reasoning": text}

    def add_signature(self, index: int, signature: str) -> None:
        """Take what proves a piece of reasoning to its model; it has to be sent back with it."""
        self._keep(index, "signature", signature)

    def add_redacted(self, index: int, redacted: str) -> None:
        """Take reasoning that only the model can read, Base64."""
        self._keep(index, "redacted", redacted)

    def begin_tool(self, index: int, tool_use_id: str, name: str) -> ChatDelta:
        """Take the beginning of a call of a tool."""
        _check(index, tool_use_id, name)
        block = self._blocks.setdefault(index, {})
        block["id"], block["name"] = tool_use_id, name
        return {"tool_use": {"index": index, "id": tool_use_id, "name": name}}

    def add_tool_input(self, index: int, text: str) -> ChatDelta:
        """Take a piece of the JSON that a tool is called with."""
        self._keep(index, "input", text)
        return {"tool_input": {"index": index, "json": text}}

    @property
    def text(self) -> str:
        """All of its text so far."""
        return "".join("".join(block.get("text", ())) for _, block in sorted(self._blocks.items()))

    @property
    def content(self) -> list[dict[str, Any]]:
        """Its content blocks so far. The input of a tool that is not whole is the text of it."""
        return [_to_block(block) for _, block in sorted(self._blocks.items())]

    def spent(self) -> tuple[Usage, bool]:
        """Return what was used, and whether its output is an estimate.

        Of an answer that was cut before the API said so, the output is at least what it had said
        last, and what its characters come to.
        """
        usage: Usage = dict(self.usage or NO_USAGE)  # type: ignore[assignment]  # the same keys
        if self.usage is not None and self.ended:
            return usage, False
        estimate = -(-self.generated_characters // CHARACTERS_PER_TOKEN)
        usage["output_tokens"] = max(usage["output_tokens"], estimate)
        return usage, True

    def to_answer(self) -> ChatAnswer:
        """Return it as the whole answer."""
        return ChatAnswer(
            text=self.text,
            content=self.content,
            finish_reason=self.finish_reason or "other",
            usage=self.spent()[0],
            model=self.model,
            provider_request_id=self.provider_request_id,
            raw_usage=self.raw_usage,
            service_tier=self.service_tier,
            cost_pico_usd=self.cost_pico_usd,
        )

    def _keep(self, index: int, part: str, piece: str) -> None:
        if type(index) is not int or type(piece) is not str:
            _check(index, piece)
        length = len(piece)
        self.generated_characters += length
        if self.truncated or self._kept + length > CONTENT_MAX_CHARACTERS:
            self.truncated = True  # from here on: what is kept has no holes
            return
        self._kept += length
        try:
            self._blocks[index][part].append(piece)
        except KeyError:
            self._blocks.setdefault(index, {})[part] = [piece]


def _check(index: object, *texts: object) -> None:
    """Refuse what a broken API may send: it would break whoever reads the answer, later."""
    if not isinstance(index, int):
        message = f"the index of a block is a {type(index).__name__}"
        raise TypeError(message)
    for text in texts:
        if not isinstance(text, str):
            message = f"a {type(text).__name__} where a text belongs"
            raise TypeError(message)


def _to_block(parts: dict[str, Any]) -> dict[str, Any]:
    if "name" in parts:
        return {"toolUse": {**_named(parts), "input": _parsed("".join(parts.get("input", ())))}}
    if "redacted" in parts:
        return {"reasoningContent": {"redactedContent": "".join(parts["redacted"])}}
    if "reasoning" in parts or "signature" in parts:
        thought: dict[str, Any] = {"text": "".join(parts.get("reasoning", ()))}
        if "signature" in parts:
            thought["signature"] = "".join(parts["signature"])
        return {"reasoningContent": {"reasoningText": thought}}
    return {"text": "".join(parts.get("text", ()))}


def _named(parts: dict[str, Any]) -> dict[str, Any]:
    return {"toolUseId": parts["id"], "name": parts["name"]}


def _parsed(text: str) -> Any:
    if not text.strip():
        return {}
    try:
        value = plain_json.loads(text)
        plain_json.dumps(value, allow_nan=False)  # numbers that JSON does not have cannot go on
    except (ValueError, RecursionError):
        return text  # cut, or not what it should be: whoever calls the tool sees it
    return value
