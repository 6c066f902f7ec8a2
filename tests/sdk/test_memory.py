"""Which messages a handler sees of a long conversation, with the real engine in this process."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

import lambdallm
from fakes import converse_rules
from lambdallm import MemoryStrategy, Message, Session, _transport, handler
from lambdallm.testing import MockLambdaContext

SCRIPT = json.dumps(
    {
        "models": {"sum": ["Told so far: {last}"], "chat": ["Heard {last}."], "down": [
            {"error": "ValidationException", "status": 400, "text": "No."}
        ]}
    }
)  # fmt: skip


@pytest.fixture(autouse=True)
def engine(embedded: Any) -> Any:
    embedded(
        LAMBDALLM_SCRIPT=SCRIPT, LAMBDALLM_MODEL="scripted/chat", LAMBDALLM_TELEMETRY="on",
        LAMBDALLM_SUMMARY_MODEL="scripted/sum", LAMBDALLM_EMBEDDING_MODEL="scripted/vectors",
    )  # fmt: skip
    return _transport.current()._engine  # type: ignore[attr-defined]


def talk(session: Session, *said: str, call: Any = None) -> list[Any]:
    """Say each in an event of its own, and return what each event's model was asked with."""
    asked: list[Any] = []

    def chat(event: Any, context: Any) -> str:
        context.session.add_message("user", event["body"]["message"])
        history = context.session.format_history()
        asked.append([*history.messages])
        context.session.add_message("assistant", context.invoke(history))
        if call is not None:
            call(context.session)
        return "ok"

    decorated = handler(session=session)(chat)
    for each in said:
        body = {"session_id": "s", "message": each}
        response = decorated({"body": body}, MockLambdaContext())
        assert response["statusCode"] == 200, response
        assert _transport.current()._engine.wait_persisted(5)  # type: ignore[attr-defined]
    for messages in asked:
        assert converse_rules.window_faults(messages[:-1]) == []
    return asked


def contents(messages: list[Any]) -> list[Any]:
    return [message["content"] for message in messages]


def numbered(count: int) -> list[str]:
    return [f"q{number}" for number in range(count)]


def test_a_window_of_tokens_holds_what_the_provider_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The script counts a token for four characters of all that was said."""
    said = [f"{number:02} {'word ' * 8}" for number in range(12)]
    whole = talk(Session(memory=MemoryStrategy.FULL_HISTORY), *said)[-1]
    limited = talk(Session(memory=MemoryStrategy.TOKEN_WINDOW(max_tokens=70)), "last")[-1]

    assert len(whole) == 23
    assert contents(limited)[:-1:2] == said[-3:]
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 65 <= last["InputTokens"] - 1 <= 70


def test_a_window_of_tokens_has_the_size_of_its_model_by_default() -> None:
    huge = "word " * 1_500
    talk(Session(), *[f"{number} {huge}" for number in range(6)])

    seen = talk(Session(memory=MemoryStrategy.TOKEN_WINDOW()), "last")[-1]

    assert 1 < len(seen) < 13  # a quarter of 16,000 tokens, the script's family being unknown


def test_the_size_is_that_of_the_model_behind_an_alias(embedded: Any, tmp_path: Any) -> None:
    path = tmp_path / "lambdallm.yaml"
    path.write_text("models: {talker: {model: scripted/claude}}", encoding="utf-8")
    embedded(
        LAMBDALLM_CONFIG=str(path), LAMBDALLM_MODEL="talker", LAMBDALLM_SCRIPT='["Heard."]',
        LAMBDALLM_STORE=f"sqlite:///{tmp_path}/of_an_alias.db",
    )  # fmt: skip
    huge = "word " * 1_500

    talk(Session(), *[f"{number} {huge}" for number in range(6)])

    assert len(talk(Session(memory=MemoryStrategy.TOKEN_WINDOW()), "last")[-1]) == 13


def test_old_turns_are_summed_up_beside_the_handler(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(memory=MemoryStrategy.SUMMARY_OF(4, update_after_messages=4))
    asked = talk(session, *numbered(8))

    first = asked[4]
    assert first[0]["role"] != "system"
    assert contents(first)[0] == "q0"
    later = asked[6]
    assert later[0]["role"] == "system"
    assert "user: q0" in later[0]["content"]
    assert "q0" not in contents(later)
    assert contents(later)[-3:-2] == ["q5"]
    out = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    spent = [line for line in out if line["outcome"] == "memory"]
    assert {line["Model"] for line in spent} == {"scripted/sum"}
    assert all(line["Calls"] == 1 for line in spent)


def test_a_summary_that_fails_costs_one_line_and_no_turn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    window = MemoryStrategy.SUMMARY_OF(2, update_after_messages=2, model="scripted/down")
    asked = talk(Session(memory=window), *numbered(5))

    assert contents(asked[-1])[-3:] == ["q3", "Heard q3.", "q4"]
    lines = [line for line in capsys.readouterr().out.splitlines() if "not brought up" in line]
    assert 0 < len(lines) <= 3


def test_clearing_forgets_the_summary_too() -> None:
    session = Session(memory=MemoryStrategy.SUMMARY_OF(2, update_after_messages=0))
    talk(session, *numbered(4))
    talk(session, "before", call=lambda live: live.clear())

    assert contents(talk(session, "after")[-1]) == ["after"]


def test_the_exchange_that_is_nearest_to_the_question_comes_back() -> None:
    """Scripted vectors are the same for the same text alone."""
    session = Session(memory=MemoryStrategy.SEMANTIC_RECALL(2, top_k=1))
    talk(session, "the cat's name is Tom", *numbered(6))

    seen = talk(session, "the cat's name is Tom\nHeard the cat's name is Tom.")[-1]

    assert contents(seen)[:2] == ["the cat's name is Tom", "Heard the cat's name is Tom."]
    assert contents(seen)[2:4] == ["q5", "Heard q5."]


def test_without_a_vector_the_newest_messages_are_seen(capsys: pytest.CaptureFixture[str]) -> None:
    talk(Session(memory=MemoryStrategy.SEMANTIC_RECALL(2)), *numbered(4))

    seen = talk(Session(memory=MemoryStrategy.SEMANTIC_RECALL(2, model="nobody/x")), "now")[-1]

    assert contents(seen) == ["q3", "Heard q3.", "now"]


def test_a_late_vector_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    talk(Session(memory=MemoryStrategy.SEMANTIC_RECALL(2)), *numbered(4))

    seen = talk(Session(memory=MemoryStrategy.SEMANTIC_RECALL(2, wait_ms=0)), "new words")[-1]

    assert contents(seen) == ["q3", "Heard q3.", "new words"]
    assert "Nothing was recalled" in capsys.readouterr().out


@pytest.mark.parametrize(
    "memory",
    [
        MemoryStrategy.SLIDING_WINDOW_N(2),
        MemoryStrategy.TOKEN_WINDOW(max_tokens=12),
        MemoryStrategy.SUMMARY_OF(2, update_after_messages=2),
        MemoryStrategy.SEMANTIC_RECALL(2, top_k=0),
    ],
)
def test_system_and_pinned_messages_stay_however_old(memory: Any) -> None:
    def begin(live: Session) -> None:
        if live.message_count == 2:
            live.add_message("user", "I am allergic to nuts.", pinned=True)
            live.add_message("assistant", "Noted.")
            live.add_message("system", "Answer briefly.")
            live.add_message("assistant", "I will.")

    session = Session(memory=memory)
    talk(session, "hello", call=begin)
    seen = contents(talk(session, *numbered(30))[-1])

    assert "I am allergic to nuts." in seen
    assert "Noted." in seen
    assert "Answer briefly." in seen
    assert "hello" not in seen
    assert len(seen) < 16


def test_a_function_of_the_users_chooses_and_its_choice_is_made_acceptable() -> None:
    got: list[list[Message]] = []

    def from_the_first_answer(messages: list[Message]) -> list[Any]:
        got.append(messages)
        return [*messages[1:3], {"role": "user", "content": "added"}]

    asked = talk(Session(memory=from_the_first_answer), "one", "two", "three")

    assert len(got[-1]) == 5
    assert contents(asked[-1]) == ["two", "added"]
    with pytest.raises(TypeError, match="memory's function returns messages"):
        Session(memory=lambda _: ["x"], messages=[Message("user", "x")]).get_history()


def test_what_is_no_memory_is_refused() -> None:
    for wrong in ("sliding", 5, None):
        with pytest.raises(lambdallm.ConfigurationError, match="MemoryStrategy"):
            Session(memory=wrong)  # type: ignore[arg-type]
    with pytest.raises(lambdallm.ConfigurationError, match="max_tokens=-1"):
        MemoryStrategy.TOKEN_WINDOW(max_tokens=-1)


BLOCK = st.sampled_from(
    [
        {"text": "hm"},
        {"toolUse": {"toolUseId": "a", "name": "t", "input": {}}},
        {"toolResult": {"toolUseId": "a", "content": [{"text": "1"}]}},
    ]
)
SAID = st.tuples(
    st.sampled_from(["user", "assistant", "system"]),
    st.one_of(st.just("text"), st.lists(BLOCK, min_size=1, max_size=2)),
    st.booleans(),
)


@given(st.lists(SAID, max_size=20), st.integers(1, 6))
def test_whatever_is_said_what_is_sent_passes_the_rules(said: list[Any], length: int) -> None:
    session = Session(memory=MemoryStrategy.SLIDING_WINDOW_N(length))
    for role, content, pinned in said:
        session.add_message(role, content, pinned=pinned)

        assert converse_rules.window_faults(session.get_history()) == []


def test_a_tools_result_comes_with_its_call_however_short_the_window() -> None:
    session = Session(memory=MemoryStrategy.SLIDING_WINDOW_N(1))
    call = [{"toolUse": {"toolUseId": "a", "name": "t", "input": {}}}]
    result = [{"toolResult": {"toolUseId": "a", "content": [{"text": "1"}]}}]
    session.add_message("user", "before")
    session.add_message("assistant", "yes")
    session.add_message("user", "question")
    session.add_message("assistant", call)
    session.add_message("user", result)

    assert contents(session.get_history()) == ["question", call, result]
