"""What runs around a handler, and the three that come with the package."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

import lambdallm
import sample_events as samples
from lambdallm import Middleware, handler
from lambdallm.middleware import AuthMiddleware, CostTrackingMiddleware, LoggingMiddleware
from lambdallm.testing import MockLambdaContext, MockProvider

DAY_MS = 86_400_000


class Noted(Middleware):
    """Writes down what it is told."""

    def __init__(self, name: str, notes: list[str], fails: str = "") -> None:
        self.name = name
        self.notes = notes
        self.fails = fails

    def _note(self, hook: str) -> None:
        self.notes.append(f"{self.name}.{hook}")
        if hook == self.fails:
            raise ZeroDivisionError

    def before_invoke(self, event: Any, context: Any) -> Any:
        self._note("before")
        return {**event, self.name: True}

    def after_invoke(self, event: Any, result: Any, context: Any) -> Any:
        self._note("after")
        return [*result, self.name]

    def on_error(self, event: Any, error: Exception, context: Any) -> None:
        self._note("error")


def run(function: Callable[[Any, Any], Any], *middleware: Any, event: Any = None) -> Any:
    return handler(middleware=middleware)(function)(
        samples.http_api() if event is None else event, MockLambdaContext()
    )


def test_the_first_is_the_outermost() -> None:
    notes: list[str] = []
    seen: list[Any] = []

    def inner(event: Any, context: Any) -> list[str]:
        seen.append((event["a"], event["b"]))
        return []

    response = run(inner, Noted("a", notes), Noted("b", notes))

    assert notes == ["a.before", "b.before", "b.after", "a.after"]
    assert seen == [(True, True)]
    assert json.loads(response["body"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("fails", "notes_before"),
    [("", ["a.before", "b.before"]), ("before", ["a.before", "b.before"])],
)
def test_everyone_hears_of_an_error(fails: str, notes_before: list[str]) -> None:
    notes: list[str] = []

    def inner(event: Any, context: Any) -> None:
        raise ZeroDivisionError

    response = run(inner, Noted("a", notes), Noted("b", notes, fails))

    assert response["statusCode"] == 500
    assert notes == [*notes_before, "b.error", "a.error"]


def test_an_error_in_after_invoke_is_the_invocations() -> None:
    notes: list[str] = []

    assert run(lambda event, context: [], Noted("a", notes, "after"))["statusCode"] == 500
    assert notes == ["a.before", "a.after", "a.error"]


def test_an_error_in_on_error_hides_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def inner(event: Any, context: Any) -> None:
        raise lambdallm.OutputError("the first")

    response = run(inner, Noted("a", [], "error"))

    assert response["statusCode"] == 502
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_middleware_that_does_nothing_changes_nothing() -> None:
    assert run(lambda event, context: "ok", Middleware())["body"] == "ok"


# Logging


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines() if "duration" in line]


def test_one_line_says_how_it_went(model: MockProvider, capsys: pytest.CaptureFixture[str]) -> None:
    run(lambda event, context: context.invoke("Hi"), LoggingMiddleware())

    (line,) = lines(capsys)
    assert line["level"] == "INFO"
    assert line["function"] == "test-function"
    assert line["model_calls"] == 1
    assert line["cost_usd"] == 0.0001
    assert line["duration_ms"] >= 0
    assert "body_sha256" not in line


def test_a_failure_is_told_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    def inner(event: Any, context: Any) -> None:
        raise lambdallm.OutputError("x")

    run(inner, LoggingMiddleware(log_prompts=True, log_level=10))

    (line,) = lines(capsys)
    assert (line["level"], line["error"], line["code"]) == ("ERROR", "OutputError", "output")
    assert line["body_sha256"] == hashlib.sha256(samples.BODY.encode()).hexdigest()


# Auth

KEYS = AuthMiddleware(["key-one", "key-two"])


@pytest.mark.parametrize(
    ("middleware", "changes", "status"),
    [
        (KEYS, {"headers": {"X-Api-Key": "key-two"}}, 200),
        (KEYS, {"headers": None, "multiValueHeaders": {"x-api-key": ["key-one"]}}, 200),
        (KEYS, {"headers": {"x-api-key": "key-on"}}, 401),
        (KEYS, {"headers": {"x-api-key": "schlüssel"}}, 401),
        (KEYS, {"headers": {"x-api-key": ""}}, 401),
        (KEYS, {}, 401),
        (AuthMiddleware(["k"], header="Authorization"), {"headers": {"authorization": "k"}}, 200),
        (
            AuthMiddleware(["k"], header="Authorization"),
            {"headers": {"authorization": "Bearer k"}},
            200,
        ),
        (AuthMiddleware(accept_authorizer=True), {}, 401),
        (
            AuthMiddleware(accept_authorizer=True),
            {"requestContext": {"httpMethod": "POST", "authorizer": {"principalId": "u"}}},
            200,
        ),
    ],
)
def test_who_may_call(middleware: Any, changes: dict[str, Any], status: int) -> None:
    response = run(lambda event, context: "ok", middleware, event=samples.rest_api(**changes))

    assert response["statusCode"] == status


def test_events_of_other_kinds_pass() -> None:
    assert run(lambda event, context: "ok", KEYS, event=samples.SERVICE["sqs"]) == "ok"


@pytest.mark.parametrize("keys", [[], [""], "a-string"])
def test_a_lock_without_a_key_is_refused(keys: Any) -> None:
    with pytest.raises(lambdallm.ConfigurationError):
        AuthMiddleware(keys)


# Cost


class Clock:
    def __init__(self) -> None:
        self.now_ms = 20_000 * DAY_MS

    def __call__(self) -> int:
        return self.now_ms


def ask_with(middleware: Any, **arguments: Any) -> Any:
    decorated = handler(middleware=[middleware], **arguments)(
        lambda event, context: context.invoke("Hi") + context.model.model_id
    )
    return decorated(samples.http_api(), MockLambdaContext())


def test_a_limit_stops_this_environment_until_the_next_day(model: MockProvider) -> None:
    clock = Clock()
    middleware = CostTrackingMiddleware(daily_budget_usd=0.00015, clock=clock)

    assert ask_with(middleware)["statusCode"] == 200
    assert ask_with(middleware)["statusCode"] == 200
    refused = ask_with(middleware)
    assert refused["statusCode"] == 429
    assert refused["headers"]["retry-after"] == "86400"
    assert model.call_count == 2
    assert middleware.spent_today_usd == pytest.approx(0.0002)

    clock.now_ms += DAY_MS
    assert ask_with(middleware)["statusCode"] == 200


def test_the_month_counts_too(model: MockProvider) -> None:
    clock = Clock()
    middleware = CostTrackingMiddleware(monthly_budget_usd=0.00015, clock=clock)
    for _ in range(2):
        ask_with(middleware)
        clock.now_ms += DAY_MS

    assert ask_with(middleware)["statusCode"] == 429


def test_a_handler_that_fails_after_paying_is_counted(model: MockProvider) -> None:
    recorded: list[float] = []

    class Store:
        def record(self, cost_usd: float) -> None:
            recorded.append(cost_usd)

    def fail(event: Any, context: Any) -> None:
        context.invoke("Hi")
        raise ZeroDivisionError

    middleware = CostTrackingMiddleware(cost_store=Store())
    run(fail, middleware)

    assert recorded == [0.0001]
    assert middleware.spent_today_usd == 0.0001


def test_downgrade_asks_the_fallback(
    model: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    middleware = CostTrackingMiddleware(daily_budget_usd=0.00005, on_exceeded="downgrade")
    answers = [ask_with(middleware, model="big", fallback_model="small")["body"] for _ in range(2)]

    assert answers == ["Mock responsebig", "Mock responsesmall"]


def test_warn_only_warns_and_the_threshold_is_told_once(
    model: MockProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    middleware = CostTrackingMiddleware(daily_budget_usd=0.0003, on_exceeded="warn")
    for _ in range(5):
        assert ask_with(middleware)["statusCode"] == 200

    err = capsys.readouterr().err
    assert err.count("has spent 80%") == 1
    assert err.count("has spent its budget") == 2


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="shrug"):
        CostTrackingMiddleware(on_exceeded="shrug")
