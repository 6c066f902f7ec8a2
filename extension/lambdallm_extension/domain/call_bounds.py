"""The most that a request can use, by its body: what has to be reserved before it is sent.

No tokenizer is asked. A token has one byte at least, so that a text has no more tokens than bytes;
what is not in the body, or packed in it (a file's id, an address, a PDF), can be as long as the
model reads. Everything is rounded to the side of more: the difference comes back with the answer.

The bodies of all APIs are walked alike: what their fields are called tells them apart well enough,
and a field that nobody knows counts as text.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROUND_TOKENS = 2_048
"""Of a request as such: what APIs add of their own where there are tools, and around them."""

PART_TOKENS = 64
"""Of each object in a request: the marks around messages, tools and results."""

IMAGE_TOKENS = 6_000
"""Of a picture in the body, which APIs scale down to what they take.

Source: Anthropic, "Vision" (4,784 at most); OpenAI, "Images and vision" (765 to 1,445 with high
detail; families of `MINI_IMAGE_TOKENS` apart); Amazon Nova, "Image understanding" (some 2,600),
2026-11.
"""

MINI_IMAGE_TOKENS = 50_000
"""Of OpenAI's small models, which count a picture more: 2,833 and 5,667 for each of 8 tiles."""

TOOL_USES = 10
"""Of a tool on the API's side that has no bound of its own in the request."""

TOOL_USE_PICO_USD = 35_000_000_000
"""The dearest that is billed by its uses, grounding with a search engine: $35 for 1,000.

Source: prices of OpenAI, Anthropic, Google and Bedrock for web search and grounding, 2026-11.
"""

_ANSWERS = ("n", "best_of", "num_generations", "candidateCount", "candidate_count", "numResults")

_OUTPUTS = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens_to_sample",
    "max_gen_len",
    "maxTokens",
    "max_new_tokens",
    "maxTokenCount",
    "maxOutputTokens",
)
_OUTPUTS_IN = ("inferenceConfig", "textGenerationConfig", "generationConfig", "parameters")

_ELSEWHERE = frozenset({
    "previous_response_id", "conversation", "file_id", "file_url", "fileUri", "file_uri",
    "s3Location", "container", "container_id", "mcp_servers", "promptVariables",
    "vector_store_ids", "cachedContent", "cached_content", "input_file_id",
})  # fmt: skip
"""Fields that stand for inputs which are not in the request."""

_PACKED = frozenset({"document", "video", "audio", "input_audio", "input_file", "file"})
"""Fields and types whose content is not text, though it may stand in the body."""

_PLAIN_FORMATS = frozenset({"txt", "md", "csv", "html", "text", "text/plain"})

_FUNCTION_TOOLS = frozenset({"function", "custom", ""})

_IMAGES = frozenset({"image", "input_image", "image_url"})

_DATA = frozenset({
    "toolUse", "tool_use", "function_call", "json", "arguments", "input_schema", "inputSchema",
    "parameters", "schema", "functions", "metadata",
})  # fmt: skip
"""Fields and types in which everything is text to the model, whatever it is called there."""

NUMBER_TOKENS = 32
"""Of a number, true, false or null; whole numbers may be longer."""


class Bound(NamedTuple):
    """The most that one request can use.

    Attributes:
        input_tokens: Of what the body holds; None: as much as the model reads, for `unbounded`.
        output_tokens: Of all answers together, where the request says it.
        answers: How many it asks for.
        tool_uses: Of tools on the API's side, each of which is billed, and read by the model.
        unbounded: What of the input the body does not bound, "" for nothing.
    """

    input_tokens: int | None
    output_tokens: int | None
    answers: int = 1
    tool_uses: int = 0
    unbounded: str = ""


def bound_of(body: Any, model_id: str = "") -> Bound:
    """Return the most that a request can use.

    Args:
        body: As JSON tells it.
        model_id: Where the body does not name the model.
    """
    if not isinstance(body, dict):
        return Bound(None, None, unbounded="a body that is no JSON object")
    found = _Found(str(body.get("model") or model_id))
    found.walk(body)
    answers = max([1, *(_whole(body.get(name)) for name in _ANSWERS)])
    outputs = [_whole(body.get(name)) for name in _OUTPUTS]
    for name in _OUTPUTS_IN:
        held = body.get(name)
        if isinstance(held, dict):
            outputs += [_whole(held.get(each)) for each in _OUTPUTS]
            answers = max([answers, *(_whole(held.get(each)) for each in _ANSWERS)])
    output = max(outputs)
    return Bound(
        None if found.elsewhere else ROUND_TOKENS + found.tokens,
        output * answers if output else None,
        answers,
        found.tool_uses,
        found.elsewhere,
    )


class _Found:
    """What a walk through a body has met."""

    def __init__(self, model_id: str) -> None:
        self.tokens = 0
        self.tool_uses = 0
        self.elsewhere = ""
        small = "gpt-4o-mini" in model_id or "-nano" in model_id or model_id.endswith("-mini")
        self._picture_tokens = MINI_IMAGE_TOKENS if small else IMAGE_TOKENS

    def walk(self, body: dict[str, Any]) -> None:
        """Count all that is in a body. Not recursive: bodies come from anybody."""
        waiting: list[tuple[Any, str, bool]] = [(body, "", False)]
        while waiting:
            value, name, data = waiting.pop()
            if isinstance(value, str):
                self.tokens += _bytes(value)
            elif isinstance(value, list):
                waiting += [(each, name, data) for each in value]
            elif isinstance(value, dict):
                self.tokens += PART_TOKENS + sum(map(_bytes, value))
                data = data or name in _DATA or value.get("type") in _DATA
                if data or not self._takes(value, name):
                    waiting += [(each, field, data) for field, each in value.items()]
            elif isinstance(value, int):
                self.tokens += NUMBER_TOKENS + value.bit_length() // 3
            else:
                self.tokens += NUMBER_TOKENS

    def _takes(self, part: dict[str, Any], name: str) -> bool:
        """Count an object as a whole; False: look at what is in it."""
        kind = part.get("type")
        if not isinstance(kind, str):
            kind = ""
        for field in _ELSEWHERE & part.keys():
            if part[field]:
                self._elsewhere(f"the field {field!r}")
        if name == "tools" and kind not in _FUNCTION_TOOLS:
            self.tool_uses += _whole(part.get("max_uses")) or TOOL_USES
        if name == "prompt" and "id" in part:
            self._elsewhere("a stored prompt")
        if kind == "item_reference":
            self._elsewhere("an item that is referred to")
        if name == "image" or kind in _IMAGES:
            return self._image(part)
        if name in _PACKED or kind in _PACKED:
            return self._file(part, kind if kind in _PACKED else name)
        return False

    def _image(self, part: dict[str, Any]) -> bool:
        """Count a picture; what else stands in its object is an address or a number."""
        held = part.get("source", part.get("image_url", part))
        if isinstance(held, dict):
            held = held.get("bytes", held.get("data", held.get("url")))
        if isinstance(held, str) and not held.startswith(("http:", "https:", "s3:", "gs:")):
            self.tokens += self._picture_tokens
        else:
            self._elsewhere("an image that is not in the request")
        return True

    def _file(self, part: dict[str, Any], name: str) -> bool:
        source = part.get("source")
        plain = part.get("format") in _PLAIN_FORMATS
        if isinstance(source, dict):
            plain = plain or source.get("type") in ("text", "content")
            plain = plain or source.get("media_type") in _PLAIN_FORMATS or "text" in source
        if not plain:
            self._elsewhere(f"the field {name!r}")
        return not plain

    def _elsewhere(self, what: str) -> None:
        self.elsewhere = self.elsewhere or what


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _whole(value: Any) -> int:
    """Return a whole number above 0, 0 for everything else."""
    return value if type(value) is int and value > 0 else 0
