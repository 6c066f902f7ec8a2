"""What an answer is to follow: by the API's own grammar, or by a sentence.

    a model that has one, a schema that fits it     the API's own field, with what `grammar` returns
    any other                                       the schema in the system prompt (`instructed`)
    a model that refuses the field after all        the same, asked anew: a refusal is not billed

Whoever asks holds the answer against the whole schema. So a grammar may be wider than the schema
where it has to be, and narrower (closed objects) where it may be.
"""

from __future__ import annotations

from lambdallm_extension.errors import ProviderError
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from lambdallm_wire.chat import ChatRequest

    T = TypeVar("T")

_DEFINITIONS = ("$defs", "definitions")
_SCALARS = ("string", "integer", "number", "boolean", "null")
_CHOICES = ("anyOf", "oneOf", "allOf")

_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
"""That the grammars know.

Source: the package anthropic 2.11 (`transform_schema`), platform.claude.com/docs, "Structured
outputs"; Bedrock User Guide, "Get validated JSON results from models"; 2026-11.
"""

_SAID_NOWHERE = frozenset(("$schema", "$id", "$comment", "default", "examples", "discriminator"))
"""What constrains nothing."""

_STATUSES = (400, 422)

_REFUSED_WORDS = (
    "outputconfig",
    "output_config",
    "response_format",
    "text.format",
    "json_schema",
    "structured output",
    "response_schema",
    "compiled grammar",
    "schemas contains too many",
    "too complex",
)
"""What a refusal is about that means the schema, in lower case.

Source: "This model doesn't support the outputConfig field" (Nova, Llama; Converse),
"output_config.format: Extra inputs are not permitted" (litellm #27846), "Invalid parameter:
'response_format' of type 'json_schema' is not supported with this model" (OpenAI), "The compiled
grammar is too large" (anthropic-sdk-python #1185), "Schemas contains too many parameters with union
types" (vercel/ai #17268), "Schema is too complex" (TanStack/ai #686), "generation_config.
response_schema" (Gemini); 2026-11.
"""

_REMEMBERED_MAX = 256
"""Schemas that were refused. One that is forgotten costs a refusal more, and no money."""


class _NotHeldError(Exception):
    """No grammar can hold this schema."""


class SchemaAsker:
    """Asks with a schema, and without the API's own field where that was refused. Threads share it.

    A refusal (400) is made before anything is generated, and is not billed.
    """

    def __init__(self) -> None:
        self._refused: set[str] = set()

    def ask(self, model_id: str, request: ChatRequest, send: Callable[[ChatRequest], T]) -> T:
        """Send a request, and once more with the schema in its prompt where the field is refused.

        Args:
            model_id: As the API knows it.
            request: It may have no schema at all.
            send: Sends it.
        """
        if not request.get("output_schema"):
            return send(request)
        key = f"{model_id}\n{request['output_schema']!r}"
        if key in self._refused:
            return send(instructed(request))
        try:
            return send(request)
        except ProviderError as error:
            if not _is_about_schema(error):
                raise
        if len(self._refused) >= _REMEMBERED_MAX:
            self._refused.clear()
        self._refused.add(key)
        return send(instructed(request))


def _is_about_schema(error: ProviderError) -> bool:
    said = error.detail.lower()
    return error.status in _STATUSES and any(word in said for word in _REFUSED_WORDS)


def instructed(request: ChatRequest) -> ChatRequest:
    """Return a request that asks for its schema in the system prompt, behind what is there."""
    left: Any = {name: value for name, value in request.items() if name != "output_schema"}
    sentence = (
        "Answer with one JSON value that follows this JSON schema, and with nothing else: no "
        f"text around it, no Markdown.\n{plain_json.dumps(request['output_schema'])}"
    )
    system = left.get("system")
    if isinstance(system, (list, tuple)):
        left["system"] = [*system, {"text": sentence}]
    else:
        left["system"] = f"{system}\n\n{sentence}" if system else sentence
    asked: ChatRequest = left
    return asked


def grammar(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a schema as Claude's and Bedrock's grammars take it; None where they can hold none.

    Objects are closed, and bounds that no grammar has go into the description. Free objects,
    anything at all and recursion have no form there.
    """
    try:
        narrowed = _narrow(with_bare_references(schema))
    except _NotHeldError:
        return None
    return None if _is_recursive(narrowed) else narrowed


def with_bare_references(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema whose references stand alone, as APIs want them.

    What a reference leads to takes the place of one with words of its own (a description), which
    win. Where it leads back to itself it stays, without them.
    """
    bare: dict[str, Any] = _bare(schema, schema, ())
    return bare


def _bare(part: Any, root: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(part, list):
        return [_bare(each, root, within) for each in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref")
    if isinstance(reference, str) and part.keys() - _BESIDE_REFERENCES:
        kept = {name: part[name] for name in part if name in _BESIDE_REFERENCES}
        found = None if reference in within else _definition(root, reference)
        if found is None:
            part = kept
        else:
            own = {name: part[name] for name in part if name != "$ref"}
            part, within = {**found, **own}, (*within, reference)
    return {
        name: each if name in _DATA else _bare(each, root, within) for name, each in part.items()
    }


def _definition(root: Mapping[str, Any], reference: str) -> dict[str, Any] | None:
    for place in _DEFINITIONS:
        name = reference.removeprefix(f"#/{place}/")
        found = root.get(place, {}).get(name) if name != reference else None
        if isinstance(found, dict):
            return found
    return None


_BESIDE_REFERENCES = frozenset(("$ref", *_DEFINITIONS))
_DATA = ("enum", "const", "default", "examples")


def _narrow(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise _NotHeldError
    left = {name: value for name, value in schema.items() if name not in _SAID_NOWHERE}
    kept: dict[str, Any] = {}
    for name in _DEFINITIONS:
        if name in left:
            kept[name] = {key: _narrow(each) for key, each in left.pop(name).items()}
    if "$ref" in left:
        kept["$ref"] = _local(left["$ref"])
        return kept
    kinds = left.get("type")
    if isinstance(kinds, list) and "enum" not in left:
        variants = [_narrow({**_of_kind(left, kind), "type": kind}) for kind in kinds]
        return {**kept, "anyOf": variants}
    for name in ("title", "description"):
        if name in left:
            kept[name] = left.pop(name)
    kept |= _shape(left)
    if left:
        beyond = ", ".join(f"{name}: {plain_json.dumps(value)}" for name, value in left.items())
        kept["description"] = " ".join(filter(None, (kept.get("description"), f"({beyond})")))
    return kept


def _of_kind(schema: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return what a schema says of one of its types; the choices stand beside the types then."""
    own = {
        "object": ("properties", "required", "additionalProperties"),
        "array": ("items", "minItems", "maxItems"),
    }
    foreign = {name for other, names in own.items() if other != kind for name in names}
    return {name: value for name, value in schema.items() if name not in foreign}


def _shape(left: dict[str, Any]) -> dict[str, Any]:
    """Take out of a schema what says the kind of its values."""
    said = [left.get("const")] if "const" in left else left.get("enum")
    if isinstance(said, list) and all(map(_is_plain, said)):
        left.pop("type", None)
        name = "const" if "const" in left else "enum"
        return {name: left.pop(name)}
    for name in _CHOICES:
        if name in left:
            choices = [_narrow(each) for each in left.pop(name)]
            return {"allOf" if name == "allOf" else "anyOf": choices}
    return _shape_of_type(left.pop("type", "object" if "properties" in left else None), left)


def _shape_of_type(kind: Any, left: dict[str, Any]) -> dict[str, Any]:
    if kind == "object":
        return _closed(left)
    if kind == "array":
        return {"type": kind, **_items(left)}
    if kind == "string" and left.get("format") in _FORMATS:
        return {"type": kind, "format": left.pop("format")}
    if kind in _SCALARS:
        return {"type": kind}
    raise _NotHeldError


def _closed(left: dict[str, Any]) -> dict[str, Any]:
    properties = left.pop("properties", None)
    others = left.pop("additionalProperties", None)
    open_to_all = others is not False and (others is not None or not properties)
    if open_to_all or "patternProperties" in left:
        raise _NotHeldError
    closed = {
        "type": "object",
        "properties": {name: _narrow(each) for name, each in (properties or {}).items()},
        "additionalProperties": False,
    }
    return closed | ({"required": left.pop("required")} if "required" in left else {})


def _items(left: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if "items" in left:
        kept["items"] = _narrow(left.pop("items"))
    if left.get("minItems") in (0, 1):
        kept["minItems"] = left.pop("minItems")
    return kept


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


def _local(reference: Any) -> str:
    if isinstance(reference, str) and reference.startswith(("#/$defs/", "#/definitions/")):
        return reference
    raise _NotHeldError


def _is_recursive(schema: dict[str, Any]) -> bool:
    """Say whether a definition leads back to itself."""
    uses = {
        f"#/{name}/{key}": set(_references(each))
        for name in _DEFINITIONS
        for key, each in schema.get(name, {}).items()
    }
    while uses:
        ends = {key for key, used in uses.items() if not used & uses.keys()}
        if not ends:
            return True
        uses = {key: used for key, used in uses.items() if key not in ends}
    return False


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [each for part in schema for each in _references(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [each for part in schema.values() for each in _references(part)]
