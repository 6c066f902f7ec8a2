"""A schema for an answer: what a grammar holds, what a sentence says, and what a refusal costs."""

from typing import Any

import jsonschema
import pytest
from anthropic.lib._parse._transform import transform_schema
from hypothesis import given, strategies as st

from fakes.api_server import ApiServer, Reply, load
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.bedrock.models import takes_schema
from lambdallm_extension.providers.output_schemas import grammar, instructed, with_bare_references

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**CITY, "additionalProperties": False}
ASKED: Any = {"messages": [{"role": "user", "content": "Hi"}], "output_schema": CITY}

NOVA = "us.amazon.nova-micro-v1:0"
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize(
    ("schema", "held"),
    [
        (CITY, CLOSED),
        (CLOSED, CLOSED),
        ({"properties": {"a": {"type": "null"}}},
         {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": False}),
        ({"type": "array", "items": CITY, "minItems": 1, "maxItems": 3},
         {"type": "array", "items": CLOSED, "minItems": 1, "description": "(maxItems: 3)"}),
        ({"type": "integer", "minimum": 0, "description": "Years."},
         {"type": "integer", "description": "Years. (minimum: 0)"}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "string", "format": "colour"},
         {"type": "string", "description": '(format: "colour")'}),
        ({"type": "string", "enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"const": 1}, {"const": 1}),
        ({"oneOf": [{"type": "string"}, CITY]}, {"anyOf": [{"type": "string"}, CLOSED]}),
        ({"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"$ref": "#/$defs/C", "$defs": {"C": CITY}},
         {"$ref": "#/$defs/C", "$defs": {"C": CLOSED}}),
        ({"type": "array", "items": {"$ref": "#/$defs/C", "description": "A city."},
          "$defs": {"C": CITY}},
         {"type": "array", "items": {**CLOSED, "description": "A city."}, "$defs": {"C": CLOSED}}),
        ({"type": "boolean", "default": True, "$comment": "x"}, {"type": "boolean"}),
    ],
)  # fmt: skip
def test_a_grammar_holds_what_it_can(schema: dict[str, Any], held: dict[str, Any]) -> None:
    assert grammar(schema) == held


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {**CITY, "additionalProperties": True},
        {**CITY, "patternProperties": {"^x": {}}},
        {"type": "array", "items": {}},
        {"description": "anything"},
        {"type": "object", "properties": {"a": True}},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/T", "$defs": {"T": {**CITY, "properties": {"t": {"$ref": "#/$defs/T"}}}}},
    ],
)
def test_what_no_grammar_can_hold(schema: dict[str, Any]) -> None:
    assert grammar(schema) is None


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "maxLength": 4},
            {"type": "integer", "minimum": 3},
            {"type": "boolean"},
            {"enum": ["a", 1]},
            {"type": "string", "format": "date"},
        ]
    )


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    def around(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        fields = st.dictionaries(st.sampled_from("abc"), inner, min_size=1)
        return st.one_of(
            fields.map(lambda of: {"type": "object", "properties": of, "required": [*of][:1]}),
            inner.map(lambda of: {"type": "array", "items": of}),
            st.lists(inner, min_size=1, max_size=2).map(lambda of: {"anyOf": of}),
        )

    return st.recursive(leaves(), around, max_leaves=6)


@given(schemas())
def test_it_is_what_anthropics_own_package_makes_of_it(schema: dict[str, Any]) -> None:
    def bare(part: Any) -> Any:
        """Without descriptions, whose words are everybody's own."""
        if isinstance(part, dict):
            return {name: bare(each) for name, each in part.items() if name != "description"}
        return [bare(each) for each in part] if isinstance(part, list) else part

    held = grammar(schema)

    assert bare(held) == bare(transform_schema(schema))
    jsonschema.Draft202012Validator.check_schema(held)


@pytest.mark.parametrize(
    ("system", "before"),
    [({}, ""), ({"system": "Be brief."}, "Be brief.\n\n")],
)
def test_a_sentence_stands_behind_the_system_prompt(system: dict[str, Any], before: str) -> None:
    asked = instructed({**ASKED, **system})

    assert "output_schema" not in asked
    assert str(asked["system"]).startswith(f"{before}Answer with one JSON value")
    assert '"city":{"type":"string"}' in str(asked["system"])


def test_it_stands_behind_blocks_too() -> None:
    blocks = [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}]
    asked = instructed({**ASKED, "system": blocks})

    assert asked["system"][:2] == blocks
    assert "JSON schema" in asked["system"][2]["text"]


@pytest.mark.parametrize(
    ("model_id", "takes"),
    [
        (CLAUDE, True),
        ("anthropic.claude-3-haiku-20240307-v1:0", False),
        ("anthropic.claude-opus-4-1-20250805-v1:0", False),
        ("global.anthropic.claude-sonnet-4-6", True),
        (NOVA, False),
        ("us.meta.llama3-3-70b-instruct-v1:0", False),
        ("mistral.mistral-large-3-675b-instruct", True),
        ("us.mistral.pixtral-large-2502-v1:0", False),
        ("qwen.qwen3-32b-v1:0", True),
        ("openai.gpt-oss-120b-1:0", True),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc", False),
    ],
)
def test_which_models_can_be_held_to_it(model_id: str, takes: bool) -> None:
    assert takes_schema(model_id) is takes


def refusal(message: str, status: int = 400) -> Reply:
    body = b'{"message": "%s"}' % message.encode()
    return Reply(status, {"x-amzn-ErrorType": "ValidationException"}, (body,))


FIELD = "This model doesn't support the outputConfig field. Remove outputConfig and try again."


@pytest.mark.parametrize(
    ("provider", "recorded", "variable"),
    [
        ("bedrock", "bedrock_converse.json", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
        ("bedrock-invoke", "bedrock_invoke_claude.json", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
        ("anthropic", "anthropic_messages.json", "ANTHROPIC_BASE_URL"),
        ("openai", "openai_chat.json", "OPENAI_BASE_URL"),
    ],
)
@pytest.mark.parametrize("method", ["chat", "stream"])
def test_a_model_that_refuses_the_field_is_asked_by_a_sentence(
    provider: str, recorded: str, variable: str, method: str, open_named: Any, deadline_ms: int
) -> None:
    model_id = "claude-haiku-4-5" if provider == "anthropic" else CLAUDE
    whole = load(recorded).replies["text" if method == "chat" else "text_stream"]
    words = (
        FIELD if provider == "bedrock" else "output_config.format: Extra inputs (response_format)"
    )
    with ApiServer(refusal(words), whole) as server:
        keys = {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}
        opened = open_named(provider, **{variable: server.url}, **keys)
        for _ in range(2):
            answer = getattr(opened, method)(model_id, ASKED, deadline_ms=deadline_ms)
            if method == "stream":
                answer.close()

    first, *others = [str(asked.json) for asked in server.asked]
    assert "json_schema" in first
    assert len(others) == 2
    for body in others:
        assert "json_schema" not in body
        assert "follows this JSON schema" in body


@pytest.mark.parametrize(
    "words",
    [
        "The compiled grammar is too large, which would cause performance issues.",
        "Schemas contains too many parameters with union types (17 parameters). (limit: 16)",
        "Schemas contains too many optional parameters (27)",
        "Schema is too complex. Please simplify",
        "Unknown name 'additionalProperties' at 'generation_config.response_schema'",
    ],
)
def test_a_schema_that_is_too_much_is_asked_for_by_a_sentence(
    words: str, open_named: Any, deadline_ms: int
) -> None:
    with ApiServer(refusal(words), load("bedrock_converse.json").replies["text"]) as server:
        opened = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
        opened.chat(CLAUDE, ASKED, deadline_ms=deadline_ms)

    assert ["follows this JSON schema" in str(asked.json) for asked in server.asked] == [
        False,
        True,
    ]


def test_a_reference_that_leads_to_itself_is_left_where_it_is() -> None:
    definition = {"type": "object", "properties": {"next": {"$ref": "#/$defs/L", "title": "N"}}}
    bare = with_bare_references({"$ref": "#/$defs/L", "$defs": {"L": definition}})

    inner = bare["$defs"]["L"]["properties"]["next"]
    assert inner["title"] == "N"
    assert inner["properties"]["next"] == {"$ref": "#/$defs/L"}


def test_another_refusal_stays_one(open_named: Any, deadline_ms: int) -> None:
    with ApiServer(refusal("The model is not there.")) as server:
        opened = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
        with pytest.raises(ProviderError, match="not there"):
            opened.chat(CLAUDE, ASKED, deadline_ms=deadline_ms)

    assert len(server.asked) == 1


def test_families_that_take_one_prompt_are_asked_by_a_sentence(
    open_named: Any, deadline_ms: int
) -> None:
    reply = Reply(200, {}, (b'{"generation": "{}", "stop_reason": "stop"}',))
    with ApiServer(reply) as server:
        opened = open_named("bedrock-invoke", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
        opened.chat("meta.llama3-8b-instruct-v1:0", ASKED, deadline_ms=deadline_ms)

    assert "follows this JSON schema" in server.asked[0].json["prompt"]
