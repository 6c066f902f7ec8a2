"""An answer says which exchange it tells of, and who says it back is shown nothing older."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdallm import (
    ConfigurationError,
    InvalidRequestError,
    Session,
    _embedded,
    _receipts,
    _settings,
    _transport,
    handler,
)
from lambdallm._errors import StateError
from lambdallm_wire.receipts import session_mark


def made_up(lives_ms: int, session: str = "s") -> str:
    until = _settings.epoch_ms() + lives_ms
    return _receipts.encode("elsewhere", 3, until, session_id=session)


def event(session: str = "s", receipt: str = "", **more: Any) -> dict[str, Any]:
    headers = {"x-session-id": session, **({"X-Lambdallm-Exchange": receipt} if receipt else {})}
    return {"requestContext": {"http": {"method": "POST"}}, "headers": headers,
            "body": json.dumps({"say": "Hello", **more})}  # fmt: skip


def chat(durability: str = "after_response", answers: bool = True) -> Any:
    @handler(session=Session(durability=durability))
    def handle(event: Any, context: Any) -> Any:
        session = context.session
        seen = [message.content for message in session.messages]
        session.add_message("user", event["body"]["say"])
        before = session.receipt
        if answers:
            session.add_message("assistant", f"answer {len(seen)}")
        if "after" in event["body"]:
            session.load("s", after=event["body"]["after"])
            seen = [message.content for message in session.messages]
        return {"seen": seen, "before": before, "receipt": session.receipt}

    return handle


@pytest.mark.parametrize(
    "identity", ["a", "8f14-45", "with space;and=more", "taken#2.17", "% ü 漢", "x" * 512]
)
def test_what_is_written_is_read_again(identity: str) -> None:
    text = _receipts.encode(identity, 17, 1_790_000_000_000, session_id="s", principal="ü")

    assert text.isascii()
    assert text.isprintable()
    assert ";" not in text.split(";version=")[0]
    assert _receipts.decode(text) == {
        "identity": identity, "version": 17, "until_epoch_ms": 1_790_000_000_000,
        "session": session_mark("s", "ü"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "a;version=1", "a;until=1", ";version=1;until=2", "a;version=-1;until=2",
        "a;version=x;until=2", "%;version=1;until=2", "%zz;version=1;until=2",
        "%ff;version=1;until=2", "%0a;version=1;until=2", "a;version=1;until=" + "9" * 16,
        "a;version=1;until=2;session=", "a;version=1;until=2;session=1c291cA3",
        "a;version=1;until=²", "x" * 3_000 + ";version=1;until=2", None, 7,
    ],
)  # fmt: skip
def test_what_is_no_receipt_is_refused(text: object) -> None:
    with pytest.raises(InvalidRequestError, match="x-lambdallm-exchange"):
        _receipts.decode(text)


def test_an_answer_that_leaves_first_carries_its_receipt() -> None:
    answer = chat()(event())
    receipt = answer["headers"]["x-lambdallm-exchange"]
    body = json.loads(answer["body"])
    assert (body["before"], body["receipt"]) == (None, receipt)
    assert _receipts.decode(receipt)["version"] == 0

    answer = chat()(event(receipt=receipt))
    assert json.loads(answer["body"])["seen"] == ["Hello", "answer 0"]
    assert _receipts.decode(answer["headers"]["x-lambdallm-exchange"])["version"] == 1


def test_lists_of_headers_carry_it_as_lists() -> None:
    balanced = {"requestContext": {"elb": {}}, "multiValueHeaders": {"x-session-id": ["s"]},
                "body": '{"say": "Hello"}'}  # fmt: skip

    assert len(chat()(balanced)["multiValueHeaders"]["x-lambdallm-exchange"]) == 1


@pytest.mark.parametrize(
    ("durability", "answers"), [("before_response", True), ("after_response", False)]
)
def test_what_was_stored_before_the_answer_left_needs_none(durability: str, answers: bool) -> None:
    answer = chat(durability, answers)(event())

    assert answer["statusCode"] == 200
    assert "x-lambdallm-exchange" not in answer["headers"]
    assert (json.loads(answer["body"])["receipt"] is None) is not answers


def test_what_is_not_there_yet_is_worth_another_try() -> None:
    answer = chat()(event(receipt=made_up(60_000)))

    problem = json.loads(answer["body"])
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "1")
    assert (problem["code"], problem["retryable"]) == ("state", True)
    assert "not stored yet" in problem["detail"]


def test_what_was_lost_is_said_to_be_lost() -> None:
    answer = chat()(event(receipt=made_up(-60_000)))

    problem = json.loads(answer["body"])
    assert (answer["statusCode"], problem["retryable"]) == (500, False)
    assert "never stored" in problem["detail"]


def test_a_made_up_header_is_the_callers_mistake() -> None:
    assert chat()(event(receipt="made up"))["statusCode"] == 400


@pytest.mark.parametrize(("lives_ms", "session"), [(60_000, "other"), (3_600_000, "s")])
def test_a_receipt_of_no_answer_in_this_session_is_refused_at_once(
    lives_ms: int, session: str
) -> None:
    answer = chat()(event(receipt=made_up(lives_ms, session)))

    assert answer["statusCode"] == 400
    assert "none of this session" in json.loads(answer["body"])["detail"]


def test_a_handler_may_be_told_in_the_body() -> None:
    first = json.loads(chat()(event())["body"])
    again = json.loads(chat()(event(after=first["receipt"]))["body"])

    assert again["seen"] == ["Hello", "answer 0", "Hello", "answer 2"]


def test_a_script_waits_too() -> None:
    receipt = json.loads(chat()(event())["body"])["receipt"]

    with Session().load("s", after=receipt) as session:
        assert [message.content for message in session.messages] == ["Hello", "answer 0"]
    with pytest.raises(StateError, match="never stored"):
        Session().load("s", after=made_up(-60_000))


class OlderEngine:
    """The embedded engine, which drops what it does not know, and does not say that it knows it."""

    usable = True

    def __init__(self) -> None:
        self._engine = _embedded.EmbeddedTransport.start()

    def request(self, route: Any, message: Any, *, timeout_seconds: float) -> Any:
        message = {name: value for name, value in message.items() if name != "after"}
        reply = self._engine.request(route, message, timeout_seconds=timeout_seconds)
        return {name: value for name, value in reply.items() if name != "understood"}

    def close(self) -> None:
        self._engine.close()


def test_an_older_layer_is_not_trusted_to_wait() -> None:
    receipt = json.loads(chat()(event())["body"])["receipt"]
    before = _transport.replace(OlderEngine())
    before.close()

    refused = chat()(event(receipt=receipt))
    assert json.loads(refused["body"])["code"] == "configuration"
    with pytest.raises(ConfigurationError, match="too old to wait"):
        Session().load("s", after=receipt)
