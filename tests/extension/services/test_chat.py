"""A model call is asked as often as is safe, priced exactly, and booked."""

from collections.abc import Callable
from typing import Any

import pytest

from fakes.played import Gateway, Player
from lambdallm_extension import errors
from lambdallm_extension.configuration import EMPTY, ModelAlias
from lambdallm_extension.domain.answers import ChatAnswer
from lambdallm_extension.ports import Key
from lambdallm_extension.services.calls import Books
from lambdallm_extension.services.chat import Chat
from lambdallm_extension.services.metering import Recorder, Totals
from lambdallm_extension.services.model_health import Health
from lambdallm_extension.services.open_streams import OpenStreams
from lambdallm_extension.services.performing import Performing
from lambdallm_extension.services.store_health import StoreHealth
from lambdallm_wire.tokens import NO_USAGE

USAGE = {**NO_USAGE, "uncached_input_tokens": 14, "output_tokens": 9}
ANSWER = ChatAnswer("Hi", [{"text": "Hi"}], "stop", USAGE, "m", "req-1")  # type: ignore[arg-type]


def refused(status: int = 429, **facts: Any) -> errors.ProviderError:
    facts = {"retryable": True, "kind": "ThrottlingException", **facts}
    return errors.ProviderError("No.", status=status, **facts)


class Script:
    """A provider that plays outcomes, one a call."""

    name = "script"

    def __init__(self, *outcomes: ChatAnswer | Exception) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[str] = []

    def chat(self, model_id: str, request: Any, *, deadline_ms: int) -> ChatAnswer:
        self.asked.append(model_id)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def reopen(self) -> None:
        """There is nothing to open."""

    def find(self, model: str) -> tuple["Script", str]:
        return self, model


class Prices:
    def __init__(self, cost: int | None = 100) -> None:
        self.cost = cost

    def prepare(self, model: str) -> None:
        """Know every price."""

    def cost_pico_usd(
        self, model: str, answering: str, used: Any, *, epoch_ms: int, region: str
    ) -> int | None:
        return self.cost


class Middle:
    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


@pytest.fixture
def ask(sessions: Any) -> Callable[..., Any]:
    """Ask once through the use case; returns its reply with the totals and the waits."""

    def ask(
        script: Script, *, cost: int | None = 100, left_ms: int = 60_000, **request: Any
    ) -> Any:
        clock = sessions.clock
        recorder = Recorder(sessions.store, sessions.workers, clock, StoreHealth(clock))
        totals, waits = Totals(), []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            clock.now_ms += int(seconds * 1_000)

        chat = Chat(
            Performing(script, clock, EMPTY), Books(recorder, Prices(cost), clock, lambda: "env"),
            Health(clock, Middle(), sleep), OpenStreams(),
            default_model="default", configuration=EMPTY,
        )  # fmt: skip
        message: Any = {"work_id": "w", "call_id": "c", "messages": [], "model": "m", **request}
        try:
            return chat.ask(message, totals, deadline_ms=clock.now_ms + left_ms), totals, waits
        finally:
            assert recorder.wait(5)
            ask.totals, ask.waits = totals, waits  # type: ignore[attr-defined]

    return ask


def record(sessions: Any) -> dict[str, Any]:
    item = sessions.store.get(Key("CALL#c", "CALL"), deadline_ms=0)
    assert item is not None
    return dict(item.attributes)


def test_an_answer_comes_back_with_usage_and_cost_and_leaves_a_record(
    ask: Any, sessions: Any
) -> None:
    reply, totals, _ = ask(Script(ANSWER))

    assert (reply["text"], reply["cost_pico_usd"], reply["attempts"]) == ("Hi", 100, 1)
    assert (totals.calls, totals.cost_pico_usd, totals.usage) == (1, 100, USAGE)
    settled = record(sessions)
    assert settled["state"] == "settled"
    assert (settled["cost_pico_usd"], settled["output_tokens"], settled["work"]) == (100, 9, "w")


def test_an_unknown_price_is_unknown_and_never_zero(ask: Any, sessions: Any) -> None:
    reply, totals, _ = ask(Script(ANSWER), cost=None)

    assert reply["cost_pico_usd"] is None
    assert (totals.unpriced_calls, reply["total_unpriced_calls"]) == (1, 1)
    assert record(sessions)["cost_pico_usd"] is None


def test_a_refusal_is_asked_again_with_waits_that_grow(ask: Any) -> None:
    reply, totals, waits = ask(Script(refused(), refused(503), ANSWER))

    assert (reply["attempts"], waits) == (3, [0.1, 0.2])
    assert (totals.errors, totals.throttles, totals.calls) == (2, 1, 1)


def test_the_number_of_retries_is_the_callers(ask: Any) -> None:
    script = Script(refused(), ANSWER)
    with pytest.raises(errors.ProviderError):
        ask(script, max_retries=0)

    assert script.asked == ["m"]


def test_the_servers_wait_is_honoured_or_not_waited_at_all(ask: Any) -> None:
    assert ask(Script(refused(retry_after_seconds=7), ANSWER))[2] == [7]
    with pytest.raises(errors.ProviderError):
        ask(Script(refused(retry_after_seconds=7), ANSWER), left_ms=7_000)


@pytest.mark.parametrize("fallback", [{}, {"fallback_model": "other"}])
def test_a_lost_answer_may_be_billed_and_is_never_asked_again(
    ask: Any, sessions: Any, fallback: dict[str, str]
) -> None:
    script = Script(refused(0, sent=True), ANSWER, ANSWER)
    with pytest.raises(errors.ProviderError):
        ask(script, **fallback)

    assert script.asked == ["m"]
    assert record(sessions)["state"] == "unknown"


def test_an_answer_that_cannot_be_read_was_made_and_no_other_is_asked(
    ask: Any, sessions: Any
) -> None:
    script = Script(refused(200, sent=True, retryable=False), ANSWER)
    with pytest.raises(errors.ProviderError):
        ask(script, fallback_model="other")

    assert script.asked == ["m"]
    assert record(sessions)["state"] == "unknown"


def test_what_was_never_sent_is_asked_again(ask: Any) -> None:
    assert ask(Script(refused(0, sent=False), ANSWER))[0]["attempts"] == 2


def test_a_hopeless_refusal_is_not_repeated_but_the_fallback_is_asked(
    ask: Any, sessions: Any
) -> None:
    script = Script(refused(403, retryable=False), ANSWER)
    reply, _, _ = ask(script, fallback_model="other")

    assert (script.asked, reply["model"]) == (["m", "other"], "other")
    assert record(sessions)["model"] == "other"


def test_a_failure_is_recorded_as_costing_nothing(ask: Any, sessions: Any) -> None:
    with pytest.raises(errors.ProviderError):
        ask(Script(refused(400, retryable=False, kind="ValidationException")))

    assert (record(sessions)["state"], record(sessions)["error"]) == (
        "failed",
        "ValidationException",
    )


def test_nothing_is_asked_without_time(ask: Any, sessions: Any) -> None:
    script = Script(ANSWER)
    with pytest.raises(errors.DeadlineError):
        ask(script, left_ms=100)

    assert script.asked == []


def test_the_default_model_answers_when_none_is_named(ask: Any) -> None:
    script = Script(ANSWER)
    ask(script, model="")

    assert script.asked == ["default"]


# What the configuration says


def configured(**configuration: Any) -> tuple[Gateway, Player]:
    return Gateway(**configuration), Player(ANSWER)


def ask_through(gateway: Gateway, player: Player, **request: Any) -> Any:
    return gateway.chat(player).ask(
        gateway.request(**request), gateway.totals, deadline_ms=gateway.deadline_ms()
    )


def test_an_alias_brings_its_model_its_region_and_what_requests_do_not_say() -> None:
    alias = ModelAlias("script/large", region="eu-west-1", max_tokens=100, temperature=0.5)
    gateway, player = configured(models={"smart": alias})
    reply = ask_through(gateway, player, model="smart", temperature=0.1)

    assert (reply["model"], player.asked) == ("script/large", ["script/large"])
    (request,) = player.requests
    assert (request["max_tokens"], request["temperature"]) == (100, 0.1)
    assert request["region"] == "eu-west-1"
    gateway.check_books(model="script/large")


def test_a_fallback_of_an_alias_is_asked_in_its_own_region_with_its_own_parameters() -> None:
    aliases = {
        "smart": ModelAlias("a/large", ("cheap",), region="eu-west-1", max_tokens=100),
        "cheap": ModelAlias("a/small", max_tokens=50),
    }
    gateway, _ = configured(models=aliases)
    player = Player(refused(400, retryable=False), ANSWER)
    ask_through(gateway, player, model="smart")

    assert [request["max_tokens"] for request in player.requests] == [100, 50]
    assert [request["region"] for request in player.requests] == ["eu-west-1", ""]


def test_one_call_takes_no_longer_than_the_configuration_allows() -> None:
    gateway, _ = configured(call_ms_max=1_000)
    player = Player(refused(retry_after_seconds=0.9), ANSWER)
    with pytest.raises(errors.ProviderError):
        ask_through(gateway, player)

    assert (len(player.asked), gateway.waits) == (1, [])
    gateway.check_books(state="failed", error="ThrottlingException")


def test_the_number_of_retries_is_the_configurations_where_a_request_says_none() -> None:
    gateway, _ = configured(max_retries=1)
    player = Player(refused(), refused(), ANSWER)
    with pytest.raises(errors.ProviderError):
        ask_through(gateway, player)

    assert len(player.asked) == 2


def test_a_model_that_fails_for_many_calls_is_left_alone_by_the_next_one() -> None:
    gateway, _ = configured(max_retries=0)
    player = Player(*[refused(503), ANSWER] * 5, ANSWER)
    for number in range(6):
        ask_through(gateway, player, fallback_model="other", call_id=f"c{number}")

    assert player.asked[-2:] == ["other", "other"]
    assert player.asked.count("m") == 5
