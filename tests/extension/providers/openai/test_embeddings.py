"""OpenAI's embeddings: the order of vectors, many texts, and what went wrong in between."""

import json

import pytest

from fakes.api_server import ApiServer, Reply, load
from lambdallm_extension.errors import ProviderError

THROTTLED = load("openai_chat.json").replies["throttled"]


@pytest.fixture
def server():
    with ApiServer(THROTTLED) as running:
        yield running


@pytest.fixture
def provider(open_named, server):
    return open_named("openai", OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k")


def vectors(*numbers: float, model: str = "text-embedding-3-small", used: int = 5) -> Reply:
    entries = [
        {"object": "embedding", "index": index, "embedding": [number, 0.5]}
        for index, number in enumerate(numbers)
    ]
    usage = {"prompt_tokens": used, "total_tokens": used}
    body = {"object": "list", "data": entries[::-1], "model": model, "usage": usage}
    return Reply(200, {"content-type": "application/json"}, (json.dumps(body).encode(),))


def test_vectors_come_in_the_order_of_the_texts(provider, server, deadline_ms) -> None:
    server.replies[:] = [vectors(1.0, 2.0, 3.0)]
    answer = provider.embed(
        "text-embedding-3-small",
        {"texts": ["a", "b", "c"], "dimensions": 2, "additional_fields": {"user": "u"}},
        deadline_ms=deadline_ms,
    )

    assert answer.vectors == [[1.0, 0.5], [2.0, 0.5], [3.0, 0.5]]
    assert answer.usage["uncached_input_tokens"] == 5
    assert answer.usage["output_tokens"] == 0
    assert server.asked[0].target == "/embeddings"
    assert server.asked[0].json == {
        "model": "text-embedding-3-small",
        "input": ["a", "b", "c"],
        "encoding_format": "float",
        "dimensions": 2,
        "user": "u",
    }


def test_many_texts_take_several_requests(provider, server, deadline_ms) -> None:
    server.replies[:] = [vectors(*range(2048)), vectors(*range(2048, 3000))]
    answer = provider.embed("m", {"texts": ["a"] * 3000}, deadline_ms=deadline_ms)

    assert [vector[0] for vector in answer.vectors] == list(range(3000))
    assert [len(asked.json["input"]) for asked in server.asked] == [2048, 952]
    assert answer.usage["uncached_input_tokens"] == 10
    assert answer.raw_usage == {"prompt_tokens": 10, "total_tokens": 10}


def test_long_texts_take_several_requests(provider, server, deadline_ms) -> None:
    server.replies[:] = [vectors(1, 2), vectors(3), vectors(4)]
    texts = ["x" * 150_000, "y" * 150_000, "z" * 400_000, "end"]

    answer = provider.embed("m", {"texts": texts}, deadline_ms=deadline_ms)

    assert [len(asked.json["input"]) for asked in server.asked] == [2, 1, 1]
    assert len(answer.vectors) == 4


def test_what_was_embedded_is_not_embedded_again_by_a_retry(provider, server, deadline_ms) -> None:
    server.replies[:] = [THROTTLED]
    with pytest.raises(ProviderError) as first:
        provider.embed("m", {"texts": ["a"]}, deadline_ms=deadline_ms)
    server.replies[:] = [vectors(*range(2048)), THROTTLED]
    with pytest.raises(ProviderError, match="2048 texts were embedded") as second:
        provider.embed("m", {"texts": ["a"] * 2049}, deadline_ms=deadline_ms)

    assert (first.value.retryable, first.value.sent) == (True, False)
    assert (second.value.retryable, second.value.sent, second.value.status) == (False, True, 200)


def test_too_few_vectors_are_an_error(provider, server, deadline_ms) -> None:
    server.replies[:] = [vectors(1.0)]
    with pytest.raises(ProviderError, match="2 texts with 1") as caught:
        provider.embed("m", {"texts": ["a", "b"]}, deadline_ms=deadline_ms)

    assert caught.value.kind == "MalformedReply"


def test_vectors_in_base64_are_read_too(provider, server, deadline_ms) -> None:
    entry = {"object": "embedding", "index": 0, "embedding": "AACAPwAAAL8="}
    body = {"object": "list", "data": [entry], "model": "m"}
    server.replies[:] = [Reply(200, {}, (json.dumps(body).encode(),))]

    answer = provider.embed("m", {"texts": ["a"]}, deadline_ms=deadline_ms)

    assert answer.vectors == [[1.0, -0.5]]
    assert answer.raw_usage is None


def test_an_error_inside_a_200(provider, server, deadline_ms) -> None:
    body = {"error": {"message": "No such model", "code": "model_not_found"}}
    server.replies[:] = [Reply(200, {}, (json.dumps(body).encode(),))]

    with pytest.raises(ProviderError, match="No such model") as caught:
        provider.embed("m", {"texts": ["a"]}, deadline_ms=deadline_ms)

    assert (caught.value.status, caught.value.retryable) == (404, False)
