"""A second model is asked beside a silent one, once; whatever both of them cost is in the books."""

from __future__ import annotations

from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any

import pytest

from fakes.gates import Asking, Counted, Gates
from fakes.played import ANSWER, USAGE, Gateway, PlayedStream, Player, lines, lost, refused
from fakes.waiting import until
from lambdallm_extension.domain.retry import BUDGET_MAX
from lambdallm_extension.services.streaming import ENVIRONMENT_ENDED, READER_GONE

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE_MS, NEVER_MS = 1, 600_000


@pytest.fixture
def gates() -> Iterator[Gates]:
    gates = Gates()
    yield gates
    gates.open_all()


@pytest.fixture
def counted() -> Counted:
    return Counted()


def ask(
    gateway: Gateway, player: Player, counted: Counted, *, left_ms: int = 60_000, **request: Any
) -> Any:
    request = {"fallback_model": "b/spare", "model": "a/first", "max_retries": 0, **request}
    return gateway.chat(player).ask(
        gateway.request(**request),
        gateway.totals,
        deadline_ms=gateway.deadline_ms(left_ms),
        counted=counted,
    )


def settled(gateway: Gateway, call_id: str) -> tuple[str, str]:
    assert gateway.streams.wait_for_none(30)
    record = gateway.record(call_id)
    return record["model"], record["state"]


def test_whoever_answers_in_time_is_asked_alone(counted: Counted) -> None:
    gateway, player = Gateway(hedge_after_ms=NEVER_MS), Player(ANSWER)

    assert ask(gateway, player, counted)["model"] == "a/first"
    assert player.asked == ["a/first"]
    gateway.check_books(state="settled")
    assert counted.ever == 0


def test_the_next_in_line_answers_for_a_silent_one(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    player = Player(gates.closed("first", ANSWER), ANSWER)
    reply = ask(gateway, player, counted)

    assert (reply["model"], reply["call_id"], reply["cost_pico_usd"]) == ("b/spare", "c", 100)
    assert player.asked == ["a/first", "b/spare"]
    assert gateway.record("c")["state"] == "settled"
    assert (gateway.totals.calls, counted.open) == (1, 1)
    assert not gateway.streams.wait_for_none(0), "the environment is held for what may be billed"

    gates.open("first")
    assert settled(gateway, "c-hedge") == ("a/first", "settled")
    assert settled(gateway, "c") == ("b/spare", "settled")
    assert (gateway.totals.calls, gateway.totals.cost_pico_usd) == (2, 200)
    assert gateway.totals.usage["output_tokens"] == 2 * USAGE["output_tokens"]
    assert counted.open == 0


def test_the_first_may_still_be_first(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    first, second = gates.closed("first", ANSWER), gates.closed("second", ANSWER)
    asking = Asking(lambda: ask(gateway, Player(first, second), counted))
    assert gates.reached["second"].wait(30)
    assert gateway.record("c-hedge")["state"] == "intent", "known before it may cost anything"
    gates.open("first")

    assert asking.result()["model"] == "a/first"
    gates.open("second")
    assert settled(gateway, "c") == ("a/first", "settled")
    assert settled(gateway, "c-hedge") == ("b/spare", "settled")


def test_a_single_model_is_asked_a_second_time(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    player = Player(gates.closed("first", ANSWER), ANSWER)
    reply = ask(gateway, player, counted, fallback_model="")

    assert (reply["model"], player.asked) == ("a/first", ["a/first", "a/first"])
    gates.open("first")
    assert settled(gateway, "c-hedge") == ("a/first", "settled")


@pytest.mark.parametrize(
    ("failure", "state", "unpriced"), [(refused(), "failed", 0), (lost(), "unknown", 1)]
)
def test_what_fails_behind_an_answer_is_booked_too(
    gates: Gates, counted: Counted, failure: Exception, state: str, unpriced: int
) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    ask(gateway, Player(gates.closed("first", failure), ANSWER), counted)
    gates.open("first")

    assert settled(gateway, "c-hedge") == ("a/first", state)
    assert settled(gateway, "c") == ("b/spare", "settled")
    assert (gateway.totals.errors, gateway.totals.unpriced_calls) == (1, unpriced)


def test_a_failure_waits_for_the_other_answer(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    first, second = gates.closed("first", refused()), gates.closed("second", ANSWER)
    asking = Asking(lambda: ask(gateway, Player(first, second), counted))
    assert gates.reached["second"].wait(30)
    gates.open("first")
    gates.open("second")

    assert asking.result()["model"] == "b/spare"
    assert settled(gateway, "c-hedge") == ("a/first", "failed")


def test_where_both_fail_the_first_failure_decides(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    first, second = gates.closed("first", refused(503)), gates.closed("second", refused(500))
    third = gates.closed("third", ANSWER)
    player = Player(first, second, third)
    asking = Asking(lambda: ask(gateway, player, counted, max_retries=1))
    assert gates.reached["second"].wait(30)
    gates.open("second")
    gates.open("first")
    assert gates.reached["third"].wait(30)
    gates.open("third")

    assert asking.result()["attempts"] == 2
    assert player.asked == ["a/first", "b/spare", "a/first"], "a silence is hedged once a call"
    assert settled(gateway, "c-hedge") == ("b/spare", "failed")
    assert settled(gateway, "c") == ("a/first", "settled")
    assert gateway.totals.errors == 2


def test_an_empty_retry_budget_allows_none(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS, retry_share=0.0)
    for _ in range(int(BUDGET_MAX)):
        assert gateway.health.may_retry()
    player = Player(gates.closed("first", ANSWER))
    asking = Asking(lambda: ask(gateway, player, counted))
    assert gates.reached["first"].wait(30)
    gates.open("first")

    assert asking.result()["model"] == "a/first"
    assert player.asked == ["a/first"]


def test_too_little_time_allows_none(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)

    def slow(_request: Any) -> Any:
        gateway.clock.now_ms += 59_900
        return gates.closed("first", ANSWER)(_request)

    player = Player(slow)
    asking = Asking(lambda: ask(gateway, player, counted))
    until(lambda: "first" in gates.reached)
    gates.open("first")

    assert asking.result()["model"] == "a/first"
    assert player.asked == ["a/first"]


def test_without_threads_a_model_is_asked_alone(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, player = Gateway(hedge_after_ms=AT_ONCE_MS), Player(ANSWER)

    def none_left(_thread: Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    with monkeypatch.context() as patch:
        patch.setattr(Thread, "start", none_left)
        reply = ask(gateway, player, counted)
    assert reply["model"] == "a/first"
    gateway.check_books(state="settled")


def test_the_end_of_the_environment_books_who_was_left_behind(
    gates: Gates, counted: Counted
) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    ask(gateway, Player(gates.closed("first", ANSWER), ANSWER), counted)
    gateway.streams.settle_all()

    record = gateway.record("c-hedge")
    assert (record["state"], record["error"]) == ("unknown", ENVIRONMENT_ENDED)
    assert (gateway.totals.calls, gateway.totals.unpriced_calls) == (2, 1)
    gates.open("first")
    until(lambda: not counted.open)
    assert gateway.totals.calls == 2, "what comes later is not counted again"


def test_a_fault_of_ours_is_booked_and_told(
    gates: Gates, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr("threading.excepthook", told.append)
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    ask(gateway, Player(gates.closed("first", KeyError("x")), ANSWER), counted)
    gates.open("first")

    assert settled(gateway, "c-hedge") == ("a/first", "unknown")
    assert gateway.record("c-hedge")["error"] == "KeyError"
    until(lambda: told)
    assert told[0].exc_type is KeyError


def test_both_at_once_are_booked_once_each(counted: Counted) -> None:
    for _ in range(300):
        gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
        both = Barrier(2)

        def meet(_request: Any, both: Barrier = both) -> Any:
            both.wait(30)
            return ANSWER

        reply = ask(gateway, Player(meet, meet), counted)
        names = {settled(gateway, call_id) for call_id in ("c", "c-hedge")}

        assert names == {("a/first", "settled"), ("b/spare", "settled")}
        assert reply["model"] == gateway.record("c")["model"]
        assert gateway.totals.calls == 2
    until(lambda: not counted.open)


# Streams


def stream(gateway: Gateway, player: Player, counted: Counted) -> Any:
    request = {"fallback_model": "b/spare", "model": "a/first", "max_retries": 0}
    return gateway.chat(player).stream(
        gateway.request(**request),
        gateway.totals,
        deadline_ms=gateway.deadline_ms(),
        counted=counted,
    )


def test_the_stream_that_begins_first_is_read(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS)
    late = PlayedStream("too", " late")
    player = Player(gates.closed("first", late), PlayedStream("Hel", "lo"))
    reply = stream(gateway, player, counted)
    *pieces, last = lines(reply)
    reply.close()

    assert pieces == [{"text": "Hel"}, {"text": "lo"}]
    assert (last["response"]["model"], last["response"]["text"]) == ("b/spare", "Hello")
    gates.open("first")
    assert settled(gateway, "c-hedge") == ("a/first", "settled")
    assert settled(gateway, "c") == ("b/spare", "settled")
    assert (late.closed, late.answer.to_answer().text) == (1, "too late"), "read for its usage"
    assert gateway.totals.calls == 2
    until(lambda: not counted.open)


def test_a_late_stream_is_read_on_within_bounds(gates: Gates, counted: Counted) -> None:
    gateway = Gateway(hedge_after_ms=AT_ONCE_MS, drain_seconds=1.0)
    endless = PlayedStream("a", gateway.pass_ms(2_000), "b", "c")
    reply = stream(gateway, Player(gates.closed("first", endless), PlayedStream("Hi")), counted)
    lines(reply)
    reply.close()
    gates.open("first")

    assert settled(gateway, "c-hedge") == ("a/first", "settled")
    record = gateway.record("c-hedge")
    assert (record["error"], record["estimated"]) == (READER_GONE, True)
    assert endless.closed == 1
