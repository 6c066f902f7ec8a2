"""The chat page in a real browser, before the function as its own template deploys it.

Chromium ─ relay ─ Function URL ─ awslambdaric + the built layer ─ a model that speaks on command
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from examples.browser import NARROW, WIDE
from examples.chat_page import CONTRAST, NOTE, PLACES, TEMPLATE, WAITING
from examples.deployed import load_template

pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")
pytest.importorskip("ministack")

from fakes.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.conftest import Service
    from examples.browser import Page
    from examples.chat_page import Behind, Chat

ROOT = Path(__file__).parents[2]
SHIFT = 8

SPOKEN = [
    (
        "Why do rivers bend?",
        "Because water is never quite even.\n\nWhere a bank gives way a little, the current ",
        "leans into it and takes more; on the inner side it slows down and lays its sand. ",
        "Each bend so makes itself stronger.",
    ),
    (
        "And why do they not bend back? Tell me in a list, and mention what is left behind.",
        "1. The outer bank is worn away.\n2. The inner bank grows.\n",
        "3. One day the river cuts through the neck, and leaves a lake behind: an oxbow.",
    ),
]


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[Page, str], None]:
    """Takes a picture of the page; LAMBDALLM_SCREENSHOTS names a folder to keep it in."""

    def take(page: Page, name: str) -> None:
        path = tmp_path / f"{name}.png"
        page.screenshot(path)
        kept = os.environ.get("LAMBDALLM_SCREENSHOTS")
        if kept:
            Path(kept).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, kept)

    return take


def test_words_are_seen_as_they_are_spoken_and_their_cost_at_the_end(
    chat: Chat, behind: Behind
) -> None:
    chat.ask("Count for me.")
    speech = behind.model.next_question()
    for piece, seen in (("one", "one"), (" two\n", "one two\n"), ("\n<b>x", "one two\n\n<b>x")):
        speech.say(piece)
        chat.wait_for_text(seen)  # and the model has said no more yet
    assert chat.page.evaluate(f"{NOTE}.textContent") == ""
    speech.say(" three.")
    speech.end()

    assert round(chat.wait_for_cost() * 1e12) == speech.cost_pico_usd
    chat.wait_for_text("one two\n\n<b>x three.")
    assert chat.page.evaluate("document.querySelectorAll('.words b').length") == 0
    assert behind.costs_in_the_books() == [speech.cost_pico_usd]
    assert chat.page.complaints() == []


@pytest.mark.parametrize("behind", [False, True], ids=["unnoticed", "noticed"], indirect=True)
def test_a_cut_in_the_middle_keeps_what_came_and_gets_the_rest(
    chat: Chat, behind: Behind, picture: Callable[[Page, str], None]
) -> None:
    chat.ask("Count for me.")
    speech = behind.model.next_question()
    speech.say("one two")
    chat.wait_for_text("one two")
    places = chat.page.evaluate(PLACES)
    chat.relay.cut()

    chat.wait_for_status("The connection broke.")
    chat.wait_for_looks(2)
    assert chat.conversation() == ["Count for me.", "one two"]
    assert chat.page.evaluate(PLACES) == places
    picture(chat.page, "cut")
    speech.say(" three")
    speech.end()

    assert round(chat.wait_for_cost() * 1e12) == speech.cost_pico_usd
    chat.wait_for_status("The connection is back")
    assert chat.conversation() == ["Count for me.", "one two three"]
    picture(chat.page, "recovered")
    assert chat.page.evaluate(PLACES) == places
    assert behind.model.questions == 1
    assert behind.costs_in_the_books() == [speech.cost_pico_usd]


def test_a_cut_before_the_first_word_asks_the_model_no_second_time(
    chat: Chat, behind: Behind
) -> None:
    chat.ask("Count for me.")
    speech = behind.model.next_question()
    chat.page.wait_for(f"{WAITING}[0].begun")
    chat.relay.cut()
    chat.wait_for_status("The connection broke.")
    chat.wait_for_looks(2)
    speech.say("one two three")
    speech.end()

    chat.wait_for_cost()
    assert chat.conversation() == ["Count for me.", "one two three"]
    assert behind.model.questions == 1


def test_a_message_that_did_not_arrive_is_sent_again_by_itself(chat: Chat, behind: Behind) -> None:
    chat.relay.refuse()
    chat.ask("Count for me.")
    chat.wait_for_status("No connection.")
    assert behind.model.questions == 0
    chat.relay.refuse(refuse=False)

    speech = behind.model.next_question()
    speech.say("one")
    chat.wait_for_text("one")
    speech.end()
    chat.wait_for_cost()
    assert chat.conversation() == ["Count for me.", "one"]
    assert behind.model.questions == 1


@pytest.mark.parametrize("way", ["button", "key"])
def test_stop_ends_what_is_shown_and_the_next_message_goes_on(
    chat: Chat, behind: Behind, way: str
) -> None:
    chat.ask("Count for me.")
    first = behind.model.next_question()
    first.say("one")
    chat.wait_for_text("one")
    if way == "button":
        chat.page.click("#stop")
    else:
        chat.page.press("Escape")

    chat.page.wait_for(f"{NOTE}.textContent === 'Stopped here'")
    first.say(" two")
    first.end()
    until(behind.costs_in_the_books)  # it is stored then
    chat.ask("And then?")
    second = behind.model.next_question()
    assert second.question[:2] == [("user", "Count for me."), ("assistant", "one two")]
    second.say("three")
    second.end()
    chat.wait_for_cost()
    assert chat.conversation() == ["Count for me.", "one", "And then?", "three"]


def test_a_reload_goes_on_with_the_conversation(chat: Chat, behind: Behind) -> None:
    chat.ask("I am Ada.")
    first = behind.model.next_question()
    first.say("Hello, Ada.")
    first.end()
    cost = chat.wait_for_cost()

    chat.page.reload()
    assert chat.wait_for_cost() == cost
    assert chat.conversation() == ["I am Ada.", "Hello, Ada."]
    chat.ask("Who am I?")
    second = behind.model.next_question()
    assert [text for _, text in second.question] == ["I am Ada.", "Hello, Ada.", "Who am I?"]
    second.say("Ada.")
    chat.wait_for_text("Ada.")
    chat.page.reload()  # in the middle of an answer
    second.say(" Of course.")
    second.end()

    chat.wait_for_text("Ada. Of course.")
    assert chat.conversation()[2:] == ["Who am I?", "Ada. Of course."]
    assert behind.model.questions == 2

    chat.page.click("#new")
    chat.page.wait_for("document.getElementById('empty')")
    assert chat.conversation() == []


def test_a_model_that_fails_in_the_middle_is_told_and_asked_again_on_request(
    chat: Chat, behind: Behind, picture: Callable[[Page, str], None]
) -> None:
    chat.ask("Count for me.")
    speech = behind.model.next_question()
    speech.say("one")
    chat.wait_for_text("one")
    speech.fail("modelStreamErrorException", "The model broke off.")

    chat.page.wait_for("document.querySelector('.failed .note button')")
    assert chat.conversation() == ["Count for me.", "one"]
    picture(chat.page, "failed")
    chat.page.click(".failed .note button")
    again = behind.model.next_question()
    assert again.question == [("user", "Count for me.")]
    again.say("one two")
    again.end()
    chat.wait_for_cost()
    assert chat.conversation() == ["Count for me.", "one two"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_looks_right(
    chat: Chat, behind: Behind, picture: Callable[[Page, str], None], scheme: str
) -> None:
    page = chat.page
    page.prefer(color_scheme=scheme)
    picture(page, f"{scheme}-empty")
    assert page.evaluate(CONTRAST) == []
    for question, *pieces in SPOKEN:
        chat.ask(question)
        speech = behind.model.next_question()
        for piece in pieces[:-1]:
            speech.say(piece)
        chat.wait_for_text("".join(pieces[:-1]))
        picture(page, f"{scheme}-writing")
        assert page.evaluate(CONTRAST) == []
        places = page.evaluate(PLACES)
        speech.say(pieces[-1])
        speech.end()
        chat.wait_for_cost()
        assert page.evaluate(PLACES) == places
    picture(page, scheme)
    assert page.evaluate(CONTRAST) == []
    for size in (NARROW, WIDE):
        page.resize(size)
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
        picture(page, f"{scheme}-{size.width}")


def test_a_screen_reader_and_the_keyboard_find_everything(chat: Chat, behind: Behind) -> None:
    page = chat.page
    assert {
        ("log", "Conversation"),
        ("textbox", "Your message"),
        ("button", "Send"),
        ("button", "New conversation"),
    } <= page.names()
    page.press("Tab")
    assert page.evaluate("document.activeElement.id") == "send"
    page.press("Tab", modifiers=SHIFT)
    page.insert("first")
    page.press("Enter", modifiers=SHIFT)
    page.insert("second")
    page.press("Enter")
    speech = behind.model.next_question()

    assert speech.question == [("user", "first\nsecond")]
    speech.say("one")
    chat.wait_for_text("one")
    assert page.evaluate("document.querySelector('article.assistant').ariaBusy") == "true"
    assert ("button", "Stop") in page.names()
    assert page.evaluate("document.activeElement.id") == "message"
    speech.end()
    chat.wait_for_cost()
    assert page.evaluate("document.querySelector('article.assistant').ariaBusy") == "false"


def test_without_a_browser_the_api_says_it_in_events(behind: Behind) -> None:
    headers = {"x-session-id": "s-1"}
    with httpx.Client(base_url=behind.url, headers=headers, timeout=30) as client:
        key = {"idempotency-key": "m-1"}
        with client.stream("POST", "/", json={"message": "Count."}, headers=key) as response:
            lines = response.iter_lines()
            begun = [next(lines) for _ in range(3)]  # before the model has said anything
            speech = behind.model.next_question()
            speech.say("one\ntwo")
            seen = [next(lines) for _ in range(3)]  # while the model has not ended
            speech.end()
            rest = list(lines)
        said = client.get("/conversation").json()
        page = client.get("/")
        refused = client.post("/", json={"massage": "x"})

    assert response.headers["content-type"].startswith("text/event-stream")
    assert begun == ["event: begun", "data: ", ""]
    assert seen == ["data: one", "data: two", ""]
    assert rest[0] == "event: cost"
    cost = json.loads(rest[1].removeprefix("data: "))
    assert cost["tokens"] == speech.reply["usage"]["outputTokens"]
    assert [(each["role"], each["content"]) for each in said] == [
        ("user", "Count."),
        ("assistant", "one\ntwo"),
    ]
    assert said[0]["metadata"] == {"id": "m-1"}
    assert said[1]["metadata"] == cost
    assert page.text == (TEMPLATE.parent / "page.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert refused.status_code == 400
    assert behind.model.questions == 1


def test_what_is_spent_a_day_is_reserved_from_a_budget(behind: Behind, dynamodb: Service) -> None:
    message = {"message": "Count."}
    with httpx.stream("POST", behind.url, json=message, timeout=30) as response:
        speech = behind.model.next_question()
        speech.end()
        response.read()
    assert behind.costs_in_the_books() == [speech.cost_pico_usd]

    table = boto3.resource(
        "dynamodb",
        endpoint_url=dynamodb.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    ).Table(dynamodb.table)
    items = table.scan(ConsistentRead=True)["Items"]
    assert [each["pk"] for each in items if each["pk"].startswith("BUDGET#daily#")]


def test_the_function_may_do_what_the_sample_may() -> None:
    def statements(template: Path) -> dict[str, Any]:
        (policy,) = load_template(template)["Resources"]["ChatFunction"]["Properties"]["Policies"]
        return {each["Sid"]: each for each in policy["Statement"] if "Sid" in each}

    ours, sample = statements(TEMPLATE), statements(ROOT / "template.yaml")

    assert ours.keys() == {"SessionsAndCallRecords", "BudgetsAreNotItsOwn", "AskTheModel"}
    asking = ours["AskTheModel"]
    assert asking.pop("Action") == "bedrock:InvokeModelWithResponseStream"
    sample["AskTheModel"].pop("Action")
    assert ours.items() <= sample.items()
