"""Our providers before servers that others wrote, llama.cpp's with weights among them."""

from collections.abc import Iterator

import anthropic
import openai
import pytest
from llmock.scenarios import Fail, StreamFault
from llmock.testing import LLMockServer

from fakes.aimock import serve_aimock
from fakes.tiny_llama import serve_tiny_llama
from lambdallm_extension.errors import ProviderError
from lambdallm_wire.tokens import input_tokens

QUESTION = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 12}
KEY = "sk-real-servers"
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> Iterator[str]:
    with serve_tiny_llama(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture(scope="module")
def aimock(tmp_path_factory) -> Iterator[str]:
    used = {"prompt_tokens": 11, "completion_tokens": 6, "input_tokens": 11, "output_tokens": 6}
    call = {"id": "call_1", "name": "weather", "arguments": '{"city": "Tromsø"}'}
    fixtures = [
        {"match": {"userMessage": "hello"}, "response": {"content": "Hello! 🌉", "usage": used}},
        {"match": {"userMessage": "weather"}, "response": {"toolCalls": [call], "usage": used}},
        {
            "match": {"userMessage": "crowd"},
            "response": {
                "error": {"message": "Slow down", "type": "rate_limit_error"},
                "status": 429,
            },
        },
        {
            "match": {"userMessage": "cut"},
            "response": {"content": "A long answer that is cut", "usage": used},
            "truncateAfterChunks": 2,
            "chunkSize": 4,
        },
    ]
    with serve_aimock(tmp_path_factory.mktemp("aimock"), fixtures) as url:
        yield url


@pytest.fixture(scope="module")
def llmock() -> Iterator[LLMockServer]:
    with LLMockServer() as server:
        yield server


@pytest.fixture(params=["openai", "openai-responses", "openai-compatible", "anthropic"])
def name(request) -> str:
    return request.param


@pytest.fixture
def provider_at(open_named, name):
    def make(url: str, anthropic_url: str = ""):
        variables = {
            "OPENAI_BASE_URL": f"{url}/v1",
            "LAMBDALLM_OPENAI_COMPATIBLE_URL": f"{url}/v1",
            "ANTHROPIC_BASE_URL": anthropic_url or url,
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_API_KEY": KEY,
        }
        return open_named(name, **variables)

    return make


def model_of(name: str) -> str:
    return "claude-sonnet-4-5" if name == "anthropic" else "gpt-4.1"


def stream_all(provider, model: str, request: dict, deadline_ms: int):
    stream = provider.stream(model, request, deadline_ms=deadline_ms)
    deltas = []
    while (pieces := stream.read()) is not None:
        deltas += pieces
    return deltas, stream.answer


def test_llama_counts_tokens_and_so_do_we(provider_at, llama, deadline_ms) -> None:
    provider = provider_at(llama)

    whole = provider.chat("tiny", QUESTION, deadline_ms=deadline_ms)
    deltas, answer = stream_all(provider, "tiny", QUESTION, deadline_ms)

    streamed = answer.to_answer()
    for each in (whole, streamed):
        assert each.usage["output_tokens"] == 12
        raw = each.raw_usage
        cached = raw.get("cache_read_input_tokens", 0)  # which Anthropic counts apart
        all_read = raw.get("prompt_tokens", raw.get("input_tokens", 0) + cached)
        assert input_tokens(each.usage) == all_read
    assert input_tokens(whole.usage) == input_tokens(streamed.usage) > len("hello")
    assert streamed.usage["cache_read_tokens"] == input_tokens(streamed.usage) - 1
    assert "".join(delta.get("text", "") for delta in deltas) == streamed.text
    assert answer.ended


def test_llama_is_asked_the_same_by_the_makers_packages(llama, open_named, deadline_ms) -> None:
    body = {"model": "tiny", "messages": QUESTION["messages"], "max_tokens": 12}
    with openai.OpenAI(base_url=f"{llama}/v1", api_key=KEY) as client:
        theirs = client.chat.completions.create(**body, temperature=0)
    with anthropic.Anthropic(base_url=llama, api_key=KEY) as client:
        theirs_too = client.messages.create(**body, extra_body={"temperature": 0})
    request = {**QUESTION, "additional_fields": {"temperature": 0}}

    ours = open_named("openai-compatible", LAMBDALLM_OPENAI_COMPATIBLE_URL=f"{llama}/v1").chat(
        "tiny", request, deadline_ms=deadline_ms
    )
    ours_too = open_named("anthropic", ANTHROPIC_BASE_URL=llama, ANTHROPIC_API_KEY=KEY).chat(
        "tiny", request, deadline_ms=deadline_ms
    )

    assert ours.text == theirs.choices[0].message.content
    assert ours_too.text == theirs_too.content[0].text
    assert input_tokens(ours.usage) == theirs.usage.prompt_tokens


def test_aimock_answers(provider_at, aimock, name, deadline_ms) -> None:
    provider = provider_at(aimock)

    whole = provider.chat(model_of(name), QUESTION, deadline_ms=deadline_ms)
    _, answer = stream_all(provider, model_of(name), QUESTION, deadline_ms)

    for each in (whole, answer.to_answer()):
        assert each.text == "Hello! 🌉"
        assert each.finish_reason == "stop"
        assert (input_tokens(each.usage), each.usage["output_tokens"]) == (11, 6)


def test_aimock_calls_a_tool(provider_at, aimock, name, deadline_ms) -> None:
    provider = provider_at(aimock)
    request = {
        "messages": [{"role": "user", "content": "weather"}],
        "tools": [WEATHER],
        "tool_choice": "any",
    }

    whole = provider.chat(model_of(name), request, deadline_ms=deadline_ms)
    _, answer = stream_all(provider, model_of(name), request, deadline_ms)

    for each in (whole, answer.to_answer()):
        (use,) = [block["toolUse"] for block in each.content if "toolUse" in block]
        assert (use["name"], use["input"]) == ("weather", {"city": "Tromsø"})
        assert use["toolUseId"]
        assert each.finish_reason == "tool_calls"


def test_aimock_throttles(provider_at, aimock, name, deadline_ms) -> None:
    request = {"messages": [{"role": "user", "content": "crowd"}]}
    with pytest.raises(ProviderError, match="Slow down") as caught:
        provider_at(aimock).chat(model_of(name), request, deadline_ms=deadline_ms)

    assert (caught.value.status, caught.value.retryable, caught.value.sent) == (429, True, False)


def test_aimock_cuts_a_stream(provider_at, aimock, name, deadline_ms) -> None:
    request = {"messages": [{"role": "user", "content": "cut"}]}
    with pytest.raises(ProviderError) as caught:
        stream_all(provider_at(aimock), model_of(name), request, deadline_ms)

    assert caught.value.kind in ("CutStream", "AnswerLost")
    assert not caught.value.retryable
    assert caught.value.sent


def test_llmock_answers_and_takes_results_of_tools(provider_at, llmock, name, deadline_ms) -> None:
    provider = provider_at(llmock.url, llmock.base_url("anthropic"))
    request = {"messages": [{"role": "user", "content": "weather?"}], "tools": [WEATHER]}

    called = provider.chat(model_of(name), request, deadline_ms=deadline_ms)
    (use,) = [block["toolUse"] for block in called.content if "toolUse" in block]
    result = {"toolUseId": use["toolUseId"], "content": [{"json": {"celsius": -4}}]}
    request["messages"] += [
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [{"toolResult": result}]},
    ]
    answered = provider.chat(model_of(name), request, deadline_ms=deadline_ms)

    assert called.finish_reason == "tool_calls"
    assert answered.finish_reason == "stop"
    assert answered.text


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 529])
def test_llmock_fails(provider_at, llmock, name, deadline_ms, status) -> None:
    provider = provider_at(llmock.url, llmock.base_url("anthropic"))
    llmock.state.scenarios.add(Fail(status))
    try:
        with pytest.raises(ProviderError) as caught:
            provider.chat(model_of(name), QUESTION, deadline_ms=deadline_ms)
    finally:
        llmock.state.scenarios.clear()

    error = caught.value
    assert error.status == status
    assert error.retryable == (status in (429, 500, 503, 529))
    assert error.sent == (status in (500, 503))
    assert error.kind
    assert KEY not in str(error)


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "malformed"])
def test_llmock_breaks_a_stream(provider_at, llmock, name, deadline_ms, fault) -> None:
    provider = provider_at(llmock.url, llmock.base_url("anthropic"))
    llmock.state.scenarios.add(StreamFault(fault))
    try:
        with pytest.raises(ProviderError) as caught:
            stream_all(provider, model_of(name), QUESTION, deadline_ms)
    finally:
        llmock.state.scenarios.clear()

    assert caught.value.kind in ("AnswerLost", "CutStream", "MalformedReply")
    assert not caught.value.retryable
    assert caught.value.sent


def test_llmock_embeds_as_openai_s_package_reads_it(llmock, open_named, deadline_ms) -> None:
    texts = ["one", "two", "one"]
    url = llmock.base_url("openai")
    provider = open_named("openai", OPENAI_BASE_URL=url, OPENAI_API_KEY=KEY)

    ours = provider.embed("text-embedding-3-small", {"texts": texts}, deadline_ms=deadline_ms)

    with openai.OpenAI(base_url=url, api_key=KEY) as client:
        theirs = client.embeddings.create(model="text-embedding-3-small", input=texts)
    assert len(ours.vectors) == 3
    for vector, entry in zip(ours.vectors, theirs.data, strict=True):
        assert vector == pytest.approx(entry.embedding, abs=1e-6)
    assert ours.usage["uncached_input_tokens"] == theirs.usage.prompt_tokens
