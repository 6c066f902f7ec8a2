"""The most that a request can use, by its body: what has to be reserved before it is sent.

No tokenizer is asked. A token has one byte at least, so that a text has no more tokens than bytes,
of how the model gets it: some are folded into one form before (NFKC), data is written as JSON;
what is not in the body, or packed in it (a file's id, an address, a PDF), can be as long as the
model reads. Everything is rounded to the side of more: the difference comes back with the answer.

The bodies of all APIs are walked alike: what their fields are called tells them apart well enough,
and a field that nobody knows counts as text.
"""

from __future__ import annotations

from _json import encode_basestring_ascii

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.domain.answer_bounds import answers_of, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    _Waiting: TypeAlias = tuple[Any, str, bool]
    """A list or an object, the name it stands under, and whether everything in it is text."""

ROUND_TOKENS = 2_048
"""Of a request as such: what APIs add of their own where there are tools, and around them."""

PART_TOKENS = 64
"""Of each object in a request: the marks around messages, tools and results."""

MARK_TOKENS = 8
"""Of each field and each thing in a list: quotes, commas, colons, lines."""

TEXT_TOKENS = PART_TOKENS + MARK_TOKENS + len("text")

CLIENT_TOOL_TOKENS = 2_000
"""Of a tool that an API declares and the function carries out: what it tells the model of it.

Source: Anthropic, "Tool use" (245 for bash, 735 for a computer, 1,050 for its latest edition).
"""

CITED = 8
"""Times as many tokens has a text that is cut into sentences with numbers, for citations."""

IMAGE_TOKENS = 6_000
"""Of a picture in the body, which APIs scale down to what they take.

Source: Anthropic, "Vision" (4,784 at most); OpenAI, "Images and vision" (765 to 1,445 with high
detail; families of `MINI_IMAGE_TOKENS` apart); Amazon Nova, "Image understanding" (some 2,600),
2026-11.
"""

MINI_IMAGE_TOKENS = 50_000
"""Of OpenAI's small models, which count a picture more: 2,833 and 5,667 for each of 8 tiles.

Also of pictures in their original size: 10,000 patches, and up to 2.5 tokens for each.
"""

_MINI = ("gpt-4o-mini", "-nano")

TOOL_USES = 10
"""Of a tool on the API's side that has no bound of its own in the request."""

SEARCHES = 1
"""Of a model that searches before each answer, whatever the request says of tools."""

RESEARCHES = 100
"""Of a model that reads on until it has found what it looks for."""

COMPACTIONS = 2
"""Rounds that a request adds which lets the API write a summary of what is too long."""

TOOL_USE_PICO_USD = 35_000_000_000
"""The dearest that is billed by its uses, grounding with a search engine: $35 for 1,000.

Source: prices of OpenAI, Anthropic, Google and Bedrock for web search and grounding, 2026-11.
"""

_ELSEWHERE = frozenset({
    "previous_response_id", "conversation", "file_id", "file_url", "fileUri", "file_uri",
    "s3Location", "container", "container_id", "mcp_servers", "promptVariables",
    "vector_store_ids", "cachedContent", "cached_content", "input_file_id", "connectors",
    "data_sources",
})  # fmt: skip
"""Fields that stand for inputs which are not in the request."""

_PACKED = frozenset({
    "document", "video", "audio", "input_audio", "input_file", "file", "application",
})  # fmt: skip
"""Fields and types whose content is not text, though it may stand in the body."""

_PLAIN_FORMATS = frozenset({"txt", "md", "csv", "html", "text", "text/plain"})

_FUNCTION_TOOLS = frozenset({"function", "custom"})

_CLIENT_TOOLS = ("bash_", "text_editor_", "computer", "memory_", "local_shell", "apply_patch")
"""Tools that an API declares and the function itself carries out."""

_DECLARED = frozenset({
    "toolSpec", "cachePoint", "name", "function", "functionDeclarations", "function_declarations",
    "parameter_definitions",
})  # fmt: skip
"""Fields of tools without a type that the function carries out; others are the API's own."""

_REFERENCES = frozenset({"item_reference", "compaction", "compaction_summary"})
_KEPT = frozenset({
    "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call",
    "mcp_call", "mcp_list_tools", "reasoning",
})  # fmt: skip
"""Items of earlier answers, whose id stands for more than they tell."""

_NAMED = frozenset({"id", "type", "status"})
"""An item of a request that has nothing else stands for one that the API has kept."""

_ADDRESSES = (
    "http:", "https:", "s3:", "gs:", "file:", "data:application", "data:video", "data:audio",
    "data:text",
)  # fmt: skip

_IMAGES = frozenset({"image", "input_image", "image_url"})
_INLINE = frozenset({"inlineData", "inline_data"})

_BILLED_APART = ("inputImage", "singleEmbeddingParams", "segmentedEmbeddingParams")
_PIECES = frozenset({"image", "video", "audio"})
"""Embeddings of what is not text are billed by the picture and by the second.

Source: Bedrock pricing, Titan Multimodal Embeddings and Nova Multimodal Embeddings, 2026-11.
"""

_DATA = frozenset({
    "toolUse", "tool_use", "function_call", "json", "arguments", "input_schema", "inputSchema",
    "parameters", "schema", "output_schema", "functions", "metadata",
})  # fmt: skip
"""Fields and types in which everything is text to the model, whatever it is called there."""

_UNLIMITED = "amazon.nova-2"
_LIMITED_EFFORTS = ("", "none", "minimal", "low", "medium")
"""With more effort it takes no limit: our requests go without, whatever they say of one.

Source: Nova 2 user guide, "Extended thinking", 2026-11.
"""

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
        more_output_tokens: Written beside `output_tokens`, which an API does not count there.
        unpriced: What is billed by prices that are not the model's, "" for nothing.
    """

    input_tokens: int | None
    output_tokens: int | None
    answers: int = 1
    tool_uses: int = 0
    unbounded: str = ""
    more_output_tokens: int = 0
    unpriced: str = ""


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
    answer = answers_of(body)
    unlimited = _UNLIMITED in model_id and _effort(body) not in _LIMITED_EFFORTS
    return Bound(
        None if found.elsewhere else ROUND_TOKENS + found.tokens,
        None if unlimited else answer.tokens,
        answer.answers,
        found.tool_uses,
        found.elsewhere,
        answer.more_tokens,
        found.unpriced,
    )


class _Found:
    """What a walk through a body has met."""

    def __init__(self, model_id: str) -> None:
        self.tokens = 0
        self.tool_uses = SEARCHES if "search" in model_id else 0
        if "deep-research" in model_id:
            self.tool_uses = RESEARCHES
        self.elsewhere = ""
        self.unpriced = ""
        self._picture_tokens = IMAGE_TOKENS
        if any(mark in model_id for mark in _MINI) or model_id.endswith("-mini"):
            self._picture_tokens = MINI_IMAGE_TOKENS

    def walk(self, body: dict[str, Any]) -> None:
        """Count all that is in a body. Not recursive: bodies come from anybody."""
        fields = body.get("additional_fields")  # which stand beside the others on their way
        asked = {**body, **fields} if isinstance(fields, dict) else body
        if asked.get("web_search_options") is not None:
            self.tool_uses += TOOL_USES
        if "context_management" in asked and "compact" in str(asked["context_management"]):
            self.tool_uses += COMPACTIONS
        self._billed_apart(asked)
        waiting: list[_Waiting] = [(body, "", False)]
        while waiting:
            value, name, data = waiting.pop()
            if type(value) is list:
                self.tokens += _of_list(value, name, data, waiting)
                continue
            self.tokens += PART_TOKENS
            if not data:
                said = value.get("type", "")
                said = said if type(said) is str else ""
                data = name in _DATA or said in _DATA
                if not data and self._takes(value, name, said):
                    self.tokens += sum(MARK_TOKENS + _bytes(field) for field in value)
                    continue
            self.tokens += _of_object(value, data, waiting)
        if self.tool_uses:
            self.tool_uses = max(self.tool_uses, whole(asked.get("max_tool_calls")))

    def _billed_apart(self, body: dict[str, Any]) -> None:
        """Find what is billed by other prices than those of the model that is asked."""
        for name in _BILLED_APART:
            part = body.get(name)
            held = _PIECES & part.keys() if isinstance(part, dict) else name == "inputImage"
            if part and held:
                self.unpriced = "pictures, audio or video, which are not billed by the token"
        performance = body.get("performanceConfig")
        if isinstance(performance, dict) and performance.get("latency") == "optimized":
            self.unpriced = "answers at optimized latency, which have a price of their own"
        if body.get("fallbacks"):
            self.unpriced = "other models, which the API asks in its place"

    def _takes(self, part: dict[str, Any], name: str, kind: str) -> bool:
        """Count an object as a whole; False: look at what is in it."""
        if not _ELSEWHERE.isdisjoint(part):
            for field in _ELSEWHERE & part.keys():
                if part[field]:
                    self._elsewhere(f"the field {field!r}")
        if name == "tools":
            self._tool(part, kind)
        elif name == "prompt" and "id" in part:
            self._elsewhere("a stored prompt")
        elif kind in _REFERENCES or (name == "input" and "id" in part and _is_kept(part, kind)):
            self._elsewhere("an item that is referred to")
        if name in _INLINE:
            name = str(part.get("mimeType", part.get("mime_type", ""))).partition("/")[0]
            part = {"source": part.get("data")}
        if name == "image" or kind in _IMAGES:
            return self._image(part)
        if name in _PACKED or kind in _PACKED:
            return self._file(part, kind if kind in _PACKED else name)
        return False

    def _tool(self, part: dict[str, Any], kind: str) -> None:
        """Count a tool that the API uses by itself, between question and answer."""
        if kind in _FUNCTION_TOOLS:
            return
        if kind.startswith(_CLIENT_TOOLS):
            self.tokens += CLIENT_TOOL_TOKENS
            return
        if kind == "image_generation" or (kind and "model" in part):
            self.unpriced = f"the tool {kind!r}, which asks a model of its own"
        if not kind and not _DECLARED.isdisjoint(part):
            return
        self.tool_uses += whole(part.get("max_uses")) or TOOL_USES

    def _image(self, part: dict[str, Any]) -> bool:
        """Count a picture; what else stands in its object is an address or a number."""
        held = part.get("source", part.get("image_url", part))
        detail = part.get("detail")
        if isinstance(held, dict):
            detail = held.get("detail", detail)
            held = held.get("bytes", held.get("data", held.get("url")))
        if isinstance(held, str) and not held[:32].lower().startswith(_ADDRESSES):
            whole = detail == "original"
            self.tokens += MINI_IMAGE_TOKENS if whole else self._picture_tokens
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
        elif part.get("citations"):
            self.tokens += (CITED - 1) * len(str(source).encode("utf-8", "surrogatepass"))
        return not plain

    def _elsewhere(self, what: str) -> None:
        self.elsewhere = self.elsewhere or what


def _of_list(values: list[Any], name: str, data: bool, waiting: list[_Waiting]) -> int:
    """Count what stands in a list itself; lists and objects in it are waited for."""
    tokens = MARK_TOKENS * len(values)
    for each in values:
        kind = type(each)
        if kind is str:
            tokens += _json_length(each) if data else _bytes(each)
        elif name == "content" and kind is dict and _is_text(each):
            tokens += TEXT_TOKENS + _bytes(each["text"])  # what most parts are
        elif kind is dict or kind is list:
            waiting.append((each, name, data))
        else:
            tokens += _number_tokens(each)
    return tokens


def _of_object(part: dict[str, Any], data: bool, waiting: list[_Waiting]) -> int:
    """Count an object's names, and what stands in it itself."""
    tokens = MARK_TOKENS * len(part)
    for name, each in part.items():
        kind = type(each)
        if data:
            tokens += _json_length(name)
            if kind is str:
                tokens += _json_length(each)
                continue
        else:
            tokens += len(name) if name.isascii() else _bytes(name)
        if kind is str:
            tokens += _json_length(each) if name in _DATA else _bytes(each)
        elif kind is dict or kind is list:
            waiting.append((each, name, data))
        else:
            tokens += _number_tokens(each)
    return tokens


def _bytes(text: str) -> int:
    """Return the bytes of a text, or of the longer one that it is folded into."""
    if text.isascii():
        return len(text)
    from unicodedata import is_normalized, normalize

    size = len(text.encode("utf-8", "surrogatepass"))
    if is_normalized("NFKC", text):
        return size
    return max(size, len(normalize("NFKC", text).encode("utf-8", "surrogatepass")))


def _json_length(text: str) -> int:
    """Return the bytes of a text as JSON writes it at its longest, every accent by its number."""
    written = len(encode_basestring_ascii(text))
    return written if text.isascii() else max(written, _bytes(text))


def _is_kept(part: dict[str, Any], kind: str) -> bool:
    """Whether an item with an id stands for more than it tells."""
    return not part.keys() - _NAMED or (kind in _KEPT and not part.get("encrypted_content"))


def _effort(body: dict[str, Any]) -> object:
    reasoning = body.get("reasoning")
    return (reasoning.get("effort") or "") if isinstance(reasoning, dict) else ""


def _is_text(part: dict[str, Any]) -> bool:
    return len(part) == 1 and type(part.get("text")) is str


def _number_tokens(value: Any) -> int:
    return NUMBER_TOKENS + (value.bit_length() // 3 if isinstance(value, int) else 0)
