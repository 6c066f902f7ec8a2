"""Whatever ends a call ends what it has reserved: nothing of a budget stays bound for nothing."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from extension.price_book.test_profiles import MODEL as PROFILE, Bedrock
from fakes.api_server import ApiServer, load
from fakes.asked_engine import Api
from fakes.waiting import until
from lambdallm.testing.model_server import Answer, Failure, ModelServer
from lambdallm_extension import errors
from lambdallm_extension.domain import keys
from lambdallm_extension.ports import Key
from lambdallm_wire import routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODEL = "bedrock/us.amazon.nova-micro-v1:0"
OTHER = "bedrock/us.amazon.nova-lite-v1:0"

CONFIGURATION = """
cost: {budget: {daily: '1'}, prices: {mine/m: {input: '1', output: '1'}}}
providers: {mine: {type: own, class: 'a:B'}}
resilience: {hedge_after_ms: 20}
"""

EACH_MODEL = """
cost: {budgets: {each: {scope: model, limit: '1'}}}
resilience: {hedge_after_ms: 20}
"""

OUTPUT_PICO_USD = 140_000
"""Of a token of `MODEL`, at its lowest rate."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Callable[..., Api]]:
    made: list[Api] = []

    def start(url: str, configuration: str = CONFIGURATION, **more: str) -> Api:
        (tmp_path / "lambdallm.yaml").write_text(configuration, encoding="utf-8")
        made.append(
            Api(
                LAMBDALLM_MODEL=MODEL, LAMBDALLM_CONFIG=str(tmp_path / "lambdallm.yaml"),
                AWS_ENDPOINT_URL_BEDROCK_RUNTIME=url, AWS_REGION="us-east-1",
                AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", **more,
            )
        )  # fmt: skip
        return made[-1]

    yield start
    for each in made:
        each.close()


def leases(api: Api) -> list[tuple[int, int, int]]:
    """Return what is granted, spent and reserved of all that this environment knows."""
    budgets = api._engine._parts._budgets
    assert budgets is not None
    return [tuple(account.lease) for account in budgets.known()]


def reserved(api: Api) -> int:
    """Return what calls hold that have not ended; one that was hedged may end a little later."""
    return sum(lease[2] for lease in leases(api))


def chat(api: Api, **more: Any) -> tuple[int, dict[str, Any]]:
    work = api.begin()
    said: Any = [{"role": "user", "content": "Hello"}]
    message = {"model": MODEL, "messages": said, "max_tokens": 50, **more}
    return api.ask(routes.CHAT, work_id=work, call_id=f"c-{work}", **message)


ANSWERS: list[Any] = [
    Answer("Yes.", input_tokens=9, output_tokens=2),
    Failure(400, "ValidationException"),
    Failure(403, "AccessDeniedException"),
    Failure(429, "ThrottlingException"),
    Failure(0),
    Failure(200, body=b"no JSON"),
    Failure(200, body=b"{}"),
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer)[:40])
@pytest.mark.parametrize("more", [{}, {"max_retries": 2}, {"fallback_model": OTHER}], ids=str)
def test_an_answer_of_any_kind_ends_it(
    api: Callable[..., Api], answer: Any, more: dict[str, Any]
) -> None:
    with ModelServer([answer]) as server:
        asked = api(server.url)
        chat(asked, **more)

        until(lambda: not reserved(asked))
        [(granted, spent, _)] = leases(asked)
        assert spent <= granted


@pytest.mark.parametrize("answer", [Failure(0), Failure(200, body=b"no JSON")], ids=str)
@pytest.mark.parametrize("more", [{}, {"max_retries": 2}, {"fallback_model": OTHER}], ids=str)
def test_an_answer_that_was_lost_counts_as_the_most(
    api: Callable[..., Api], answer: Any, more: dict[str, Any]
) -> None:
    with ModelServer([answer]) as server:
        asked = api(server.url)
        chat(asked, **more)

        until(lambda: not reserved(asked))
        [(granted, spent, _)] = leases(asked)
        assert spent == granted >= 50 * OUTPUT_PICO_USD * len(server.requests)


def test_a_longer_answer_is_reserved_with_all_that_it_can_cost(api: Callable[..., Api]) -> None:
    most: list[float] = []
    for max_tokens in (50, 1_050):
        with ModelServer([Failure(0)]) as server:
            asked = api(server.url)
            chat(asked, max_tokens=max_tokens)
            until(lambda asked=asked: not reserved(asked))  # type: ignore[misc]
            most.append(leases(asked)[0][1] / len(server.requests))

    assert most[1] - most[0] >= 1_000 * OUTPUT_PICO_USD


def test_what_additional_fields_allow_is_reserved_too(api: Callable[..., Api]) -> None:
    with ModelServer([Failure(0)]) as server:
        asked = api(server.url)
        chat(asked, additional_fields={"max_tokens": 4_000})

        until(lambda: not reserved(asked))
        [(_, spent, _)] = leases(asked)
        assert spent >= 4_000 * OUTPUT_PICO_USD * len(server.requests)


def test_content_in_blocks_is_bounded_as_a_text_is(api: Callable[..., Api]) -> None:
    said = [{"role": "user", "content": [{"text": "Hello"}]}]
    most: list[float] = []
    for messages in ([{"role": "user", "content": "Hello"}], said):
        with ModelServer([Failure(0)]) as server:
            asked = api(server.url)
            chat(asked, messages=messages)
            until(lambda asked=asked: not reserved(asked))  # type: ignore[misc]
            most.append(leases(asked)[0][1] / len(server.requests))

    assert most[1] - most[0] < 200 * OUTPUT_PICO_USD


@pytest.mark.parametrize(
    ("recorded", "model", "output_pico_usd"),
    [
        ("bedrock_converse.json", MODEL, OUTPUT_PICO_USD),
        ("anthropic_messages.json", "anthropic/claude-sonnet-4-5", 15_000_000),
    ],
)
def test_a_stream_that_is_cut_counts_as_the_most(
    api: Callable[..., Api], recorded: str, model: str, output_pico_usd: int
) -> None:
    """Its pieces say how long it was, one API's usage too, and not how long it would have been."""
    with ApiServer(load(recorded).replies["text_stream"].cut_after(4)) as server:
        asked = api(server.url, ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY="k")
        _, body = asked.stream(
            work_id=asked.begin(), call_id="s", model=model, max_tokens=50,
            messages=[{"role": "user", "content": "Hello"}],
        )  # fmt: skip
        with contextlib.suppress(errors.ProviderError):
            while body.read():
                pass
        body.close()

        until(lambda: not reserved(asked))
        [(granted, spent, _)] = leases(asked)
        assert spent == granted >= 50 * output_pico_usd


def test_each_of_a_hedged_call_is_paid_by_its_own_model(api: Callable[..., Api]) -> None:
    """Whoever answers first: the call's record and that of who was left behind change places."""
    slow = Answer("Slow.", input_tokens=9, output_tokens=9, delay_seconds=0.3)
    quick = Answer("Quick.", input_tokens=9, output_tokens=2)
    with ModelServer([slow, quick]) as server:
        asked = api(server.url, EACH_MODEL)
        _, reply = chat(asked, fallback_model=OTHER)
        assert reply["text"] == "Quick."
        until(lambda: not reserved(asked))
        budgets = asked._engine._parts._budgets
        assert budgets is not None
        spent = {account.scope_id: account.lease.spent for account in budgets.known()}

        assert spent == {MODEL: 9 * 35_000 + 9 * 140_000, OTHER: 9 * 60_000 + 2 * 240_000}


def test_a_profile_of_ones_own_is_asked_about_before_a_budget_is(api: Callable[..., Api]) -> None:
    control = Bedrock()
    with ModelServer([Answer("Yes.", input_tokens=9, output_tokens=2)]) as server:
        try:
            asked = api(server.url, AWS_ENDPOINT_URL_BEDROCK=control.url)
            status, reply = chat(asked, model=PROFILE)
        finally:
            control.close()

        assert (status, len(control.asked)) == (200, 1), reply
        assert leases(asked)[0][1] == reply["cost_pico_usd"] > 0


@pytest.mark.parametrize("model", ["nobody/x", "openai/gpt-5-mini", "bedrock/arn:aws:none"])
def test_what_was_never_sent_costs_nothing(api: Callable[..., Api], model: str) -> None:
    with ModelServer() as server:
        asked = api(server.url)
        status, _ = chat(asked, model=model)
        chat(asked)

        assert status != 200
        until(lambda: not reserved(asked))


def test_a_provider_of_the_callers_own_that_is_never_asked_ends_with_the_environment(
    api: Callable[..., Api],
) -> None:
    with ModelServer() as server:
        asked = api(server.url)
        _, reply = chat(asked, model="mine/m", own_providers=["mine"])
        assert "perform" in reply
        [(_, _, before)] = leases(asked)
        assert before > 0
        asked.finish(1.0)

        assert leases(asked) == [(before, before, 0)]


def test_a_stream_that_is_left_ends_it(api: Callable[..., Api]) -> None:
    """The model does not stream here: what it says is no stream, and ends as one that broke."""
    with ModelServer([Answer("Yes.", output_tokens=2)]) as server:
        asked = api(server.url)
        work = asked.begin()
        _, body = asked.stream(
            work_id=work, call_id="s", model=MODEL, max_tokens=50,
            messages=[{"role": "user", "content": "Hello"}],
        )  # fmt: skip
        body.read()
        body.close()

        until(lambda: not reserved(asked))


def test_both_of_a_hedged_call_are_reserved_and_both_end(api: Callable[..., Api]) -> None:
    slow = Answer("Slow.", input_tokens=9, output_tokens=9, delay_seconds=0.3)
    quick = Answer("Quick.", input_tokens=9, output_tokens=2)
    price = 2 * 9 * 35_000 + (9 + 2) * 140_000
    with ModelServer([slow, quick]) as server:
        asked = api(server.url)
        status, reply = chat(asked)
        assert (status, reply["text"]) == (200, "Quick.")
        until(lambda: leases(asked)[0][2] == 0)

        assert len(server.requests) == 2
        assert leases(asked)[0][1] == price, json.dumps(leases(asked))


@pytest.mark.parametrize("kind", ["on-demand", "lambda-managed-instances"])
def test_where_no_end_of_an_invocation_follows_the_unit_tells_and_returns(
    api: Callable[..., Api], kind: str
) -> None:
    """In the function's own process, and where nothing is ever frozen."""
    with ModelServer([Answer("Yes.", input_tokens=9, output_tokens=2)]) as server:
        asked = api(server.url, AWS_LAMBDA_INITIALIZATION_TYPE=kind)
        work = asked.begin()
        said: Any = [{"role": "user", "content": "Hello"}]
        asked.ask(routes.CHAT, work_id=work, call_id="c", model=MODEL, messages=said, max_tokens=50)
        asked.ask(routes.END, work_id=work, outcome="ok", handler_ms=1.0)
        [account] = asked._engine._parts._budgets.known()

        def told() -> list[Any]:
            rows = asked.store.query(account.pk, keys.LEASE_PREFIX, deadline_ms=0)
            return [row.attributes["spent"] for row in rows]

        until(lambda: told() == [9 * 35_000 + 2 * 140_000])
        head = asked.store.get(Key(account.pk, keys.HEAD), deadline_ms=0)
        assert head.attributes["leased"] == account.lease.granted < 10**9
