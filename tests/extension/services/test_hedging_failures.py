"""A hedged call that fails: what may be billed is not asked again, and nothing is left open."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from fakes.gates import Asking, Counted, Gates
from fakes.played import ANSWER, Gateway, PlayedStream, Player, lost, refused
from fakes.waiting import until
from lambdallm_extension import errors
from lambdallm_extension.domain.model_circuit import FAILURES_MIN

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def gates() -> Iterator[Gates]:
    gates = Gates()
    yield gates
    gates.open_all()


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(hedge_after_ms=1)


def ask(gateway: Gateway, player: Player, counted: Counted, **request: Any) -> Any:
    request = {"fallback_model": "b/spare", "model": "a/first", "max_retries": 0, **request}
    return gateway.chat(player).ask(
        gateway.request(**request),
        gateway.totals,
        deadline_ms=gateway.deadline_ms(),
        counted=counted,
    )


@pytest.mark.parametrize("fallback", ["b/spare", ""])
@pytest.mark.parametrize("failure", [lost(), refused(200, kind="CutStream", retryable=False)])
def test_a_second_answer_that_was_lost_is_not_asked_for_again(
    gateway: Gateway, gates: Gates, counted: Counted, failure: Exception, fallback: str
) -> None:
    first, second = gates.closed("first", refused(503)), gates.closed("second", failure)
    player = Player(first, second, ANSWER)
    asking = Asking(lambda: ask(gateway, player, counted, fallback_model=fallback, max_retries=1))
    assert gates.reached["second"].wait(30)
    gates.open_all()

    with pytest.raises(errors.ProviderError) as caught:
        asking.result()
    assert caught.value is failure
    assert len(player.asked) == 2
    assert gateway.record("c")["state"] == "unknown"
    assert gateway.record("c-hedge")["state"] == "failed"


def test_a_call_that_its_caller_performs_on_the_way_is_hedged_once(
    gateway: Gateway, gates: Gates, counted: Counted
) -> None:
    first, second = gates.closed("first", refused(503)), gates.closed("second", refused(503))
    third = gates.closed("third", ANSWER)
    player = Player(first, second, third)
    request = {"fallback_models": ["own/y", "c/z"], "own_providers": ["own"], "fallback_model": ""}
    asking = Asking(lambda: ask(gateway, player, counted, **request))
    assert gates.reached["second"].wait(30)
    gates.open_all()
    assert asking.result()["perform"]["provider"] == "own"
    before = gateway.record("c-hedge")

    problem = {"detail": "No.", "title": "Busy", "status": 503}
    assert gateway.performed(problem=problem)["model"] == "c/z"
    assert len(player.asked) == 3
    assert gateway.record("c-hedge") == before


def test_a_model_that_is_left_alone_is_no_second(
    gateway: Gateway, gates: Gates, counted: Counted
) -> None:
    (spare,) = gateway.candidates("b/spare")
    for _ in range(FAILURES_MIN):
        gateway.health.failed(spare, refused(503))
    player = Player(gates.closed("first", ANSWER), ANSWER)
    asking = Asking(lambda: ask(gateway, player, counted))
    assert gates.reached["first"].wait(30)
    until(lambda: len(player.asked) == 2)  # the first one again
    gates.open("first")

    assert asking.result()["model"] == "a/first"
    assert player.asked == ["a/first", "a/first"]


class EndedByTestError(Exception):
    """Raised by a signal's handler."""


@pytest.mark.parametrize("hedge_after_ms", [1, 600_000])
def test_a_signal_that_ends_the_waiting_leaves_nothing_open(
    gates: Gates, counted: Counted, hedge_after_ms: int
) -> None:
    gateway = Gateway(hedge_after_ms=hedge_after_ms)
    streams = [PlayedStream("a"), PlayedStream("b")]
    player = Player(gates.closed("first", streams[0]), gates.closed("second", streams[1]))
    ended = threading.Event()

    def end(*_: object) -> None:
        if not ended.is_set():
            ended.set()
            raise EndedByTestError

    def interrupt() -> None:
        assert gates.reached["first" if hedge_after_ms > 1 else "second"].wait(30)
        while not ended.wait(0.01):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, end)
    interrupting = threading.Thread(target=interrupt, daemon=True)
    interrupting.start()
    try:
        with pytest.raises(EndedByTestError):
            gateway.chat(player).stream(
                gateway.request(model="a/first", max_retries=0),
                gateway.totals,
                deadline_ms=gateway.deadline_ms(),
                counted=counted,
            )
        interrupting.join(30)
    finally:
        signal.signal(signal.SIGUSR1, before)
    gates.open_all()

    until(lambda: not counted.open)
    assert gateway.streams.wait_for_none(30)
    asked = len(player.asked)
    assert [stream.closed for stream in streams[:asked]] == [1] * asked
    until(lambda: "lambdallm-hedge" not in {thread.name for thread in threading.enumerate()})
