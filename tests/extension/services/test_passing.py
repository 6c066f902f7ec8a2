"""Requests of unmodified clients go through byte for byte, and are booked on the way."""

import json
from typing import Any

import pytest

from fakes.played import Gateway, PlayedReply, Player, lost, refused
from lambdallm_extension import errors
from lambdallm_extension.model_ports import RawRequest
from lambdallm_extension.providers.openai.chat import DIALECT
from lambdallm_extension.server.dropin.hidden_usage import UsageHider
from lambdallm_extension.services import passing
from lambdallm_extension.services.passing import Passage, Passed, Passing
from lambdallm_extension.services.streaming import ENVIRONMENT_ENDED, READER_GONE

REQUEST = RawRequest("POST", "/chat/completions", "", [("x-a", "1")], b'{"model": "gpt"}')


def chunk(text: str = "", **more: Any) -> bytes:
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}] if text else []
    event = {"id": "r", "model": "gpt-1", "choices": choices, **more}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


FINISH = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USED = chunk(usage={"prompt_tokens": 14, "completion_tokens": 9, "total_tokens": 23})
DONE = b"data: [DONE]\n\n"
WHOLE = json.dumps(
    {
        "id": "r", "model": "gpt-1", "usage": {"prompt_tokens": 14, "completion_tokens": 9},
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
        ],
    }
).encode()  # fmt: skip


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def send(gateway: Gateway, outcome: Any, left_ms: int = 60_000, **passage: Any) -> Passed:
    player = Player(outcome)
    asked = Passage(
        REQUEST, player, **{"dialect": DIALECT, "model": "openai/gpt", "model_id": "gpt", **passage}
    )
    passed = Passing(gateway.books, gateway.streams, drain_seconds=10).send(
        asked, "c", "w", gateway.totals, deadline_ms=gateway.deadline_ms(left_ms)
    )
    assert player.requests == [REQUEST], "once: clients bring retries of their own"
    return passed


def read(passed: Passed) -> bytes:
    assert passed.pieces is not None
    received = b""
    while piece := passed.pieces.read():
        received += piece
    return received


def stream(gateway: Gateway, *steps: Any, **more: Any) -> tuple[Passed, PlayedReply]:
    reply = PlayedReply(*steps)
    return send(gateway, reply, streamed=True, **more), reply


# Whole answers


def test_a_whole_answer_is_booked_and_goes_back_as_it_came(gateway: Gateway) -> None:
    headers = [("content-type", "application/json"), ("x-request-id", "r1")]
    reply = PlayedReply(WHOLE[:20], WHOLE[20:], headers=headers)
    passed = send(gateway, reply)

    assert passed[:4] == (200, headers, WHOLE, None)
    assert reply.closed
    gateway.check_books(
        state="settled", output_tokens=9, model="openai/gpt", operation="chat", attempts=1
    )


def test_a_refusal_goes_back_as_it_came_and_costs_nothing(gateway: Gateway) -> None:
    body = b'{"error": {"type": "requests", "code": "rate_limit_exceeded", "message": "slow"}}'
    passed = send(gateway, PlayedReply(body, status=429, headers=[("retry-after", "3")]))

    assert passed[:4] == (429, [("retry-after", "3")], body, None)
    assert (gateway.totals.errors, gateway.totals.throttles) == (1, 1)
    gateway.check_books(state="failed", error="rate_limit_exceeded")


def test_a_200_that_nobody_can_read_is_the_clients_all_the_same(gateway: Gateway) -> None:
    body = b"<html>portal</html>"

    assert send(gateway, PlayedReply(body)).body == body
    gateway.check_books(state="unknown")


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (refused(0, sent=False, kind="NotSent"), "failed"),
        (lost(), "unknown"),
        (errors.DeadlineError("No time."), "failed"),
        (errors.SettingError("No key."), "failed"),
    ],
)
def test_what_does_not_come_through_is_raised_and_booked(
    gateway: Gateway, error: errors.ExtensionError, state: str
) -> None:
    with pytest.raises(type(error)):
        send(gateway, error)

    gateway.check_books(state=state)
    assert gateway.totals.errors == isinstance(error, errors.ProviderError)


def test_a_fault_of_ours_is_booked_as_what_may_be_billed(gateway: Gateway) -> None:
    reply = PlayedReply(b"{", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        send(gateway, reply)

    assert reply.closed
    gateway.check_books(state="unknown", error="Fault")


def test_an_answer_that_breaks_off_is_lost(gateway: Gateway) -> None:
    reply = PlayedReply(WHOLE[:20], lost())
    with pytest.raises(errors.ProviderError):
        send(gateway, reply)

    assert reply.closed
    gateway.check_books(state="unknown", error="AnswerLost")


def test_an_answer_without_end_is_not_kept(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "ANSWER_MAX_BYTES", 100)
    reply = PlayedReply(*[b"x" * 60] * 99)
    with pytest.raises(errors.ProviderError, match="longer than 100 bytes"):
        send(gateway, reply)

    assert (reply.reads, bool(reply.closed)) == (2, True)
    gateway.check_books(state="unknown", error="TooLong")


# Streams


def test_a_stream_goes_through_as_it_came_and_is_booked_before_its_end(gateway: Gateway) -> None:
    pieces = [chunk("Hel"), chunk("lo")[:9], chunk("lo")[9:] + FINISH, USED, DONE]
    passed, reply = stream(gateway, *pieces)
    assert passed.pieces is not None
    assert [passed.pieces.read() for _ in range(3)] == pieces[:3]
    assert gateway.totals.calls == 0
    assert passed.pieces.read() == USED
    assert gateway.totals.calls == 1, "before whoever reads the end can ask for the totals"
    assert read(passed) == DONE
    passed.pieces.close()

    assert reply.closed
    gateway.check_books(state="settled", error=None, estimated=None, output_tokens=9)


def test_what_was_asked_for_in_the_clients_place_is_taken_out(gateway: Gateway) -> None:
    passed, _ = stream(gateway, chunk("Hi") + FINISH[:5], FINISH[5:] + USED + DONE[:3], DONE[3:],
                       hide=UsageHider().hide)  # fmt: skip

    assert read(passed) == chunk("Hi") + FINISH + DONE
    assert passed.pieces is not None
    passed.pieces.close()
    gateway.check_books(state="settled", output_tokens=9)


def test_an_answer_that_says_no_usage_is_an_estimate(gateway: Gateway) -> None:
    passed, _ = stream(gateway, chunk("x" * 30), FINISH, DONE)
    read(passed)
    passed.pieces.close()  # type: ignore[union-attr]

    gateway.check_books(state="settled", estimated=True, output_tokens=10)


def test_a_cut_reaches_the_client_and_the_books(gateway: Gateway) -> None:
    passed, reply = stream(gateway, chunk("x" * 30), lost())
    assert passed.pieces is not None
    passed.pieces.read()
    with pytest.raises(errors.ProviderError):
        passed.pieces.read()
    passed.pieces.close()

    assert (reply.reads, bool(reply.closed)) == (2, True)
    gateway.check_books(state="settled", error="AnswerLost", estimated=True, output_tokens=10)


def test_a_stream_that_ends_too_early_is_the_clients_to_judge(gateway: Gateway) -> None:
    passed, _ = stream(gateway, chunk("x" * 30))

    assert read(passed) == chunk("x" * 30)
    passed.pieces.close()  # type: ignore[union-attr]
    gateway.check_books(state="settled", error="CutStream", estimated=True, output_tokens=10)


@pytest.mark.parametrize("before", [b"", chunk("x" * 30)])
def test_an_error_within_a_200_goes_through_and_is_booked(gateway: Gateway, before: bytes) -> None:
    failing = b'data: {"error": {"type": "server_error", "message": "boom"}}\n\n'
    passed, _ = stream(gateway, before + failing, DONE)

    assert read(passed) == before + failing + DONE
    passed.pieces.close()  # type: ignore[union-attr]
    gateway.check_books(
        state="settled", error="server_error", estimated=True, output_tokens=10 if before else 0
    )


@pytest.mark.parametrize("garbage", [b"data: {nonsense\n\n", b"\xff\x00" * 999, b"data: 5\n\n"])
def test_garbage_goes_through_and_is_booked_as_an_estimate(
    gateway: Gateway, garbage: bytes
) -> None:
    passed, _ = stream(gateway, chunk("x" * 30), garbage, USED, DONE)

    assert read(passed) == chunk("x" * 30) + garbage + USED + DONE
    passed.pieces.close()  # type: ignore[union-attr]
    gateway.check_books(state="settled")


def test_a_stream_that_is_refused_is_answered_whole(gateway: Gateway) -> None:
    body = b'{"error": {"message": "no"}}'
    passed = send(gateway, PlayedReply(body, status=400), streamed=True)

    assert (passed.status, passed.body, passed.pieces) == (400, body, None)
    gateway.check_books(state="failed")


# The client has gone


def test_a_client_that_goes_does_not_lose_the_usage(gateway: Gateway) -> None:
    passed, reply = stream(gateway, chunk("Hi"), FINISH, gateway.pass_ms(500), USED, DONE)
    assert passed.pieces is not None
    passed.pieces.read()
    deadline_ms = gateway.clock.now_ms + 10_000
    passed.pieces.close()
    passed.pieces.close()

    assert reply.limits == [(deadline_ms, 10)]
    gateway.check_books(state="settled", error=None, estimated=None, output_tokens=9)


@pytest.mark.parametrize("step", [lost(), "slow"])
def test_what_is_not_said_in_time_is_an_estimate(gateway: Gateway, step: Any) -> None:
    slow = gateway.pass_ms(10_001) if step == "slow" else step
    passed, reply = stream(gateway, chunk("x" * 30), slow, chunk("y" * 30), USED, FINISH)
    passed.pieces.read()  # type: ignore[union-attr]
    passed.pieces.close()  # type: ignore[union-attr]

    assert reply.closed
    gateway.check_books(
        state="settled",
        error=READER_GONE,
        estimated=True,
        output_tokens=20 if callable(slow) else 10,
    )


def test_a_client_that_goes_after_the_usage_has_come_keeps_nobody_waiting(
    gateway: Gateway,
) -> None:
    passed, reply = stream(gateway, chunk("Hi") + FINISH + USED, DONE)
    passed.pieces.read()  # type: ignore[union-attr]
    passed.pieces.close()  # type: ignore[union-attr]

    assert (reply.reads, reply.limits) == (1, [])
    gateway.check_books(state="settled", error=None, output_tokens=9)


def test_a_stream_under_way_when_the_environment_ends_is_booked_once(gateway: Gateway) -> None:
    passed, _ = stream(gateway, chunk("x" * 30), FINISH, USED, DONE)
    passed.pieces.read()  # type: ignore[union-attr]
    gateway.streams.settle_all()

    assert read(passed) == FINISH + USED + DONE
    passed.pieces.close()  # type: ignore[union-attr]
    gateway.check_books(state="settled", error=ENVIRONMENT_ENDED, estimated=True, output_tokens=10)


# Unmetered


@pytest.mark.parametrize("status", [200, 404])
def test_what_nobody_reads_goes_through_and_is_booked_as_that(
    gateway: Gateway, status: int
) -> None:
    reply = PlayedReply(b"\x00\x01", b"\x02", status=status, headers=[("x-b", "2")])
    passed = send(gateway, reply, dialect=None, model="openai/")

    assert (passed.status, passed.headers) == (status, [("x-b", "2")])
    assert read(passed) == b"\x00\x01\x02"
    passed.pieces.close()  # type: ignore[union-attr]
    assert reply.closed
    gateway.check_books(state="unmetered", operation="unmetered", model="openai/")


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_what_was_asked_for_gets_the_clients_own_body(
    gateway: Gateway, status: int
) -> None:
    refusing = PlayedReply(b'{"error": {"message": "unknown field"}}', status=status)
    player = Player(refusing, PlayedReply(chunk("x" * 30), FINISH, DONE))
    passage = Passage(
        REQUEST._replace(body=b"with the option"), player, DIALECT, "openai/gpt", "gpt",
        streamed=True, hide=UsageHider().hide, own_body=b"own",
    )  # fmt: skip
    passed = Passing(gateway.books, gateway.streams, drain_seconds=10).send(
        passage, "c", "w", gateway.totals, deadline_ms=gateway.deadline_ms()
    )

    assert read(passed) == chunk("x" * 30) + FINISH + DONE
    passed.pieces.close()  # type: ignore[union-attr]
    assert [request.body for request in player.requests] == [b"with the option", b"own"]
    assert refusing.closed
    gateway.check_books(state="settled", estimated=True, output_tokens=10)
