"""Each memory in a function with the built layer: what its model is asked with, and the cost."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from fakes import converse_rules
from fakes.waiting import until
from fakes.word_vectors import WordVectors
from lambdallm.testing.model_server import Answer, ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.conftest import Service, Start

CHAT = "anthropic.claude-3-haiku-20240307-v1:0"
CHEAP = "amazon.nova-micro-v1:0"

APP = """
from lambdallm import MemoryStrategy, Session, handler

def every_other(messages):
    return messages[-3:]

memory = {memory}

@handler(session=Session(store="dynamodb", ttl_hours=1, memory=memory))
def chat(event, context):
    session = context.session
    session.add_message("user", event["message"], pinned=event.get("pinned", False))
    session.add_message("assistant", context.invoke(session.format_history()))
    return {{"seen": session.message_count}}
"""


@pytest.fixture
def models() -> Iterator[ModelServer]:
    """Both models: one talks, the cheap one sums up."""

    def answer(messages: Any) -> Any:
        said = messages[-1]["content"][-1]["text"]
        if said.startswith("<memory>"):
            text = "They talked about " + ", ".join(dict.fromkeys(re.findall(r"topic \d", said)))
            return Answer(text, delay_seconds=server.summary_seconds)
        return f"I heard: {said}"

    with ModelServer(answer) as server:
        server.summary_seconds = 0.0
        yield server


@pytest.fixture
def words() -> Iterator[WordVectors]:
    with WordVectors() as server:
        yield server


class Talk:
    """A function with one memory, in one emulator."""

    def __init__(self, function: Any, session: str, models: ModelServer) -> None:
        self.function = function
        self._session = session
        self._models = models

    def say(self, message: str, **event: Any) -> list[str]:
        """Send a message; return the texts that the talking model was asked with."""
        invocation = self.function.invoke(
            {"session_id": self._session, "message": message, **event}
        )
        assert invocation.error_type is None, invocation.payload
        self.function.wait_until_idle()
        request = next(each for each in reversed(self._models.requests) if each.model_id == CHAT)
        assert converse_rules.faults(request.messages) == []
        assert converse_rules.structure_faults(request.messages) == []
        told = [block["text"] for block in request.body.get("system", [])]
        return told + [message["content"][0]["text"] for message in request.messages]

    def lines(self, word: str) -> list[str]:
        return [line.text for line in self.function.logs if word in line.text]


@pytest.fixture
def talk(
    host: Start, layer: Path, dynamodb: Service, models: ModelServer, words: WordVectors
) -> Any:
    import contextlib

    @contextlib.contextmanager
    def start(memory: str, session: str = "") -> Iterator[Talk]:
        variables = {
            "LAMBDALLM_STORE": f"dynamodb://{dynamodb.table}",
            "LAMBDALLM_MODEL": f"bedrock/{CHAT}",
            "LAMBDALLM_SUMMARY_MODEL": f"bedrock/{CHEAP}",
            "LAMBDALLM_EMBEDDING_MODEL": "openai/words",
            "OPENAI_BASE_URL": words.url,
            "OPENAI_API_KEY": "key",
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": models.url,
            "AWS_REGION": "us-east-1",
        }
        files = {"app.py": APP.format(memory=memory)}
        with host(
            files, "app.chat", opt=layer, variables=variables, timeout_seconds=20
        ) as function:
            yield Talk(function, session or f"memory-{host.name}-{memory[:40]}", models)

    return start


def test_a_running_summary(talk: Any, models: ModelServer) -> None:
    memory = "MemoryStrategy.SUMMARY_OF(2, update_after_messages=2)"
    with talk(memory) as function:
        for number in range(3):
            function.say(f"topic {number}")
        until(lambda: any(request.model_id == CHEAP for request in models.requests))
        function.function.wait_until_idle()
        seen = function.say("and now?")
        spent = [json.loads(line) for line in function.lines('"outcome":"memory"')]

    assert "They talked about topic 0" in seen[0]
    assert seen[1:] == ["topic 2", "I heard: topic 2", "and now?"]
    assert [line["Model"] for line in spent] == [f"bedrock/{CHEAP}"]
    assert spent[0]["CostUSD"] > 0


def test_a_semantic_memory_recalls_what_was_said_long_ago(talk: Any, words: WordVectors) -> None:
    with talk("MemoryStrategy.SEMANTIC_RECALL(2, top_k=1)") as function:
        function.say("my cat is called Tom")
        for topic in ("trains to Rome", "the weather", "a recipe for soup"):
            function.say(f"tell me about {topic}")
        until(lambda: sum("I heard" in each for texts in words.requests for each in texts) > 3)
        function.function.wait_until_idle()
        seen = function.say("what is my cat called")
        words.failing = True
        without = function.say("what is my cat called then")
        late = function.lines("Nothing was recalled")

    assert seen[:2] == ["my cat is called Tom", "I heard: my cat is called Tom"]
    assert seen[2] == "tell me about a recipe for soup"
    assert without[0] == "what is my cat called"
    assert len(late) == 1


def test_a_window_of_tokens_and_a_pinned_message(talk: Any) -> None:
    with talk("MemoryStrategy.TOKEN_WINDOW(max_tokens=80)") as function:
        function.say("I am allergic to nuts", pinned=True)
        for number in range(6):
            function.say(f"{number} " + "word " * 10)
        seen = function.say("what may I eat?")

    assert seen[0] == "I am allergic to nuts"
    assert len(seen) == 2 + 2 + 1


def test_a_function_of_the_users_own(talk: Any) -> None:
    with talk("every_other") as function:
        for number in range(4):
            seen = function.say(f"q{number}")

    assert seen == ["q2", "I heard: q2", "q3"]


@pytest.mark.parametrize("host", ["emulator"], indirect=True)  # AWS's knows no freeze
def test_a_freeze_while_a_summary_is_written_leaves_nothing_half(
    talk: Any, models: ModelServer
) -> None:
    """The environment stands still while its model writes; what is missing is made later."""
    memory = "MemoryStrategy.SUMMARY_OF(2, update_after_messages=0)"
    with talk(memory) as function:
        function.say("topic 0")
        models.summary_seconds = 2.5  # longer than unwritten state may hold the environment
        function.say("topic 1")
        function.function.freeze()
        function.function.thaw()
        models.summary_seconds = 0.0
        function.say("topic 2")
        function.say("topic 3")
        seen = function.say("and now?")

    assert "They talked about topic 0" in seen[0]
    assert seen[-3:] == ["topic 3", "I heard: topic 3", "and now?"]
    assert len(seen) < 8
