"""What chat completions are sent, held against the types of OpenAI's own package."""

from typing import Any

import pytest
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.openai.chat import ChatCompletions

WHOLE = TypeAdapter(CompletionCreateParamsNonStreaming)
STREAMED = TypeAdapter(CompletionCreateParamsStreaming)

PNG = "iVBORw0KGgo="


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def encode(model: str = "gpt-4.1", *, stream: bool = False, compatible: bool = False, **request):
    request.setdefault("messages", [{"role": "user", "content": "Hi"}])
    body = ChatCompletions(compatible=compatible).encode(model, request, stream=stream)
    (STREAMED if stream else WHOLE).validate_python(body, strict=False)
    return body


def test_the_least() -> None:
    assert encode() == {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]}


def test_a_stream_says_its_usage() -> None:
    body = encode(stream=True)

    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_system_prompts_become_one_first_message() -> None:
    body = encode(
        system=[{"text": "Be brief."}, {"cachePoint": {"type": "default"}}, {"text": "Be kind."}],
        messages=[user({"text": "Hi"}), {"role": "system", "content": "Be quick."}],
    )

    assert body["messages"] == [
        {"role": "system", "content": "Be brief.\n\nBe kind.\n\nBe quick."},
        {"role": "user", "content": "Hi"},
    ]


def test_a_conversation_with_images_and_tools() -> None:
    call = {"toolUseId": "c1", "name": "weather", "input": {"city": "Tromsø"}}
    result = {
        "toolUseId": "c1",
        "content": [
            {"json": {"celsius": -4}},
            {"text": "clear"},
            {"image": {"format": "jpg", "source": {"bytes": PNG}}},
        ],
    }
    body = encode(
        messages=[
            user({"text": "Look"}, {"image": {"format": "png", "source": {"bytes": PNG}}}),
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm"}}},
                    {"text": "I ask."},
                    {"toolUse": call},
                ],
            },
            user({"toolResult": result}, {"cachePoint": {"type": "default"}}, {"text": "And?"}),
            user({"image": {"source": {"url": "https://example.com/a.png"}}}),
        ]
    )

    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I ask.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Tromsø"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"celsius":-4}\nclear'},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}"}},
                {"type": "text", "text": "And?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ],
        },
    ]


def test_an_answer_that_only_calls_has_no_text() -> None:
    call = {"toolUse": {"toolUseId": "c1", "name": "clock", "input": '{"cut'}}
    body = encode(messages=[user({"text": "x"}), {"role": "assistant", "content": [call]}])

    assert body["messages"][1] == {
        "role": "assistant",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": '{"cut'}}
        ],
    }


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("any", "required"),
        ("none", "none"),
        ("clock", {"type": "function", "function": {"name": "clock"}}),
    ],
)
def test_tools(choice: str, sent: object) -> None:
    schema = {"type": "object", "properties": {"zone": {"type": "string"}}}
    body = encode(
        tools=[
            {"name": "clock", "description": "Tells the time.", "input_schema": schema},
            {"cachePoint": {"type": "default"}},
            {"name": "bell"},
        ],
        tool_choice=choice,
    )

    function = {"name": "clock", "description": "Tells the time.", "parameters": schema}
    bell = {"name": "bell", "parameters": {"type": "object", "properties": {}}}
    assert body["tools"] == [
        {"type": "function", "function": function},
        {"type": "function", "function": bell},
    ]
    assert body["tool_choice"] == sent


def test_a_choice_without_tools_is_left_out() -> None:
    assert "tool_choice" not in encode(tool_choice="auto")


STRICT = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"anyOf": [{"type": "null"}]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (STRICT, True),
        ({**STRICT, "required": ["a"]}, False),
        ({**STRICT, "additionalProperties": True}, False),
        ({"type": "object", "properties": {}}, False),
        ({"type": "array", "items": STRICT}, False),
        ({**STRICT, "properties": {"a": {"type": "array", "items": STRICT}, "b": STRICT}}, True),
        ({**STRICT, "properties": {"a": {}, "b": STRICT}}, False),
        ({**STRICT, "properties": {"a": {"oneOf": [STRICT]}, "b": STRICT}}, False),
        ({**STRICT, "properties": {"a": {"anyOf": [STRICT]}, "b": STRICT}}, True),
        ({**STRICT, "properties": {"a": {"anyOf": [{}]}, "b": STRICT}}, False),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({**STRICT, "$defs": {"x": {"type": "object"}}}, False),
        ({**STRICT, "properties": {"a": {"enum": [{"type": "object"}]}, "b": STRICT}}, True),
    ],
)
def test_a_schema_is_strict_where_openai_would_take_it(schema: dict, strict: bool) -> None:
    described = encode(output_schema={"title": "My answer!", **schema})["response_format"]

    assert described["type"] == "json_schema"
    assert described["json_schema"]["name"] == "My_answer_"
    assert described["json_schema"]["strict"] is strict
    assert described["json_schema"]["schema"] == {"title": "My answer!", **schema}


def test_a_reference_with_a_description_is_written_out() -> None:
    inner = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    told = {"$ref": "#/$defs/In", "description": 'The "$ref".'}
    schema = {
        "type": "object",
        "properties": {"$ref": told, "b": {"$ref": "#/$defs/In"}},
        "required": ["$ref", "b"],
        "additionalProperties": False,
        "$defs": {"In": inner},
    }

    sent = encode(output_schema=schema)["response_format"]["json_schema"]

    assert sent["strict"] is True
    assert sent["schema"]["properties"] == {
        "$ref": {**inner, "description": "The \"$ref\"."}, "b": {"$ref": "#/$defs/In"},
    }  # fmt: skip


SAMPLED = {"temperature": 0.2, "top_p": 0.9, "stop_sequences": ["END"], "max_tokens": 7}


@pytest.mark.parametrize(
    "model", ["gpt-4.1", "gpt-4o-mini", "gpt-5-chat-latest", "ft:gpt-4o:me::1"]
)
def test_parameters_of_models_that_sample(model: str) -> None:
    body = encode(model, reasoning={"effort": "high"}, **SAMPLED)

    assert (body["temperature"], body["top_p"], body["stop"]) == (0.2, 0.9, ["END"])
    assert body["max_completion_tokens"] == 7
    assert "reasoning_effort" not in body


@pytest.mark.parametrize(
    "model", ["o1", "o3-mini", "o4-mini", "gpt-5", "gpt-5.2-mini", "gpt-6", "ft:gpt-5:me::1"]
)
def test_parameters_of_models_that_reason(model: str) -> None:
    body = encode(model, reasoning={"effort": "high", "max_tokens": 2000}, **SAMPLED)

    assert not {"temperature", "top_p", "stop", "max_tokens"} & set(body)
    assert body["max_completion_tokens"] == 7
    assert body["reasoning_effort"] == "high"


def test_other_servers_count_by_the_older_name_and_take_what_they_know() -> None:
    body = encode("llama3/8b", compatible=True, reasoning={"effort": "low"}, **SAMPLED)

    assert body["max_tokens"] == 7
    assert "max_completion_tokens" not in body
    assert (body["temperature"], body["reasoning_effort"]) == (0.2, "low")


def test_a_parameter_that_is_zero_is_sent() -> None:
    assert encode(temperature=0)["temperature"] == 0


def test_additional_fields_win() -> None:
    body = encode(
        max_tokens=5,
        service_tier="flex",
        additional_fields={"max_completion_tokens": 9, "seed": 1},
    )

    assert (body["max_completion_tokens"], body["seed"], body["service_tier"]) == (9, 1, "flex")


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([user({"hologram": {}})], "hologram"),
        ([user({"image": {"format": "png"}})], "no source"),
        ([user({"image": {"source": {"s3Location": {"uri": "s3://a/b"}}}})], "no source"),
        ([user({"toolResult": {"content": []}})], "toolUseId"),
        ([user({"toolResult": {"toolUseId": "a", "content": [{"video": 1}]}})], "video"),
        ([user({"text": 7})], "text"),
        ([user({"text": "a"}), {"role": "assistant", "content": [{"image": {}}]}], "image"),
        ([user({"text": "a"}), {"role": "assistant", "content": [{"toolUse": {}}]}], "toolUse"),
        ([{"role": "system", "content": [{"image": {}}]}, user({"text": "a"})], "system prompt"),
    ],
)
def test_what_has_no_form_is_refused_by_name(messages: list, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        ChatCompletions().encode("gpt-4.1", {"messages": messages}, stream=False)
