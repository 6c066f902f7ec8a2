"""The real `openai` and `anthropic` packages, unmodified, before servers of others.

Whatever a client has seen of its usage stands in the call's record; and it sees what it would
have seen without us.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import openai
import pytest

from fakes.api_server import ApiServer, load
from fakes.served_engine import KEY, said, tokens

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
ANTHROPIC_TOOLS: Any = [
    {
        "name": "weather",
        "description": "Tells the weather.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
]


def test_openai_chat(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    answer = served.openai().chat.completions.create(model="gpt-5-mini", messages=said("hello"))

    assert answer.choices[0].message.content == "Hello! 🌉"
    (record,) = served.records()
    assert tokens(record) == (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 6)
    assert (record["state"], record["model"]) == ("settled", "openai/gpt-5-mini")


@pytest.mark.parametrize("options", [None, {"include_usage": True}, {"include_usage": False}])
def test_an_openai_stream_is_what_it_was_and_its_usage_is_known(
    gateway: Any, llama: str, options: dict[str, bool] | None
) -> None:
    served = gateway(llama)
    asked: dict[str, Any] = {"model": "m", "messages": said("hello"), "max_tokens": 12, "seed": 1}
    if options is not None:
        asked["stream_options"] = options
    chunks = list(served.openai().chat.completions.create(stream=True, **asked))
    direct = served.keep(openai.OpenAI(base_url=f"{llama}/v1", api_key=KEY))
    whole = direct.chat.completions.create(
        **{k: v for k, v in asked.items() if k != "stream_options"}
    )

    with_usage = [chunk for chunk in chunks if not chunk.choices]
    assert len(with_usage) == (1 if options == {"include_usage": True} else 0)
    (record,) = served.records()
    assert tokens(record) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    assert record["finish_reason"] == "length"


def test_openai_responses(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    answer = served.openai().responses.create(model="gpt-5-mini", input="hello")
    events = list(served.openai().responses.create(model="gpt-5-mini", input="hello", stream=True))

    assert answer.output_text == "Hello! 🌉"
    whole, streamed = served.records(2)
    assert tokens(whole) == (answer.usage.input_tokens, answer.usage.output_tokens)
    used = events[-1].response.usage
    assert tokens(streamed) == (used.input_tokens, used.output_tokens)


def test_openai_tools(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    answer = served.openai().chat.completions.create(
        model="gpt-5-mini", messages=said("weather"), tools=TOOLS
    )

    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Tromsø"}
    assert served.records()[0]["finish_reason"] == "tool_calls"


def test_openai_embeddings(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    answer = served.openai().embeddings.create(model="text-embedding-3-small", input="vectors")

    assert answer.data[0].embedding == pytest.approx([0.5, -0.25, 1.0])
    (record,) = served.records()
    assert tokens(record) == (answer.usage.prompt_tokens, 0)
    assert record["operation"] == "embeddings"


def test_an_apis_own_refusal_is_the_clients_own_error(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    with pytest.raises(openai.RateLimitError, match="Slow down"):
        served.openai(max_retries=0).chat.completions.create(model="m", messages=said("crowd"))
    with pytest.raises(anthropic.RateLimitError, match="Slow down"):
        served.anthropic(max_retries=0).messages.create(
            model="m", messages=said("crowd"), max_tokens=5
        )

    assert [record["state"] for record in served.records(2)] == ["failed", "failed"]


def test_a_stream_that_is_cut_is_cut_for_the_client_and_estimated_in_the_books(
    gateway: Any,
) -> None:
    recorded = load("openai_chat.json").replies["text_stream"]
    with ApiServer(recorded.cut_after(3)._replace(end="cut")) as server:
        served = gateway(server.url)
        chunks = served.openai(max_retries=0).chat.completions.create(
            model="m", messages=said("hello"), stream=True
        )
        with pytest.raises(openai.APIConnectionError):
            list(chunks)
        asked = len(server.asked)

    (record,) = served.records()
    assert (record["state"], record.get("estimated")) == ("settled", True)
    assert (record["output_tokens"] > 0, asked) == (True, 1)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_answers_that_come_packed_though_nobody_asked_for_it(gateway: Any, coding: str) -> None:
    chat, messages = load("openai_chat.json"), load("anthropic_messages.json")
    asked: dict[str, Any] = {"model": "m", "messages": said("hello")}
    served = []
    names = ["text", "text_stream", "text_stream"]
    with ApiServer(*[chat.replies[name].coded(coding) for name in names]) as server:
        served.append(gateway(server.url))
        completions = served[0].openai().chat.completions
        whole = completions.create(**asked)
        shown = list(completions.create(stream=True, **asked))
        wanted = list(
            completions.create(stream=True, stream_options={"include_usage": True}, **asked)
        )
    with ApiServer(messages.replies["text_stream"].coded(coding)) as server:
        served.append(gateway(server.url))
        with served[1].anthropic().messages.stream(max_tokens=9, **asked) as stream:
            final = stream.get_final_message()

    text = chat.expected["text_stream"]["text"]
    assert whole.choices[0].message.content == chat.expected["text"]["text"]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in shown) == text
    assert (len(wanted) - len(shown), wanted[-1].choices) == (1, [])
    assert final.content[-1].text == messages.expected["text_stream"]["text"]
    for record in [*served[0].records(3), *served[1].records()]:
        assert (record["state"], record.get("estimated"), record.get("error")) == (
            "settled", None, None,
        )  # fmt: skip
        assert record["output_tokens"] > 0


def test_asynchronous_clients(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)

    async def ask() -> tuple[Any, str]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/openai/v1", api_key=KEY) as first:
            answer = await first.chat.completions.create(model="m", messages=said("hello"))
        async with (
            anthropic.AsyncAnthropic(base_url=f"{served.url}/anthropic", api_key=KEY) as one,
            one.messages.stream(
                model="claude-haiku-5-5", messages=said("hello"), max_tokens=20
            ) as stream,
        ):
            text = "".join([piece async for piece in stream.text_stream])
        return answer, text

    answer, text = asyncio.run(ask())

    assert answer.choices[0].message.content == text == "Hello! 🌉"
    assert len(served.records(2)) == 2


def test_anthropic_messages(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    answer = served.anthropic().messages.create(
        model="claude-haiku-5-5", messages=said("hello"), max_tokens=20
    )

    assert answer.content[0].text == "Hello! 🌉"
    (record,) = served.records()
    assert tokens(record) == (answer.usage.input_tokens, answer.usage.output_tokens) == (11, 6)
    assert record["model"] == "anthropic/claude-haiku-5-5"


def test_an_anthropic_stream(gateway: Any, llama: str) -> None:
    served = gateway(llama)
    with served.anthropic().messages.stream(
        model="m", messages=said("hello"), max_tokens=12
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()

    (record,) = served.records()
    assert text
    read = final.usage.cache_read_input_tokens or 0
    assert tokens(record) == (final.usage.input_tokens + read, final.usage.output_tokens)
    assert (record["output_tokens"], record["cache_read_tokens"]) == (12, read)


def test_anthropic_tools(gateway: Any, aimock: str) -> None:
    served = gateway(aimock)
    with served.anthropic().messages.stream(
        model="m", messages=said("weather"), max_tokens=50, tools=ANTHROPIC_TOOLS
    ) as stream:
        final = stream.get_final_message()

    assert final.content[-1].input == {"city": "Tromsø"}
    assert served.records()[0]["finish_reason"] == "tool_calls"


def test_what_nobody_reads_passes_unmetered(gateway: Any, llama: str) -> None:
    served = gateway(llama)
    models = served.openai().models.list()

    direct = served.keep(openai.OpenAI(base_url=f"{llama}/v1", api_key=KEY)).models.list()
    assert [model.id for model in models] == [model.id for model in direct]
    assert served.records()[0]["state"] == "unmetered"
