"""The chat page when its user is quick, has two tabs, or a browser that keeps nonsense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.chat_page import BUSY, NOTE, STATUS, WAITING, WORDS

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")
pytest.importorskip("ministack")

if TYPE_CHECKING:
    from examples.chat_page import Behind, Chat

GATE = """
const fetched = window.fetch;
const opened = new Promise((resolve) => { window.openTheGate = resolve; });
window.fetch = async (path, ...more) => {
  if (path === "./conversation") await opened;
  return fetched(path, ...more);
};
"""
"""Lets the page wait for its conversation until `openTheGate`."""

UNREACHABLE = """
window.fetch = async () => { throw new TypeError("Failed to fetch"); };
"""

FRAMES = """
window.frames_asked = [];
window.requestAnimationFrame = (draw) => window.frames_asked.push(draw);
"""
"""Draws nothing by itself."""

BOX = "document.getElementById('message').value"


def reload(chat: Chat, *scripts: str) -> None:
    """Load the page again, and wait until one can type."""
    for script in scripts:
        chat.page.before_load(script)
    chat.page.reload()
    chat.show()


def test_two_messages_while_the_conversation_is_read(chat: Chat, behind: Behind) -> None:
    reload(chat, GATE)
    chat.ask("first")
    chat.ask("second")

    chat.wait_for_status("One at a time")
    chat.page.evaluate("openTheGate()")
    first = behind.model.next_question()
    first.say("one")
    first.end()
    chat.wait_for_cost()
    assert chat.conversation() == ["first", "one"]
    assert chat.page.evaluate(BOX) == "second"
    chat.page.press("Enter")
    second = behind.model.next_question()
    assert [text for _, text in second.question] == ["first", "one", "second"]
    assert behind.model.questions == 2


def test_a_message_while_the_answer_before_a_reload_is_looked_for(
    chat: Chat, behind: Behind
) -> None:
    chat.ask("first")
    first = behind.model.next_question()
    first.say("one")
    chat.wait_for_text("one")
    reload(chat, GATE)
    chat.ask("second")

    chat.wait_for_status("One at a time")
    assert chat.page.evaluate(BUSY)
    chat.page.evaluate("openTheGate()")
    first.say(" two")
    first.end()
    chat.wait_for_cost()
    assert chat.conversation() == ["first", "one two"]
    chat.page.press("Enter")
    second = behind.model.next_question()
    second.say("three")
    second.end()
    chat.wait_for_text("three")
    chat.wait_for_cost()
    assert chat.page.texts(".cut, .failed") == []
    assert chat.page.complaints() == []


def test_stop_while_the_answer_before_a_reload_is_looked_for(chat: Chat, behind: Behind) -> None:
    chat.ask("first")
    first = behind.model.next_question()
    first.say("one")
    chat.wait_for_text("one")
    reload(chat, GATE)
    chat.page.click("#stop")
    chat.page.evaluate("openTheGate()")

    chat.page.wait_for(f"{NOTE}.textContent === 'Stopped here'")
    assert not chat.page.evaluate(BUSY)
    assert chat.page.evaluate(WAITING) == []


def test_each_line_break_of_unicode_is_shown(chat: Chat, behind: Behind) -> None:
    chat.ask("Count for me.")
    speech = behind.model.next_question()
    for piece in ("a\u2028b", "\u2029c\u0085", ": d\ve"):
        speech.say(piece)
    chat.wait_for_text("a\u2028b\u2029c\u0085: d\ve")  # and not from the conversation, afterwards
    speech.end()

    chat.wait_for_cost()
    assert chat.page.evaluate(STATUS) == ""


def test_a_new_conversation_in_one_tab_leaves_the_other_its_own(chat: Chat, behind: Behind) -> None:
    chat.ask("I am Ada.")
    first = behind.model.next_question()
    first.say("Hello, Ada.")
    first.end()
    chat.wait_for_cost()
    other = chat.beside()
    assert other.page.wait_for("document.querySelectorAll('.words').length") == 2
    other.page.click("#new")
    other.page.wait_for("document.getElementById('empty')")

    chat.show()
    chat.ask("Who am I?")
    second = behind.model.next_question()
    assert [text for _, text in second.question] == ["I am Ada.", "Hello, Ada.", "Who am I?"]
    second.say("Ada.")
    chat.wait_for_text("Ada.")
    other.show()
    other.ask("And I?")
    third = behind.model.next_question()
    assert [text for _, text in third.question] == ["And I?"]
    third.say("Somebody else.")
    third.end()
    other.wait_for_cost()

    chat.show()
    chat.page.reload()  # in the middle of an answer, of which the other tab knows nothing
    second.say(" Of course.")
    second.end()
    chat.wait_for_text("Ada. Of course.")
    chat.wait_for_cost()
    assert chat.conversation()[2:] == ["Who am I?", "Ada. Of course."]
    other.show()
    other.page.reload()
    other.wait_for_cost()
    assert other.conversation() == ["And I?", "Somebody else."]


def test_a_storage_with_nonsense_holds_nothing(chat: Chat, behind: Behind) -> None:
    for name, text in (("session", "{"), ("waiting", '"x')):
        chat.page.evaluate(f"localStorage['chat.{name}'] = {text!r}")
    chat.page.evaluate("sessionStorage['chat.session'] = '[\"s\"]'")
    reload(chat)

    chat.ask("Count for me.")
    speech = behind.model.next_question()
    chat.page.evaluate(
        "localStorage['chat.waiting.' + JSON.parse(sessionStorage['chat.session'])] = '7'"
    )
    speech.say("one")
    speech.end()
    chat.wait_for_cost()
    assert chat.conversation() == ["Count for me.", "one"]
    assert chat.page.complaints() == []


def test_a_server_out_of_reach_is_told_in_sentences(chat: Chat) -> None:
    reload(chat, UNREACHABLE)

    chat.wait_for_status("The conversation")
    assert chat.page.evaluate(STATUS) == (
        "The conversation could not be read: Failed to fetch. Reload to try again."
    )


def test_what_comes_between_two_pictures_is_laid_out_once(chat: Chat, behind: Behind) -> None:
    reload(chat, FRAMES)
    chat.ask("Count for me.")
    speech = behind.model.next_question()
    for piece in ("one", " two", " three"):
        speech.say(piece)
    chat.page.wait_for("frames_asked.length")
    assert chat.page.evaluate(WORDS) == ""
    speech.end()

    chat.wait_for_cost()
    assert chat.page.evaluate(WORDS) == "one two three"
    assert chat.page.evaluate("frames_asked.length") == 1


def test_escape_ends_what_is_composed_and_not_the_answer(chat: Chat, behind: Behind) -> None:
    chat.ask("Count for me.")
    speech = behind.model.next_question()
    speech.say("one")
    chat.wait_for_text("one")
    chat.page.evaluate(
        "document.getElementById('message').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Escape', isComposing: true, bubbles: true}))"
    )

    assert chat.page.evaluate(BUSY)
    speech.end()
    chat.wait_for_cost()
