"""What real clients send, caught on a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fakes.aimock import serve_aimock
from fakes.served_engine import Gateway
from fakes.tiny_llama import serve_tiny_llama
from lambda_runtime_api.http1 import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def sent(serve: Callable[..., Any]) -> Callable[..., tuple[Request, bytes]]:
    """Give a function the URL of a server that refuses everything; return what was sent there."""

    def sent(ask: Callable[[str], object], *errors: type[Exception]) -> tuple[Request, bytes]:
        def behave(line: Any) -> None:
            while True:
                line.read()
                line.reply(b'{"message": "no"}', 400, [("content-type", "application/json")])

        peer = serve(behave)
        with pytest.raises(errors):
            ask(f"http://127.0.0.1:{peer.port}")
        head, body = peer.requests[-1]
        assert isinstance(head, Request)
        return head, body

    return sent


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
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
        {"match": {"inputText": "vectors"}, "response": {"embedding": [0.5, -0.25, 1.0]}},
    ]
    with serve_aimock(tmp_path_factory.mktemp("aimock"), fixtures) as url:
        yield url


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_tiny_llama(tmp_path_factory.mktemp("llama")) as url:
        yield url


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    made: list[Gateway] = []

    def make(url: str = "", **variables: str) -> Gateway:
        if url:
            variables = {
                "OPENAI_BASE_URL": f"{url}/v1",
                "ANTHROPIC_BASE_URL": url,
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
                **variables,
            }
        made.append(Gateway(tmp_path, **variables))
        return made[-1]

    yield make
    for each in made:
        each.close()
