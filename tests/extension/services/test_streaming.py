"""A streamed answer is booked exactly once, whichever way it ends, and nothing stays open."""

from threading import Barrier, Thread
from typing import Any

import pytest

from fakes.played import USAGE, Gateway, PlayedStream, Player, lines, lost, refused
from lambdallm_extension import errors
from lambdallm_extension.domain.model_circuit import FAILURES_MIN, FIRST_PAUSE_MS
from lambdallm_extension.services.streaming import (
    ENVIRONMENT_ENDED,
    NOT_READ,
    READER_GONE,
    StreamedReply,
)
from lambdallm_wire.tokens import NO_USAGE


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def begin(gateway: Gateway, *streams: Any, left_ms: int = 60_000, **request: Any) -> StreamedReply:
    chat = gateway.chat(Player(*streams))
    reply = chat.stream(
        gateway.request(**request), gateway.totals, deadline_ms=gateway.deadline_ms(left_ms)
    )
    assert isinstance(reply, StreamedReply)
    return reply


def test_pieces_come_as_lines_and_the_response_last(gateway: Gateway) -> None:
    stream = PlayedStream("Hel", [], gateway.pass_ms(30), "lo")
    reply = begin(gateway, stream)
    first, second, last = lines(reply)
    reply.close()

    assert (first, second) == ({"text": "Hel"}, {"text": "lo"})
    response = last["response"]
    assert (response["text"], response["content"]) == ("Hello", [{"text": "Hello"}])
    assert (response["usage"], response["cost_pico_usd"]) == (USAGE, 100)
    assert (response["finish_reason"], response["attempts"]) == ("stop", 1)
    assert (response["total_cost_pico_usd"], response["latency_ms"]) == (100, 30)
    record = gateway.check_books(state="settled", error=None, estimated=None, attempts=1)
    assert (record["provider_request_id"], record["latency_ms"]) == ("req-1", 30)
    assert stream.closed


def test_it_is_booked_before_the_last_line_is_handed_out(gateway: Gateway) -> None:
    reply = begin(gateway, PlayedStream("Hi"))
    reply.read()
    assert gateway.totals.calls == 0
    assert b"response" in reply.read()

    assert gateway.totals.calls == 1, "whoever reads the end may already ask for the totals"
    assert [partial.call_id for partial in gateway.streams.of("w")] == ["c"]
    reply.close()
    gateway.check_books(state="settled")


@pytest.mark.parametrize("steps", [[], [[]], [[], []]])
def test_an_answer_without_any_piece_is_an_answer(gateway: Gateway, steps: list[Any]) -> None:
    reply = begin(gateway, PlayedStream(*steps))
    (only,) = lines(reply)
    reply.close()

    assert only["response"]["text"] == ""
    gateway.check_books(state="settled")


def test_usage_that_the_api_has_not_said_is_an_estimate(gateway: Gateway) -> None:
    reply = begin(gateway, PlayedStream("x" * 30, usage=None))
    lines(reply)
    reply.close()

    gateway.check_books(state="settled", output_tokens=10, estimated=True, error=None)


# Before the first piece


def test_what_fails_before_the_first_piece_is_asked_again(gateway: Gateway) -> None:
    failing = PlayedStream([], refused(529))
    reply = begin(gateway, refused(), failing, PlayedStream("Hi"))
    response = lines(reply)[-1]["response"]
    reply.close()

    assert (response["attempts"], response["text"], len(gateway.waits)) == (3, "Hi", 2)
    assert failing.closed, "its connection is let go of"
    assert gateway.totals.errors == 2
    gateway.check_books(state="settled", attempts=3)


def test_what_is_lost_before_the_first_piece_may_be_billed_and_is_not_asked_again(
    gateway: Gateway,
) -> None:
    with pytest.raises(errors.ProviderError):
        begin(gateway, PlayedStream([], lost()), PlayedStream("Hi"), fallback_model="other")

    gateway.check_books(state="unknown", error="AnswerLost", model="m")


def test_a_fault_before_the_first_piece_leaves_nothing_open(gateway: Gateway) -> None:
    stream = PlayedStream([], ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        begin(gateway, stream)

    assert stream.closed
    assert gateway.streams.wait_for_none(0)


# After it


@pytest.mark.parametrize(
    "error", [lost(), refused(529), refused(200, kind="CutStream", retryable=False)]
)
def test_what_fails_after_the_first_piece_is_told_booked_and_never_asked_again(
    gateway: Gateway, error: errors.ProviderError
) -> None:
    reply = begin(
        gateway, PlayedStream("x" * 30, error), PlayedStream("other"), fallback_model="other"
    )
    first, last = lines(reply)
    reply.close()

    assert first == {"text": "x" * 30}
    assert (last["problem"]["code"], last["problem"]["request_id"]) == ("model_invocation", "w")
    gateway.check_books(
        state="settled", error=error.kind, estimated=True, output_tokens=10, attempts=1
    )
    assert gateway.totals.errors == 1


def failing(gateway: Gateway, times: int, *steps: Any, read: bool = True) -> None:
    for _ in range(times):
        reply = begin(gateway, PlayedStream("x", *steps))
        if read:
            lines(reply)
        reply.close()


def asked_of(gateway: Gateway) -> str:
    """Return whom a call asks that may ask a model `m` or another one."""
    player = Player(PlayedStream("Hi"))
    request = gateway.request(fallback_model="other")
    reply = gateway.chat(player).stream(request, gateway.totals, deadline_ms=gateway.deadline_ms())
    assert isinstance(reply, StreamedReply)
    lines(reply)
    reply.close()
    return player.asked[0]


@pytest.mark.parametrize("error", [lost(), refused(529), refused(200, kind="CutStream")])
def test_a_model_whose_answers_break_off_is_left_alone(
    gateway: Gateway, error: errors.ProviderError
) -> None:
    failing(gateway, FAILURES_MIN - 1, error)
    assert asked_of(gateway) == "m"
    failing(gateway, 1, error)

    assert asked_of(gateway) == "other"
    assert gateway.totals.errors == FAILURES_MIN
    gateway.clock.now_ms += FIRST_PAUSE_MS
    failing(gateway, 1, error)
    assert asked_of(gateway) == "other", "its beginning alone is no answer"
    gateway.clock.now_ms += 2 * FIRST_PAUSE_MS
    assert [asked_of(gateway), asked_of(gateway)] == ["m", "m"]


def test_an_answer_from_before_does_not_end_a_pause(gateway: Gateway) -> None:
    early = begin(gateway, PlayedStream("x", "y"))
    failing(gateway, FAILURES_MIN, refused(529))
    assert lines(early)[-1]["response"]
    early.close()

    assert asked_of(gateway) == "other"


def test_a_reader_that_goes_is_not_the_models_fault(gateway: Gateway) -> None:
    failing(gateway, 2 * FAILURES_MIN, gateway.pass_ms(11_000), "y", "z", read=False)
    failing(gateway, 2 * FAILURES_MIN, "y", lost(), read=False)

    assert (gateway.totals.errors, asked_of(gateway)) == (0, "m")


def test_a_deadline_of_ours_is_not_the_models_fault(gateway: Gateway) -> None:
    for number in range(2 * FAILURES_MIN):
        stream = PlayedStream("x", gateway.pass_ms(5_000), lost())
        reply = begin(gateway, stream, left_ms=5_000, call_id=f"late-{number}")
        assert "problem" in lines(reply)[-1]
        reply.close()

    assert asked_of(gateway) == "m"
    assert gateway.totals.errors == 2 * FAILURES_MIN


def test_a_refusal_within_a_stream_for_the_callers_own_fault_is_not_the_models(
    gateway: Gateway,
) -> None:
    failing(gateway, 2 * FAILURES_MIN, refused(400, kind="validation", retryable=False))

    assert (gateway.totals.errors, asked_of(gateway)) == (2 * FAILURES_MIN, "m")


def test_a_cut_after_the_usage_was_said_keeps_what_was_said(gateway: Gateway) -> None:
    stream = PlayedStream("x", lambda: setattr(stream.answer, "usage", USAGE), lost())
    reply = begin(gateway, stream)
    lines(reply)
    reply.close()

    gateway.check_books(state="settled", error="AnswerLost", output_tokens=9, estimated=True)


def test_a_fault_of_ours_in_the_middle_is_booked_all_the_same(gateway: Gateway) -> None:
    reply = begin(gateway, PlayedStream("x" * 30, ZeroDivisionError(), ZeroDivisionError()))
    reply.read()
    with pytest.raises(ZeroDivisionError):
        reply.read()
    with pytest.raises(ZeroDivisionError):
        reply.close()

    gateway.check_books(state="settled", error=NOT_READ, estimated=True, output_tokens=10)


# The reader has gone


def test_a_reader_that_goes_does_not_lose_the_usage(gateway: Gateway) -> None:
    stream = PlayedStream("Hel", "lo", gateway.pass_ms(500), " there")
    reply = begin(gateway, stream)
    reply.read()
    reply.close()

    gateway.check_books(state="settled", error=None, estimated=None, output_tokens=9)
    assert stream.limits[-1] == (gateway.clock.now_ms - 500 + 10_000, 10.0)
    assert stream.closed


def test_nobody_but_the_books_waits_no_longer_than_the_bound(gateway: Gateway) -> None:
    stream = PlayedStream("a", "b", gateway.pass_ms(10_000), "c", "d", "e")
    reply = begin(gateway, stream)
    reply.read()
    reply.close()

    gateway.check_books(state="settled", error=READER_GONE, estimated=True, output_tokens=1)
    assert stream.reads == 3
    assert stream.closed


@pytest.mark.parametrize(
    ("error", "reason"), [(lost(), READER_GONE), (refused(529, kind="overloaded"), "overloaded")]
)
def test_what_ends_while_nobody_reads_is_booked_with_its_reason(
    gateway: Gateway, error: errors.ProviderError, reason: str
) -> None:
    reply = begin(gateway, PlayedStream("x" * 30, "y" * 30, error))
    reply.read()
    reply.close()

    gateway.check_books(state="settled", error=reason, estimated=True, output_tokens=20)


def test_draining_never_goes_beyond_the_deadline(gateway: Gateway) -> None:
    stream = PlayedStream("a", "b")
    deadline_ms = gateway.deadline_ms(3_000)
    reply = begin(gateway, stream, left_ms=3_000)
    reply.close()

    assert stream.limits[-1] == (deadline_ms, 10.0)


def test_a_stream_that_says_nothing_for_too_long_is_cut() -> None:
    gateway = Gateway(stall_seconds=7.0)
    stream = PlayedStream("a")
    begin(gateway, stream)

    assert stream.limits == [(gateway.deadline_ms(), 7.0)]


def test_a_reply_that_nobody_has_read_at_all_is_drained_too(gateway: Gateway) -> None:
    begin(gateway, PlayedStream("Hi")).close()

    gateway.check_books(state="settled", error=None)


def test_a_reply_that_is_not_wanted_any_more_is_cut_and_booked_as_far_as_it_came(
    gateway: Gateway,
) -> None:
    stream = PlayedStream("x" * 30, "y" * 30)
    reply = begin(gateway, stream, reader_gone="cancel")
    reply.read()
    reply.close()

    assert (stream.reads, stream.closed) == (1, True), "nothing is read on"
    gateway.check_books(state="settled", error=READER_GONE, estimated=True, output_tokens=10)


@pytest.mark.parametrize("provider", ["bedrock", "sagemaker"])
def test_a_model_that_is_billed_to_its_end_is_read_on_even_so(
    gateway: Gateway, provider: str
) -> None:
    player = Player(PlayedStream("Hel", "lo"))
    player.name = provider
    request = gateway.request(model=f"{provider}/m", reader_gone="cancel")
    reply = gateway.chat(player).stream(request, gateway.totals, deadline_ms=gateway.deadline_ms())
    assert isinstance(reply, StreamedReply)
    reply.read()
    reply.close()

    gateway.check_books(state="settled", error=None, estimated=None)


@pytest.mark.parametrize("read_first", [True, False])
def test_closing_twice_does_no_harm(gateway: Gateway, read_first: bool) -> None:
    reply = begin(gateway, PlayedStream("Hi"))
    if read_first:
        lines(reply)
    reply.close()
    reply.close()

    assert reply.read() == b""
    gateway.check_books(state="settled", error=None)


# The environment ends


def test_an_answer_under_way_when_the_environment_ends_is_booked_as_it_stands(
    gateway: Gateway,
) -> None:
    reply = begin(gateway, PlayedStream("x" * 30, "more"))
    reply.read()
    gateway.streams.settle_all()

    assert gateway.streams.wait_for_none(0), "nobody waits for it any more"
    assert lines(reply)[-1]["response"]["text"] == "x" * 30 + "more"
    reply.close()
    gateway.check_books(state="settled", error=ENVIRONMENT_ENDED, estimated=True, output_tokens=10)


def test_a_reply_that_is_booked_already_is_not_drained(gateway: Gateway) -> None:
    stream = PlayedStream("x", "y", "z")
    reply = begin(gateway, stream)
    reply.read()
    gateway.streams.settle_all()
    reply.close()

    assert (stream.reads, stream.closed) == (1, 1)
    gateway.check_books(state="settled", error=ENVIRONMENT_ENDED)


@pytest.mark.parametrize("steps", [["b"], ["b", lost()]])
def test_an_end_and_the_environments_end_at_once_are_booked_once(steps: list[Any]) -> None:
    for _ in range(50):
        gateway = Gateway()
        reply = begin(gateway, PlayedStream("a", *steps))
        together = Barrier(3)

        def end(together: Barrier = together, gateway: Gateway = gateway) -> None:
            together.wait()
            gateway.streams.settle_all()

        def read(together: Barrier = together, reply: StreamedReply = reply) -> None:
            together.wait()
            lines(reply)
            reply.close()

        threads = [Thread(target=end), Thread(target=read)]
        for thread in threads:
            thread.start()
        together.wait()
        for thread in threads:
            thread.join(10)

        gateway.check_books(state="settled")


def test_what_has_come_of_a_units_answers_can_be_looked_at(gateway: Gateway) -> None:
    reply = begin(gateway, PlayedStream("Hel", "lo"))
    reply.read()
    (partial,) = gateway.streams.of("w")

    assert (partial.call_id, partial.answer.text) == ("c", "Hel")
    assert partial.answer.spent() == ({**NO_USAGE, "output_tokens": 1}, True)
    assert gateway.streams.of("another") == []
    reply.close()
