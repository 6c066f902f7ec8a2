"""Providers of the user's own: the caller asks them, the engine decides and keeps the books."""

from typing import Any

import pytest

from fakes.played import ANSWER, USAGE, Gateway, PlayedStream, Player, lines, refused
from lambdallm_extension import errors
from lambdallm_extension.configuration import ModelAlias, ProviderSettings
from lambdallm_extension.services import performing
from lambdallm_extension.services.chat import Chat
from lambdallm_extension.services.performing import NOT_PERFORMED
from lambdallm_extension.services.streaming import StreamedReply


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


OWN = {"model": "mine/large", "own_providers": ["mine"]}


def ask(gateway: Gateway, chat: Chat, left_ms: int = 60_000, **request: Any) -> Any:
    asked = gateway.request(**{**OWN, **request})
    return chat.ask(asked, gateway.totals, deadline_ms=gateway.deadline_ms(left_ms))


def problem(**facts: Any) -> Any:
    return {"detail": "No.", "title": "model invocation", "status": 502, "retryable": True, **facts}


def test_the_caller_is_told_whom_to_ask_and_its_answer_is_booked(gateway: Gateway) -> None:
    chat = gateway.chat(Player())
    told = ask(gateway, chat)

    assert told == {
        "perform": {
            "call_id": "c", "provider": "mine", "class_name": "", "model_id": "large",
            "deadline_epoch_ms": gateway.deadline_ms(),
        }
    }  # fmt: skip
    assert gateway.record()["state"] == "intent"
    gateway.clock.now_ms += 40
    reply = gateway.performed(
        text="Hi", usage={"output_tokens": 7}, cost_pico_usd=55, finish_reason="stop"
    )

    assert (reply["text"], reply["content"], reply["model"]) == (
        "Hi", [{"text": "Hi"}], "mine/large",
    )  # fmt: skip
    assert (reply["cost_pico_usd"], reply["latency_ms"], reply["attempts"]) == (55, 40, 1)
    gateway.check_books(state="settled", cost_pico_usd=55, output_tokens=7, model="mine/large")


def test_a_class_that_the_configuration_names_is_named_to_the_caller() -> None:
    gateway = Gateway(
        models={"smart": ModelAlias("mine/large")},
        providers={"mine": ProviderSettings(kind="own", class_name="app.models:Mine")},
    )
    told = ask(gateway, gateway.chat(Player()), model="smart", own_providers=[])

    assert told["perform"]["class_name"] == "app.models:Mine"
    assert told["perform"]["model_id"] == "large"


def test_a_price_that_nobody_has_said_is_asked_of_the_price_book(gateway: Gateway) -> None:
    gateway.cost = None
    chat = gateway.chat(Player())
    ask(gateway, chat)

    assert gateway.performed(text="Hi")["cost_pico_usd"] is None
    gateway.check_books(state="settled", cost_pico_usd=None)


def test_counts_that_nobody_knows_here_do_no_harm(gateway: Gateway) -> None:
    chat = gateway.chat(Player())
    ask(gateway, chat)
    gateway.performed(text="Hi", usage={"output_tokens": 2, "thinking_tokens": 5})

    gateway.check_books(state="settled", output_tokens=2)


def test_its_failure_is_retried_as_any_others(gateway: Gateway) -> None:
    chat = gateway.chat(Player())
    ask(gateway, chat)
    again = gateway.performed(problem=problem(retry_after_seconds=3))

    assert again["perform"]["model_id"] == "large"
    assert gateway.waits == [3]
    assert gateway.performed(text="Hi")["attempts"] == 2
    assert gateway.totals.errors == 1
    gateway.check_books(state="settled", attempts=2)


def test_behind_it_stands_a_fallback(gateway: Gateway) -> None:
    player = Player(ANSWER)
    chat = gateway.chat(player)
    ask(gateway, chat, fallback_model="other")
    reply = gateway.performed(problem=problem(retryable=False))

    assert (reply["model"], player.asked) == ("other", ["other"])
    gateway.check_books(state="settled", model="other", attempts=2)


def test_it_may_be_a_fallback_itself(gateway: Gateway) -> None:
    chat = gateway.chat(Player(refused(400, retryable=False)))
    told = ask(gateway, chat, model="m", fallback_model="mine/large")

    assert told["perform"]["model_id"] == "large"
    gateway.performed(text="Hi")
    gateway.check_books(state="settled", model="mine/large", attempts=2)


def test_what_it_has_begun_to_generate_is_asked_of_nobody_else(gateway: Gateway) -> None:
    player = Player(ANSWER)
    chat = gateway.chat(player)
    ask(gateway, chat, fallback_model="other")
    with pytest.raises(errors.ProviderError) as caught:
        gateway.performed(problem=problem(sent=True))

    assert (caught.value.source, player.asked) == ("mine", [])
    gateway.check_books(state="unknown")


def test_its_last_failure_is_the_calls(gateway: Gateway) -> None:
    chat = gateway.chat(Player())
    ask(gateway, chat, max_retries=0)
    with pytest.raises(errors.ProviderError, match="No"):
        gateway.performed(problem=problem())

    gateway.check_books(state="failed", error="model invocation")


def test_a_stream_too_is_left_to_the_caller(gateway: Gateway) -> None:
    chat = gateway.chat(Player())
    told = chat.stream(gateway.request(**OWN), gateway.totals, deadline_ms=gateway.deadline_ms())

    assert isinstance(told, dict)
    gateway.performed(text="Hi")
    gateway.check_books(state="settled")


def test_a_stream_that_failed_before_its_first_piece_may_be_followed_by_an_own_one(
    gateway: Gateway,
) -> None:
    chat = gateway.chat(Player(PlayedStream([], refused(529))))
    told = chat.stream(
        gateway.request(fallback_model="mine/large", own_providers=["mine"], max_retries=0),
        gateway.totals,
        deadline_ms=gateway.deadline_ms(),
    )

    assert isinstance(told, dict)
    gateway.performed(text="Hi")
    gateway.check_books(state="settled", attempts=2)


def test_an_answer_counts_once(gateway: Gateway) -> None:
    chat = gateway.chat(Player())
    ask(gateway, chat)
    gateway.performed(text="Hi", usage=USAGE)
    with pytest.raises(errors.InvalidRequestError, match="waits for its own provider"):
        gateway.performed(text="Hi", usage=USAGE)

    gateway.check_books(state="settled")


def test_no_time_is_left_to_ask_it_again(gateway: Gateway) -> None:
    chat = gateway.chat(Player())
    ask(gateway, chat, left_ms=1_000)
    gateway.clock.now_ms += 900
    with pytest.raises(errors.ProviderError):
        gateway.performed(problem=problem())

    assert gateway.waits == []
    gateway.check_books(state="failed")


# Callers that never come back


def test_a_call_whose_caller_never_comes_back_is_booked_when_its_time_is_over(
    gateway: Gateway,
) -> None:
    chat = gateway.chat(Player())
    ask(gateway, chat)
    gateway.clock.now_ms += 60_001
    ask(gateway, chat, call_id="c2")

    assert gateway.record("c")["state"] == "unknown"
    assert gateway.record("c")["error"] == NOT_PERFORMED
    assert gateway.record("c2")["state"] == "intent"
    with pytest.raises(errors.InvalidRequestError):
        gateway.performed(text="late")


def test_calls_that_wait_are_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performing, "PENDING_MAX", 2)
    chat = gateway.chat(Player())
    for name in "abc":
        ask(gateway, chat, call_id=name)

    assert [gateway.record(name)["state"] for name in "abc"] == ["unknown", "intent", "intent"]
    assert gateway.performed(call_id="c", text="Hi")["text"] == "Hi"


def test_an_own_stream_and_a_fallbacks_reply_are_told_apart(gateway: Gateway) -> None:
    chat = gateway.chat(Player(PlayedStream("Hi")))
    reply = chat.stream(
        gateway.request(model="script/m", own_providers=["mine"]),
        gateway.totals,
        deadline_ms=gateway.deadline_ms(),
    )

    assert isinstance(reply, StreamedReply)
    lines(reply)
    reply.close()
    gateway.check_books(state="settled")
