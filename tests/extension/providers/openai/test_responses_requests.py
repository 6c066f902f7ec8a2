"""What the Responses API is sent, held against the types of OpenAI's own package."""

from typing import Any

import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import TypeAdapter

from lambdallm_extension.errors import InvalidRequestError
from lambdallm_extension.providers.openai.responses import Responses

WHOLE = TypeAdapter(ResponseCreateParamsNonStreaming)
STREAMED = TypeAdapter(ResponseCreateParamsStreaming)
PNG = "iVBORw0KGgo="


def encode(model: str = "gpt-4.1", *, stream: bool = False, **request: Any) -> dict[str, Any]:
    request.setdefault("messages", [{"role": "user", "content": "Hi"}])
    body = Responses().encode(model, request, stream=stream)
    (STREAMED if stream else WHOLE).validate_python(body, strict=False)
    return body


def asked(text: str) -> dict[str, Any]:
    part = {"type": "input_text", "text": text}
    return {"type": "message", "role": "user", "content": [part]}


def test_the_least_is_stored_nowhere() -> None:
    assert encode() == {
        "model": "gpt-4.1",
        "input": [asked("Hi")],
        "store": False,
    }
    assert encode(stream=True)["stream"] is True


def test_a_conversation_with_images_and_tools() -> None:
    call = {"toolUseId": "c1", "name": "weather", "input": {"city": "Tromsø"}}
    image = {"image": {"format": "png", "source": {"bytes": PNG}}}
    body = encode(
        system="Be brief.",
        messages=[
            {"role": "user", "content": [{"text": "Look"}, image]},
            {"role": "assistant", "content": [{"text": "I ask."}, {"toolUse": call}]},
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "c1", "content": [{"json": {"c": -4}}]}},
                    {"toolResult": {"toolUseId": "c2", "content": [{"text": "see"}, image]}},
                    {"text": "And?"},
                ],
            },
        ],
    )

    url = f"data:image/png;base64,{PNG}"
    shown = {"type": "input_image", "image_url": url, "detail": "auto"}
    seen = [{"type": "input_text", "text": "see"}, shown]
    first = asked("Look")
    first["content"].append(shown)
    assert body["instructions"] == "Be brief."
    assert body["input"] == [
        first,
        {"type": "message", "role": "assistant", "content": "I ask."},
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "weather",
            "arguments": '{"city":"Tromsø"}',
        },
        {"type": "function_call_output", "call_id": "c1", "output": '{"c":-4}'},
        {"type": "function_call_output", "call_id": "c2", "output": seen},
        asked("And?"),
    ]


def test_tools_schemas_and_limits() -> None:
    loose = {"type": "object", "properties": {"zone": {"type": "string"}}}
    body = encode(
        tools=[{"name": "clock", "input_schema": loose}],
        tool_choice="clock",
        output_schema={**loose, "title": "T"},
        max_tokens=9,
        temperature=0.5,
        stop_sequences=["END"],
        service_tier="priority",
        additional_fields={"store": True},
    )

    clock = {"type": "function", "name": "clock", "parameters": loose, "strict": False}
    assert body["tools"] == [clock]
    assert body["tool_choice"] == {"type": "function", "name": "clock"}
    assert body["text"]["format"] == {
        "type": "json_schema",
        "name": "T",
        "schema": {**loose, "title": "T"},
        "strict": False,
    }
    assert (body["max_output_tokens"], body["temperature"]) == (9, 0.5)
    assert (body["service_tier"], body["store"]) == ("priority", True)
    assert "stop" not in body


def test_models_that_reason() -> None:
    body = encode("gpt-5.2", temperature=0.5, top_p=0.5, reasoning={"effort": "low"})

    assert body["reasoning"] == {"effort": "low"}
    assert "temperature" not in body
    assert "top_p" not in body
    assert "reasoning" not in encode("gpt-4.1", reasoning={"effort": "low"})


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="hologram"):
        encode(messages=[{"role": "user", "content": [{"hologram": {}}]}])
