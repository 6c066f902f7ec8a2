"""A conversation in a handler, and by hand."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import lambdallm
from lambdallm import MemoryStrategy, Message, Session, handler
from lambdallm._messages import History
from lambdallm.testing import MockLambdaContext, MockProvider


def say(session: Session, *texts: str) -> None:
    for number, text in enumerate(texts):
        session.add_message(("user", "assistant")[number % 2], text)


def contents(session: Session) -> list[Any]:
    return [message.content for message in session.messages]


def run(function: Any, session: Session | None = None, session_id: str = "s") -> Any:
    """Run a handler with a session and return what it returned."""
    kept: list[Any] = []

    def call(event: Any, context: Any) -> str:
        kept.append(function(context))
        return "ok"

    decorated = handler(session=session or Session())(call)
    response = decorated({"body": {"session_id": session_id}}, MockLambdaContext())
    assert response["statusCode"] == 200, response
    return kept[0]


# By hand


def test_a_session_is_loaded_and_saved_by_hand() -> None:
    first = Session(store="memory").load("s-1")
    say(first, "Hello", "Hi there!")
    first.metadata["plan"] = {"step": 1}
    first.save()

    second = Session().load("s-1")

    assert contents(second) == ["Hello", "Hi there!"]
    assert second.last_message == second.messages[1]
    assert second.message_count == 2
    assert second.metadata == {"plan": {"step": 1}}


def test_an_id_set_before_the_first_save_works_too() -> None:
    session = Session()
    session.session_id = "s-2"
    say(session, "Hello", "Hi!")
    session.metadata["a"] = 1
    session.save()

    assert contents(Session().load("s-2")) == ["Hello", "Hi!"]
    assert Session().load("s-2").metadata == {"a": 1}


def test_loading_another_session_forgets_the_one_before() -> None:
    session = Session().load("ada")
    say(session, "ada's secret", "noted")
    session.save()

    session.load("bob")

    assert session.messages == []
    assert session.metadata == {}
    assert contents(session.load("ada")) == ["ada's secret", "noted"]


def test_without_an_id_saving_is_refused_with_words() -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="id"):
        Session().save()


@pytest.mark.parametrize("session_id", ["", "a#b", "x" * 257])
def test_what_is_no_id_is_refused(session_id: str) -> None:
    with pytest.raises(lambdallm.InvalidRequestError):
        Session().load(session_id)


def test_an_unknown_durability_is_refused() -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="after_response"):
        Session(durability="sometimes")


# In this object alone


def test_messages_are_kept_without_a_store() -> None:
    session = Session(store="memory", max_messages=3)
    for number in range(5):
        session.add_message("user", f"Message {number}", source="test")

    assert contents(session) == ["Message 2", "Message 3", "Message 4"]
    assert session.last_message is not None
    assert session.last_message.metadata == {"source": "test"}
    assert session.last_message.timestamp > 0
    session.clear()
    assert session.message_count == 0
    assert session.last_message is None


def test_the_whole_history_is_kept_when_asked_for() -> None:
    session = Session(memory=MemoryStrategy.FULL_HISTORY, max_messages=2)
    say(session, *"abcdef")

    assert contents(session) == list("abcdef")


@given(st.lists(st.sampled_from(["user", "assistant", "system"]), max_size=30), st.integers(1, 8))
def test_a_window_never_begins_with_an_answer_and_keeps_system_messages(
    roles: list[str], length: int
) -> None:
    session = Session(memory=MemoryStrategy.SLIDING_WINDOW_N(length))
    for number, role in enumerate(roles):
        session.add_message(role, "x")
        kept = [message.role for message in session.messages]
        assert len(kept) - kept.count("system") <= length
        if role == "user" and len(session.messages) < number:
            assert next(role for role in kept if role != "system") == "user"

    kept = [message.role for message in session.messages]
    assert kept.count("system") == roles.count("system")


def test_history_is_text_that_knows_its_messages() -> None:
    session = Session()
    say(session, "Hello", "Hi")

    history = session.format_history()

    assert isinstance(history, str)
    assert history == "user: Hello\nassistant: Hi"
    assert isinstance(history, History)
    assert list(history.messages) == session.get_history()
    assert f"Chat:\n{history}" == "Chat:\nuser: Hello\nassistant: Hi"


def test_a_message_survives_its_dict() -> None:
    message = Message("user", "Hello", metadata={"a": 1})

    assert Message.from_dict(message.to_dict()) == message
    assert Message.from_dict({"role": "user", "content": "x"}).metadata == {}


# In a handler


def test_load_and_save_in_a_handler_are_harmless() -> None:
    def talk(context: Any) -> list[Any]:
        session = context.session
        session.load("s")
        say(session, "one", "two")
        session.save()
        session.load("s")
        session.save()
        return contents(session)

    assert run(talk) == ["one", "two"]
    assert run(lambda context: contents(context.session)) == ["one", "two"]


def test_a_handler_may_load_another_session() -> None:
    def talk(context: Any) -> None:
        context.session.load("other")
        say(context.session, "hello", "other")

    run(talk, session_id="s")

    assert contents(Session().load("other")) == ["hello", "other"]
    assert contents(Session().load("s")) == []


def test_metadata_is_saved_when_it_changed(model: MockProvider) -> None:
    def remember(context: Any) -> None:
        context.session.metadata.setdefault("seen", []).append(1)

    run(remember)
    run(remember)

    assert run(lambda context: context.session.metadata) == {"seen": [1, 1]}


def test_metadata_may_be_replaced() -> None:
    run(lambda context: setattr(context.session, "metadata", {"a": 1}))

    assert run(lambda context: context.session.metadata) == {"a": 1}


def test_clear_forgets_what_is_stored() -> None:
    run(lambda context: say(context.session, "one", "two"))

    def start_over(context: Any) -> list[Any]:
        context.session.clear()
        say(context.session, "three", "four")
        return contents(context.session)

    assert run(start_over) == ["three", "four"]
    assert run(lambda context: contents(context.session)) == ["three", "four"]


def test_what_a_handler_adds_stands_behind_what_was_stored() -> None:
    run(lambda context: say(context.session, "one", "two"))

    def add_then_read(context: Any) -> list[Any]:
        context.session.add_message("user", "three")
        return contents(context.session)

    assert run(add_then_read) == ["one", "two", "three"]


def test_the_window_is_the_declared_one() -> None:
    for number in range(6):
        run(lambda context, number=number: say(context.session, f"q{number}", f"a{number}"))

    seen = run(lambda context: contents(context.session), Session(max_messages=4))

    assert seen == ["q4", "a4", "q5", "a5"]
    everything = Session(memory=MemoryStrategy.FULL_HISTORY)
    assert len(run(lambda context: contents(context.session), everything)) == 12


def test_blocks_are_content_too() -> None:
    blocks = [{"text": "look"}, {"image": {"format": "png", "source": {"bytes": "…"}}}]

    def talk(context: Any) -> Any:
        context.session.add_message("user", blocks)
        context.session.add_message("assistant", "a cat")

    run(talk)

    assert run(lambda context: contents(context.session))[0] == blocks
    assert run(lambda context: str(context.session.format_history())) == (
        "user: look [image]\nassistant: a cat"
    )


def test_an_event_that_is_delivered_twice_is_answered_once(model: MockProvider) -> None:
    def talk(event: Any, context: Any) -> int:
        say(context.session, "one", "two")
        return context.session.message_count

    decorated = handler(session=Session())(talk)
    event = {"body": {"session_id": "s"}, "headers": {"Idempotency-Key": "k"}}
    decorated(event, MockLambdaContext())
    decorated(event, MockLambdaContext())

    assert run(lambda context: contents(context.session)) == ["one", "two"]


# Metadata is JSON


def test_metadata_may_have_keys_of_any_kind_that_json_knows() -> None:
    for number in range(3):
        run(lambda context, number=number: context.session.metadata.update({5: number, None: 1}))

    assert run(lambda context: context.session.metadata) == {"5": 2, "null": 1}


@pytest.mark.parametrize(
    "metadata", [{"x": object()}, {"x": float("nan")}, {(1, 2): 1}, [1], {"x": b"y"}]
)
def test_metadata_that_is_no_json_is_a_type_error_of_that_name(metadata: Any) -> None:
    def set_it(event: Any, context: Any) -> str:
        context.session.metadata = metadata
        return "ok"

    with pytest.raises(TypeError, match=r"session\.metadata"):
        handler(session=Session())(set_it)({"session_id": "s"}, MockLambdaContext())
    assert run(lambda context: context.session.metadata) == {}


@pytest.mark.parametrize("session_id", [5, None, ["a"]])
def test_an_id_that_is_no_text_is_refused_with_words(session_id: Any) -> None:
    with pytest.raises(lambdallm.InvalidRequestError, match="session id"):
        Session().load(session_id)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(), min_size=1, max_size=6), st.dictionaries(st.text(), JSON_VALUES))
def test_what_was_said_comes_back_as_it_was(
    environment: None, texts: list[str], metadata: dict[str, Any]
) -> None:
    first = Session(memory=MemoryStrategy.FULL_HISTORY).load("prop")
    first.clear()
    for text in texts:
        first.add_message("user", text)
        first.add_message("assistant", text)
    first.metadata = metadata
    first.save()

    second = Session(memory=MemoryStrategy.FULL_HISTORY).load("prop")

    assert contents(second) == [text for text in texts for _ in range(2)]
    assert second.metadata == metadata
