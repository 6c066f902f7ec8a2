"""Metadata: a change is noticed and saved, key by key, and nothing else is touched."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

import lambdallm
from lambdallm import Session, handler
from lambdallm.testing import MockLambdaContext, mock_model


def stored(session_id: str = "s") -> dict[str, Any]:
    return Session().load(session_id).metadata


def say(session: Session, *texts: str) -> None:
    for number, text in enumerate(texts):
        session.add_message(("user", "assistant")[number % 2], text)


@pytest.fixture(autouse=True)
def known() -> None:
    with Session().load("s") as session:
        say(session, "q", "a")
        session.metadata.update(name="Ada", plan={"steps": [1]}, gone=True)


def test_saving_without_loading_keeps_what_is_stored() -> None:
    session = Session(session_id="s", metadata={"name": "nobody", "color": "red"})
    session.metadata["plan"] = {"steps": [2]}
    session.metadata["new"] = 1
    say(session, "q2", "a2")
    session.save()

    expected = {"name": "Ada", "gone": True, "plan": {"steps": [2]}, "new": 1}
    assert session.metadata == expected
    assert stored() == expected
    assert [each.content for each in session.messages] == ["q", "a", "q2", "a2"]
    assert session.version == 2


def test_a_new_session_begins_with_what_it_was_declared_with() -> None:
    session = Session(session_id="new", metadata={"color": "red", "size": 1})
    del session.metadata["size"]
    say(session, "q", "a")
    session.save()

    assert stored("new") == {"color": "red"}


def test_a_dict_that_was_taken_before_the_first_save_is_still_the_sessions() -> None:
    session = Session(session_id="s")
    mine = session.metadata
    session.save()
    mine["late"] = 1
    session.save()

    assert stored() == {"name": "Ada", "plan": {"steps": [1]}, "gone": True, "late": 1}


def test_removed_and_replaced_keys_are_gone() -> None:
    with Session().load("s") as session:
        del session.metadata["gone"]
        session.metadata = {**session.metadata, "plan": None}

    assert stored() == {"name": "Ada", "plan": None}


@pytest.mark.parametrize("end", ["load another", "collected", "closed", "left"])
def test_a_change_is_saved_whatever_ends_the_session(end: str) -> None:
    session = Session().load("s")
    session.metadata["changed"] = end
    if end == "load another":
        session.load("another")
    elif end == "closed":
        session.close()
    elif end == "left":
        with session:
            pass
    else:
        del session
        gc.collect()
        Session().load("another")

    assert stored()["changed"] == end


def test_two_that_change_different_keys_both_win() -> None:
    one, other = Session().load("s"), Session().load("s")
    one.metadata["one"] = 1
    other.metadata["other"] = 2
    say(one, "q1", "a1")
    say(other, "q2", "a2")
    one.close()
    other.close()

    assert stored() == {"name": "Ada", "plan": {"steps": [1]}, "gone": True, "one": 1, "other": 2}


def test_a_session_that_is_cleared_keeps_its_metadata() -> None:
    session = Session(session_id="s")
    say(session, "forgotten")
    session.clear()
    session.save()

    assert session.metadata["name"] == "Ada"
    assert session.messages == []
    assert Session().load("s").messages == []
    assert stored()["name"] == "Ada"


def test_clearing_in_a_handler_reads_nothing_and_metadata_still_does() -> None:
    seen: list[Any] = []

    @handler(session=Session())
    def start_over(event: Any, context: Any) -> str:
        context.session.clear()
        say(context.session, "q2", "a2")
        seen.append([each.content for each in context.session.messages])
        seen.append(context.session.metadata["name"])
        return "ok"

    with mock_model():
        start_over({"body": {"session_id": "s"}}, MockLambdaContext())

    assert seen == [["q2", "a2"], "Ada"]
    assert [each.content for each in Session().load("s").messages] == ["q2", "a2"]


# What is refused


def test_no_message_is_added_beside_metadata_that_is_no_json() -> None:
    session = Session().load("s")
    session.metadata["when"] = object()
    with pytest.raises(TypeError, match=r"session.metadata holds what JSON cannot"):
        session.add_message("user", "refused")
    del session.metadata["when"]
    say(session, "q2", "a2")
    session.close()

    assert [each.content for each in Session().load("s").messages] == ["q", "a", "q2", "a2"]


def test_metadata_that_is_too_large_is_refused_until_it_is_mended() -> None:
    session = Session().load("s")
    session.metadata["large"] = "x" * 400_000
    for _ in range(2):
        with pytest.raises(lambdallm.InvalidRequestError, match="Metadata of"):
            session.add_message("user", "refused")
    del session.metadata["large"]
    say(session, "q2", "a2")
    session.close()

    assert [each.content for each in Session().load("s").messages] == ["q", "a", "q2", "a2"]
    assert stored() == {"name": "Ada", "plan": {"steps": [1]}, "gone": True}


def test_one_object_in_many_threads_hands_each_message_over_once() -> None:
    session = Session(memory=lambdallm.MemoryStrategy.FULL_HISTORY).load("threads")
    together = threading.Barrier(8)

    def talk(number: int) -> None:
        together.wait()
        for turn in range(20):
            session.add_message("user", f"{number}/{turn}")

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    session.add_message("assistant", "all")
    session.close()

    whole = Session(memory=lambdallm.MemoryStrategy.FULL_HISTORY).load("threads").messages
    assert sorted(each.content for each in whole) == sorted(
        ["all", *(f"{number}/{turn}" for number in range(8) for turn in range(20))]
    )


def test_of_two_first_events_the_one_that_sets_a_key_beats_what_both_begin_with() -> None:
    both_have_read, set_by_one = threading.Barrier(2), threading.Event()

    @handler(session=Session(session_id="first", metadata={"plan": "free", "seen": 0}))
    def handle(event: Any, context: Any) -> str:
        session = context.session
        assert session.messages == []
        both_have_read.wait(5)
        if event["sets"]:
            session.metadata["plan"] = "pro"
        else:
            assert set_by_one.wait(5)
        say(session, "q", "a")
        return "ok"

    def one() -> None:
        handle({"sets": True}, MockLambdaContext())
        set_by_one.set()

    thread = threading.Thread(target=one)
    thread.start()
    handle({"sets": False}, MockLambdaContext())
    thread.join()

    assert stored("first") == {"plan": "pro", "seen": 0}
