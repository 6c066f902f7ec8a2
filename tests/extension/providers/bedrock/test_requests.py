"""What goes to Converse beside text: each body is one that botocore's model of Bedrock takes."""

import botocore.session
import pytest
from botocore.validate import ParamValidator

from fakes.api_server import ApiServer, load
from lambdallm_extension.errors import InvalidRequestError

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
NOVA_LOW = {"type": "enabled", "maxReasoningEffort": "low"}
NOVA_HIGH = {"type": "enabled", "maxReasoningEffort": "high"}
USER = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA}
USED = [
    USER,
    {
        "role": "assistant",
        "content": [{"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}}],
    },
    {
        "role": "user",
        "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "Rain"}]}}],
    },
]


@pytest.fixture(scope="module")
def model():
    return botocore.session.get_session().get_service_model("bedrock-runtime")


@pytest.fixture
def body_of(open_named, deadline_ms, model):
    """Ask, and return the body that arrived, which botocore has found to be right."""

    def ask(model_id=CLAUDE, **request):
        with ApiServer(load("bedrock_converse.json").replies["text"]) as server:
            provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
            asked = {"messages": [USER], **request}
            provider.chat(model_id, asked, deadline_ms=deadline_ms)
            body = server.asked[0].json
        shape = model.operation_model("Converse").input_shape
        report = ParamValidator().validate({"modelId": model_id, **body}, shape)
        assert not report.has_errors(), report.generate_report()
        assert set(body) <= set(shape.members)
        return body

    return ask


def test_system_blocks_keep_their_order_and_their_cache_points(body_of):
    blocks = [{"text": "Be kind."}, {"cachePoint": {"type": "default", "ttl": "1h"}}]

    body = body_of(system=blocks, messages=[{"role": "system", "content": "Be brief."}, USER])

    assert body["system"] == [*blocks, {"text": "Be brief."}]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", {"auto": {}}),
        ("any", {"any": {}}),
        ("weather", {"tool": {"name": "weather"}}),
    ],
)
def test_tools_and_what_is_to_be_chosen(body_of, choice, expected):
    request = {"tools": [WEATHER, {"cachePoint": {"type": "default"}}]}
    if choice:
        request["tool_choice"] = choice

    config = body_of(**request)["toolConfig"]

    spec = {"name": "weather", "description": "Tells it.", "inputSchema": {"json": SCHEMA}}
    assert config["tools"] == [{"toolSpec": spec}, {"cachePoint": {"type": "default"}}]
    assert config.get("toolChoice") == expected


def test_no_tool_is_to_be_called(body_of):
    assert "toolConfig" not in body_of(tools=[WEATHER], tool_choice="none")
    config = body_of(tools=[WEATHER], tool_choice="none", messages=USED)["toolConfig"]
    assert "toolChoice" not in config, "without its tools a conversation with calls is refused"


def test_a_tool_without_a_schema_takes_nothing(body_of):
    (tool,) = body_of(tools=[{"name": "clock"}])["toolConfig"]["tools"]

    assert tool["toolSpec"]["inputSchema"]["json"] == {"type": "object", "properties": {}}


def test_images_go_as_they_are_with_their_format_spelled_out(body_of):
    image = {"image": {"format": "jpg", "source": {"bytes": "AAECAw=="}}}

    body = body_of(messages=[{"role": "user", "content": [image, {"text": "What is it?"}]}])

    sent = body["messages"][0]["content"][0]["image"]
    assert sent == {"format": "jpeg", "source": {"bytes": "AAECAw=="}}


def test_a_schema_for_the_answer(body_of):
    form = body_of(output_schema=SCHEMA)["outputConfig"]["textFormat"]

    assert form["type"] == "json_schema"
    assert form["structure"]["jsonSchema"] == {
        "name": "answer",
        "schema": '{"type":"object","properties":{"city":{"type":"string"}},'
        '"additionalProperties":false,"required":["city"]}',
    }


def test_a_service_tier_and_fields_that_have_no_name_here(body_of):
    body = body_of(service_tier="flex", additional_fields={"top_k": 40})

    assert body["serviceTier"] == {"type": "flex"}
    assert body["additionalModelRequestFields"] == {"top_k": 40}


@pytest.mark.parametrize(
    ("model_id", "reasoning", "expected"),
    [
        (
            CLAUDE,
            {"max_tokens": 2_000},
            {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
        ),
        (
            "global.anthropic.claude-opus-4-7",
            {"effort": "high"},
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "high"},
            },
        ),
        (NOVA, {"effort": "low"}, {"reasoningConfig": NOVA_LOW}),
        (NOVA, {"effort": "xhigh"}, {"reasoningConfig": NOVA_HIGH}),
        (NOVA, {"max_tokens": 2_000}, None),
        ("openai.gpt-oss-120b-1:0", {"effort": "low"}, {"reasoning_effort": "low"}),
        ("openai.gpt-oss-120b-1:0", {"effort": "none"}, None),
        ("us.amazon.nova-lite-v1:0", {"effort": "low"}, None),
        ("anthropic.claude-3-haiku-20240307-v1:0", {"effort": "low"}, None),
        ("us.meta.llama4-scout-17b-instruct-v1:0", {"effort": "low"}, None),
    ],
)
def test_reasoning_in_the_words_of_the_family(body_of, model_id, reasoning, expected):
    body = body_of(model_id, reasoning=reasoning)

    assert body.get("additionalModelRequestFields") == expected


def test_what_a_user_says_of_the_model_goes_before_what_we_say(body_of):
    given = {"thinking": {"type": "disabled"}}

    body = body_of(reasoning={"effort": "low"}, additional_fields=given)

    assert body["additionalModelRequestFields"]["thinking"] == {"type": "disabled"}


def test_sampling_that_thinking_forbids_is_left_out(body_of):
    asked = {"temperature": 0.5, "top_p": 0.5, "max_tokens": 9_000}

    claude = body_of(reasoning={"effort": "low"}, **asked)
    nova_high = body_of(NOVA, reasoning={"effort": "high"}, **asked)
    nova_low = body_of(NOVA, reasoning={"effort": "low"}, **asked)

    assert claude["inferenceConfig"] == {"maxTokens": 9_000}
    assert "inferenceConfig" not in nova_high
    assert nova_low["inferenceConfig"] == {"maxTokens": 9_000, "temperature": 0.5, "topP": 0.5}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"image": {"format": "png", "source": {"url": "https://a"}}}],
                    }
                ]
            },
            "URL",
        ),
        ({"tools": [{"description": "nameless"}]}, "no name"),
        ({"tools": [5]}, "form that it should have"),
        ({"system": 5}, "system prompt"),
        ({"reasoning": 5}, "form that it should have"),
        ({"output_schema": {"a": {1}}}, "form that it should have"),
    ],
)
@pytest.mark.parametrize("method", ["chat", "stream"])
def test_what_cannot_be_asked_is_refused_before_it_is_sent(
    bedrock, deadline_ms, method, request_, words
):
    provider = bedrock("ok")

    with pytest.raises(InvalidRequestError, match=words):
        getattr(provider, method)(CLAUDE, {"messages": [USER], **request_}, deadline_ms=deadline_ms)

    assert provider.server.requests == []
