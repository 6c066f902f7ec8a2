"""One provider after the other, before a server that gives replies in the form of its API.

Another provider plugs in with a file of replies in `recorded/` that has the names below, and a
line in `CASES`.

    text, text_stream          the same answer, whole and streamed
    tools, tools_stream        calls of two tools, whole and streamed
    throttled, failed          a 429 with a time to wait, a 500
    forbidden                  credentials that are not accepted; may repeat SECRET
    failed_stream              a failure that is told inside the stream, after some text
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from fakes.api_server import ApiServer, Recording, Reply, load
from lambdallm_extension.model_ports import Provider

SECRET = "sk-contract-secret"


class Api(NamedTuple):
    """How a provider is opened: its name, its recording, and its variables for a server's URL."""

    provider: str
    recorded: str
    variables: Callable[[str], dict[str, str]]
    says_all_before_its_end: bool = False
    """Whether the last event of a stream can be missed."""


CASES = {
    "openai": Api(
        "openai",
        "openai_chat.json",
        lambda url: {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": SECRET},
        says_all_before_its_end=True,
    ),
    "openai-responses": Api(
        "openai-responses",
        "openai_responses.json",
        lambda url: {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": SECRET},
    ),
    "openai-compatible": Api(
        "openai-compatible",
        "openai_chat.json",
        lambda url: {
            "LAMBDALLM_OPENAI_COMPATIBLE_URL": f"{url}/v1",
            "LAMBDALLM_OPENAI_COMPATIBLE_KEY": SECRET,
        },
        says_all_before_its_end=True,
    ),
    "anthropic": Api(
        "anthropic",
        "anthropic_messages.json",
        lambda url: {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": SECRET},
    ),
    "bedrock": Api(
        "bedrock",
        "bedrock_converse.json",
        lambda url: {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url},
    ),
    "bedrock-invoke": Api(
        "bedrock-invoke",
        "bedrock_invoke_claude.json",
        lambda url: {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url},
    ),
    "sagemaker": Api(
        "sagemaker",
        "sagemaker_chat.json",
        lambda url: {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": url},
        says_all_before_its_end=True,
    ),
}


class Case:
    """A provider before a server, and what is to come out of its replies."""

    def __init__(
        self, api: Api, recording: Recording, server: ApiServer, provider: Provider
    ) -> None:
        self.says_all_before_its_end = api.says_all_before_its_end
        self.server = server
        self.provider = provider
        self.model_id = recording.model_id
        self._recording = recording

    def reply(self, name: str) -> Reply:
        return self._recording.replies[name]

    def expected(self, name: str) -> dict[str, Any]:
        return self._recording.expected[name]

    def answers(self, *replies: str | Reply) -> None:
        """Let the server give these from now on, recorded ones by name."""
        self.server.replies[:] = [
            self.reply(reply) if isinstance(reply, str) else reply for reply in replies
        ]


@pytest.fixture(params=CASES)
def case(request, open_named) -> Iterator[Case]:
    api = CASES[request.param]
    recording = load(api.recorded)
    with ApiServer(recording.replies["text"]) as server:
        provider = open_named(api.provider, **api.variables(server.url))
        yield Case(api, recording, server, provider)
        provider.close()


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def question() -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Steht die Brücke?"}]}


@pytest.fixture
def tools_question() -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"text": "Wetter in Tromsø?"}]}],
        "tools": [
            {"name": "weather", "description": "Tells the weather.", "input_schema": schema},
            {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
        ],
        "tool_choice": "auto",
        "max_tokens": 300,
    }
