"""What may be said in a conversation, and what becomes of what should never have been."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from lambdallm import Session, handler
from lambdallm._messages import History, Message, to_messages
from lambdallm.testing import MockLambdaContext, MockProvider


def say(session: Session, *texts: str) -> None:
    for number, text in enumerate(texts):
        session.add_message(("user", "assistant")[number % 2], text)


def contents(session: Session) -> list[Any]:
    return [message.content for message in session.messages]


def run(function: Any) -> Any:
    """Run a handler with the session `s` and return what it returned."""
    kept: list[Any] = []

    def call(event: Any, context: Any) -> str:
        kept.append(function(context))
        return "ok"

    response = handler(session=Session())(call)({"body": {"session_id": "s"}}, MockLambdaContext())
    assert response["statusCode"] == 200, response
    return kept[0]


TOO_LONG = "x" * 4_000_000
NO_CONTENT = [5, None, True, {"a": 1}, b"x", [], ["x"], [None], [{"text": 5}], [{}], TOO_LONG]


@pytest.mark.parametrize("content", NO_CONTENT)
def test_what_is_no_message_is_refused_at_once_and_not_added(
    model: MockProvider, content: Any
) -> None:
    """The handler may catch it and go on, before a model was asked."""

    def talk(context: Any) -> list[Any]:
        with pytest.raises(lambdallm.InvalidRequestError):
            context.session.add_message("user", content)
        say(context.session, "one", "two")
        return contents(context.session)

    assert run(talk) == ["one", "two"]
    assert run(lambda context: contents(context.session)) == ["one", "two"]
    assert model.prompts == []


@pytest.mark.parametrize(
    ("role", "metadata"), [("", {}), (None, {}), ("user", {"a": object()}), ("user", {"a": {1}})]
)
def test_a_role_is_a_name_and_metadata_is_json(role: Any, metadata: Any) -> None:
    session = Session()

    with pytest.raises(lambdallm.InvalidRequestError):
        session.add_message(role, "x", **metadata)
    assert session.messages == []


@pytest.mark.parametrize("content", [5, {"a": 1}, ["x"], TOO_LONG])
def test_a_client_that_sends_no_message_hears_400(model: MockProvider, content: Any) -> None:
    @handler(session=Session())
    def chat(event: Any, context: Any) -> Any:
        context.session.add_message("user", event["body"]["message"])
        context.session.add_message("assistant", context.invoke(context.session.format_history()))
        return {"count": context.session.message_count}

    statuses = [
        chat({"body": {"session_id": "s", "message": each}}, MockLambdaContext())["statusCode"]
        for each in ("before", content, "after")
    ]

    assert statuses == [200, 400, 200]
    assert run(lambda context: contents(context.session))[::2] == ["before", "after"]


@pytest.mark.parametrize("stored", [5, None, {"a": 1}, ["x"], [{"text": 5}], [], ""])
def test_what_should_never_have_been_stored_is_read_as_text(
    tmp_path: Path, embedded: Any, stored: Any
) -> None:
    """It stands in a table, and is in the way of no later event."""
    variables = {
        "LAMBDALLM_STORE": f"sqlite:///{tmp_path}/s.db",
        "LAMBDALLM_SCRIPT": '["Heard {last}."]',
        "LAMBDALLM_MODEL": "scripted/demo",
    }
    embedded(**variables)
    run(lambda context: say(context.session, "question", "answer"))
    database = sqlite3.connect(f"{tmp_path}/s.db")
    with database:
        changed = database.execute(
            "UPDATE items SET attributes = replace(attributes, ?, ?)",
            (json.dumps(json.dumps("question")), json.dumps(json.dumps(stored))),
        )
        assert changed.rowcount
    database.close()
    embedded(**variables)  # another environment: the one before keeps what it knows

    def talk(context: Any) -> Any:
        context.session.add_message("user", "next")
        history = context.session.format_history()
        return [
            str(history),
            context.invoke(history),
            context.chat(context.session.messages).text,
            context.chat(context.session.get_history()).text,
        ]

    text, *answers = run(talk)

    if stored:
        assert json.loads(text.splitlines()[0].removeprefix("user: ")) == stored
    assert answers == ["Heard next."] * 3


@pytest.mark.parametrize("form", [History, list, lambda talk: [Message(**each) for each in talk]])
def test_blank_messages_of_a_conversation_are_in_nobodys_way(form: Any) -> None:
    """Models refuse blank texts; the newest one is the caller's to be told of."""
    talk = [
        {"role": role, "content": text}
        for role, text in (("user", ""), ("assistant", " \n"), ("user", ""))
    ]

    sent = [message["content"] for message in to_messages(form(talk))]

    assert sent == ['""', json.dumps(" \n"), ""]
    assert [each["content"] for each in talk] == ["", " \n", ""], "the caller's own stay"


# Variables of a prompt


@pytest.mark.parametrize("prompt", ["Hi", History([{"role": "user", "content": "{model}"}]), []])
@pytest.mark.parametrize("name", ["model", "temperature"])
def test_a_parameter_of_chat_is_no_variable(model: MockProvider, prompt: Any, name: str) -> None:
    """Where the prompt has no place for it: it would be dropped without a word."""

    def ask(context: Any) -> None:
        with pytest.raises(TypeError, match=rf"no {{{name}}}.*chat"):
            context.invoke(prompt, **{name: 1})

    run(ask)
    assert model.prompts == []


def test_a_variable_may_be_called_as_a_parameter_and_may_be_left_over(model: MockProvider) -> None:
    run(lambda context: context.invoke("{model}, {system!r}", model="T", system="x", other=1))

    assert model.prompts == ["T, 'x'"]
