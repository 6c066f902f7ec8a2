"""What Anthropic's Messages API is sent, held against the types of its own package."""

from typing import Any

import pytest
from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from pydantic import TypeAdapter

from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.anthropic.messages import Messages

WHOLE = TypeAdapter(MessageCreateParamsNonStreaming)
STREAMED = TypeAdapter(MessageCreateParamsStreaming)
PNG = "iVBORw0KGgo="
OLD, MIDDLE, NEW = "claude-3-7-sonnet-20250219", "claude-opus-4-6", "claude-opus-4-8"


def encode(model: str = MIDDLE, *, stream: bool = False, **request: Any) -> dict[str, Any]:
    request.setdefault("messages", [{"role": "user", "content": "Hi"}])
    body = Messages().encode(model, request, stream=stream)
    (STREAMED if stream else WHOLE).validate_python(body, strict=False)
    return body


def test_the_least_has_a_limit() -> None:
    assert encode() == {
        "model": MIDDLE,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "max_tokens": 4096,
    }
    assert encode(stream=True)["stream"] is True


def test_cache_points_mark_the_block_before_them() -> None:
    hour = {"cachePoint": {"type": "default", "ttl": "1h"}}
    usual = {"cachePoint": {"type": "default"}}
    body = encode(
        system=[{"text": "Long."}, hour],
        tools=[{"name": "clock", "input_schema": {"type": "object"}}, usual],
        messages=[{"role": "user", "content": [usual, {"text": "Hi"}, usual, {"text": "there"}]}],
    )

    five, one = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    assert body["system"] == [{"type": "text", "text": "Long.", "cache_control": one}]
    assert body["tools"][0]["cache_control"] == five
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "Hi", "cache_control": five},
        {"type": "text", "text": "there"},
    ]


def test_a_conversation_with_images_tools_and_thoughts() -> None:
    call = {"toolUseId": "c1", "name": "weather", "input": {"city": "Tromsø"}}
    image = {"image": {"format": "jpg", "source": {"bytes": PNG}}}
    thoughts = [
        {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "sig"}}},
        {"reasoningContent": {"reasoningText": {"text": "unproven"}}},
        {"reasoningContent": {"redactedContent": "xyz="}},
    ]
    result = {
        "toolUseId": "c1",
        "status": "error",
        "content": [{"json": {"c": -4}}, {"text": " "}, image],
    }
    body = encode(
        system="Be brief.",
        messages=[
            {"role": "user", "content": [{"image": {"source": {"url": "https://e.com/a.png"}}}]},
            {"role": "assistant", "content": [*thoughts, {"text": "I ask."}, {"toolUse": call}]},
            {"role": "user", "content": [{"toolResult": result}]},
            {"role": "user", "content": "And?"},
        ],
    )

    shown = {"type": "base64", "media_type": "image/jpeg", "data": PNG}
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "xyz="},
                {"type": "text", "text": "I ask."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Tromsø"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "content": [
                        {"type": "text", "text": '{"c":-4}'},
                        {"type": "image", "source": shown},
                    ],
                    "is_error": True,
                },
                {"type": "text", "text": "And?"},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("any", {"type": "any"}),
        ("none", {"type": "none"}),
        ("clock", {"type": "tool", "name": "clock"}),
    ],
)
def test_tool_choice(choice: str, sent: dict) -> None:
    assert encode(tools=[{"name": "clock"}], tool_choice=choice)["tool_choice"] == sent
    assert "tool_choice" not in encode(tool_choice=choice)


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("claude-3-5-haiku-20241022", {"temperature": 0.2, "top_p": 0.9}),
        ("claude-opus-4-1-20250805", {"temperature": 0.2}),
        ("claude-haiku-4-5", {"temperature": 0.2}),
        (NEW, {}),
        ("claude-fable", {}),
    ],
)
def test_sampling_that_a_model_does_not_take_is_left_out(model: str, sent: dict) -> None:
    body = Messages().encode(
        model,
        {"messages": [{"role": "user", "content": "x"}], "temperature": 0.2, "top_p": 0.9},
        stream=False,
    )

    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == sent


ADAPTIVE = {"type": "adaptive", "display": "summarized"}


def budget(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking", "effort"),
    [
        (OLD, {"max_tokens": 2000}, budget(2000), None),
        (OLD, {"effort": "low"}, budget(1024), None),
        (OLD, {"effort": "high"}, budget(16_384), None),
        (OLD, {"max_tokens": 10}, None, None),
        (OLD, {"effort": "none"}, None, None),
        ("claude-3-5-sonnet-20241022", {"effort": "high"}, None, None),
        (MIDDLE, {"max_tokens": 2000}, budget(2000), None),
        (MIDDLE, {"effort": "medium"}, ADAPTIVE, "medium"),
        (NEW, {"max_tokens": 2000}, ADAPTIVE, None),
        (NEW, {"effort": "minimal"}, ADAPTIVE, "low"),
        (NEW, {"effort": "xhigh"}, ADAPTIVE, "xhigh"),
        ("claude-fable", {"effort": "max"}, ADAPTIVE, "max"),
    ],
)
def test_thinking_in_the_words_of_the_model(
    model: str, reasoning: dict, thinking: dict | None, effort: str | None
) -> None:
    body = encode(model, reasoning=reasoning, **({} if thinking else {"max_tokens": 9}))

    assert body.get("thinking") == thinking
    assert (body.get("output_config") or {}).get("effort") == effort
    if thinking and "budget_tokens" in thinking:
        assert body["max_tokens"] == thinking["budget_tokens"] + 4096


def test_thinking_leaves_out_what_cannot_stand_beside_it() -> None:
    request = {"reasoning": {"max_tokens": 5000}, "max_tokens": 3000, "temperature": 0.1}
    body = Messages().encode(
        OLD, {"messages": [{"role": "user", "content": "x"}], **request}, stream=False
    )
    forced = encode(OLD, reasoning={"max_tokens": 5000}, tools=[{"name": "a"}], tool_choice="any")

    assert (body["thinking"], body["max_tokens"]) == (budget(2999), 3000)
    assert "temperature" not in body
    assert "thinking" not in forced


def test_a_schema_stops_and_additional_fields() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    body = encode(
        output_schema=schema,
        stop_sequences=["END"],
        service_tier="standard_only",
        max_tokens=9,
        additional_fields={"max_tokens": 10, "metadata": {"user_id": "u"}},
    )

    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert body["stop_sequences"] == ["END"]
    assert (body["max_tokens"], body["service_tier"]) == (10, "standard_only")
    assert body["metadata"] == {"user_id": "u"}


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{"role": "assistant", "content": "Hi"}], "user message"),
        ([{"role": "user", "content": "  "}], "blank"),
        ([{"role": "user", "content": [{"hologram": {}}]}], "hologram"),
        ([{"role": "user", "content": [{"image": {}}]}], "no source"),
    ],
)
def test_what_claude_refuses_is_refused_before(messages: list, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        Messages().encode(MIDDLE, {"messages": messages}, stream=False)
