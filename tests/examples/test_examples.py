"""The examples, and the one in README.md, run as they stand: the real engine, a scripted model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambdallm.testing import MockLambdaContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm.testing import MockProvider

ROOT = Path(__file__).parents[2]


def readme_block() -> str:
    """The first Python of README.md."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None, "README.md shows no Python"
    return found.group(1)


def handler_of(source: str) -> Callable[[Any, Any], dict[str, Any]]:
    scope: dict[str, Any] = {"__name__": "app"}
    exec(compile(source, "app.py", "exec"), scope)
    handler: Callable[[Any, Any], dict[str, Any]] = scope["chat_handler"]
    return handler


SOURCES = {
    "chat": (ROOT / "examples/chat/app.py").read_text(),
    "readme": readme_block(),
}


def post(message: str, session: str = "s-1") -> dict[str, Any]:
    return {
        "version": "2.0",
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "headers": {"content-type": "application/json", "x-session-id": session},
        "body": json.dumps({"message": message}),
        "isBase64Encoded": False,
    }


def reply_of(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["statusCode"] == 200, answer
    body = answer["body"]
    decoded: dict[str, Any] = json.loads(body) if isinstance(body, str) else body
    return decoded


@pytest.mark.parametrize("name", SOURCES)
def test_a_chat_remembers_what_was_said(name: str, lambdallm_model: MockProvider) -> None:
    handler = handler_of(SOURCES[name])
    lambdallm_model.say("Hello, Ada.", "You are Ada.")

    first = handler(post("I am Ada."), MockLambdaContext())
    second = handler(post("Who am I?"), MockLambdaContext())

    assert reply_of(first) == {"reply": "Hello, Ada."}
    assert reply_of(second) == {"reply": "You are Ada."}
    for said in ("I am Ada.", "Hello, Ada.", "Who am I?"):
        assert said in lambdallm_model.prompts[1]


@pytest.mark.parametrize("name", SOURCES)
def test_two_sessions_do_not_mix(name: str, lambdallm_model: MockProvider) -> None:
    handler = handler_of(SOURCES[name])
    lambdallm_model.say("Hello, Ada.", "I cannot know.")

    handler(post("I am Ada.", "s-1"), MockLambdaContext())
    handler(post("Who am I?", "s-2"), MockLambdaContext())

    assert "Ada" not in lambdallm_model.prompts[1]


def test_the_example_of_the_readme_is_the_example_of_the_folder() -> None:
    def essence(source: str) -> list[str]:
        """Leave out what is laid out differently: comments, blank lines, docstring, imports."""
        lines = (line.partition("#")[0].rstrip() for line in source.splitlines())
        return [line for line in lines if line and not line.startswith(('"""', "from "))]

    assert essence(SOURCES["readme"]) == essence(SOURCES["chat"])


def test_the_coroutine_asks_twice_and_remembers_the_conversation(
    lambdallm_model: MockProvider,
) -> None:
    handler = handler_of((ROOT / "examples/async_chat/app.py").read_text())
    lambdallm_model.say("one", "two", "three", "four")

    first = reply_of(handler(post("I am Ada."), MockLambdaContext()))
    reply_of(handler(post("Who am I?"), MockLambdaContext()))

    assert {first["reply"], first["title"]} == {"one", "two"}
    conversation = [prompt for prompt in lambdallm_model.prompts[2:] if "title" not in prompt]
    assert len(lambdallm_model.prompts) == 4
    assert len(conversation) == 1
    assert "I am Ada." in conversation[0]
    assert first["reply"] in conversation[0]


def test_the_coroutine_refuses_a_body_without_a_message(lambdallm_model: MockProvider) -> None:
    handler = handler_of((ROOT / "examples/async_chat/app.py").read_text())

    answer = handler({**post(""), "body": '{"massage": "x"}'}, MockLambdaContext())

    assert answer["statusCode"] == 400
    assert "message" in str(answer["body"])
    assert lambdallm_model.prompts == []
