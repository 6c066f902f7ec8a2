"""What becomes of failures and of wrong input: a status for HTTP, an exception for the rest."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import lambdallm
import sample_events as samples
from lambdallm import Session, handler
from lambdallm.testing import MockLambdaContext, MockProvider

body_of = samples.body_of


def failing(error: Exception, **arguments: Any) -> Callable[..., Any]:
    def fail(event: Any, context: Any) -> None:
        raise error

    return handler(**arguments)(fail)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (lambdallm.InvalidRequestError("x"), 400, "invalid_request"),
        (lambdallm.UnauthorizedError("x"), 401, "unauthorized"),
        (lambdallm.DeadlineExceededError("x"), 408, "deadline_exceeded"),
        (lambdallm.BudgetExceededError("x"), 429, "budget_exceeded"),
        (lambdallm.RateLimitedError("x"), 429, "rate_limited"),
        (lambdallm.ConfigurationError("x"), 500, "configuration"),
        (lambdallm.SidecarError("x"), 500, "sidecar"),
        (lambdallm.StateError("x"), 500, "state"),
        (lambdallm.ModelInvocationError("x"), 502, "model_invocation"),
        (lambdallm.OutputError("x"), 502, "output"),
        (lambdallm.ToolError("x"), 502, "tool"),
    ],
)
def test_failures_of_http_events_become_a_status(error: Any, status: int, code: str) -> None:
    context = MockLambdaContext()

    response = failing(error)(samples.http_api(), context)

    assert response["statusCode"] == status
    assert response["headers"]["Content-Type"] == "application/problem+json"
    problem = body_of(response)
    assert (problem["code"], problem["detail"], problem["status"]) == (code, "x", status)
    assert problem["request_id"] == context.aws_request_id
    assert problem["error"] == "x"


def test_nothing_of_an_unknown_error_is_told_but_its_traceback_is_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    context = MockLambdaContext()

    response = failing(ValueError("password=hunter2"))(samples.http_api(), context)

    assert response["statusCode"] == 500
    assert "hunter2" not in json.dumps(response)
    assert body_of(response)["code"] == "internal"
    line = next(line for line in capsys.readouterr().err.splitlines() if "ValueError" in line)
    logged = json.loads(line)
    assert "raise error" in logged["traceback"]
    assert logged["request_id"] == context.aws_request_id


@pytest.mark.parametrize("event", [*samples.SERVICE.values(), {"name": "direct"}, "text", 7, []])
def test_failures_of_all_other_events_are_raised(event: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())(event, MockLambdaContext())


def test_an_empty_event_is_a_direct_call_in_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(ZeroDivisionError())({}, MockLambdaContext())["statusCode"] == 500

    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())({}, MockLambdaContext())


def test_a_rate_limit_tells_when_to_come_back() -> None:
    error = lambdallm.RateLimitedError("x", retryable=True, retry_after_seconds=2.4)

    response = failing(error)(samples.http_api(), None)

    assert response["headers"]["retry-after"] == "2"
    assert body_of(response)["retryable"] is True


def test_a_checkpoint_is_answered_when_the_time_runs_out() -> None:
    @handler(timeout_strategy="checkpoint")
    def long_work(event: Any, context: Any) -> None:
        context.checkpoint = {"step": 3}
        context.invoke("One more?")

    for event in (samples.http_api(), {"name": "direct"}):
        response = long_work(event, MockLambdaContext(timeout_ms=1_000))

        assert response["statusCode"] == 202
        assert body_of(response)["status"] == "in_progress"
        assert body_of(response)["checkpoint"] == {"step": 3}
        assert body_of(response)["message"]
    with pytest.raises(lambdallm.DeadlineExceededError):
        long_work(samples.SERVICE["sqs"], MockLambdaContext(timeout_ms=1_000))


@pytest.mark.parametrize("strategy", ["fail-fast", "truncate", "checkpoint"])
def test_without_a_checkpoint_it_is_a_timeout(strategy: str, model: MockProvider) -> None:
    decorated = handler(timeout_strategy=strategy)(lambda event, context: context.invoke("Hi"))

    response = decorated(samples.http_api(), MockLambdaContext(timeout_ms=1_000))

    assert response["statusCode"] == 408
    assert model.call_count == 0


# Input


def test_a_wrong_body_is_refused_before_anything_is_spent(model: MockProvider) -> None:
    @handler(input_schema={"message": str, "count": int}, session=Session())
    def ask(event: Any, context: Any) -> str:
        return context.invoke(event["body"]["message"])

    response = ask(samples.http_api('{"message": 7}'), MockLambdaContext())

    assert response["statusCode"] == 400
    assert body_of(response)["errors"] == [
        {"field": "body.message", "detail": "has to be a string"},
        {"field": "body.count", "detail": "is missing"},
    ]
    assert model.call_count == 0
    assert ask(samples.http_api(None), MockLambdaContext())["statusCode"] == 400
    assert ask(samples.http_api('{"message": "hi", "count": 1}'), None)["statusCode"] == 200
    with pytest.raises(lambdallm.InvalidRequestError):
        ask({"message": "direct"}, None)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "words"),
    [
        ("{not json", "application/json", 400, "The body is not JSON (Expecting property name"),
        ("hello", "application/json; charset=utf-8", 400, "line 1, column 1"),
        ('"hello"', "application/json", 400, "neither an object nor an array"),
        ("{not json", "text/plain", 500, "The function failed"),
        ('{"other": 1}', "application/json", 500, "The function failed"),
    ],
)
def test_a_body_that_is_no_json_is_the_callers_fault_once_the_handler_fails_at_it(
    body: str, content_type: str, status: int, words: str
) -> None:
    @handler
    def read_message(event: Any, context: Any) -> Any:
        return event["body"]["message"]

    event = {**samples.http_api(), "body": body, "headers": {"Content-Type": content_type}}
    response = read_message(event, MockLambdaContext())

    assert response["statusCode"] == status
    assert words in body_of(response)["detail"]


def test_a_handler_may_know_what_to_do_with_a_body_that_is_no_json() -> None:
    @handler
    def echo(event: Any, context: Any) -> Any:
        return event["body"]

    event = {**samples.http_api(), "body": "{not", "headers": {"Content-Type": "application/json"}}

    assert echo(event, MockLambdaContext())["body"] == "{not"


def test_a_wrong_session_id_is_refused() -> None:
    response = handler(session=Session())(lambda event, context: "ok")(
        {"body": {"message": "hi", "session_id": "a#b"}}, None
    )

    assert response["statusCode"] == 400


def test_an_error_whose_code_is_of_another_kind_is_told_as_it_is(
    lambdallm_model: MockProvider,
) -> None:
    class RpcError(Exception):
        def code(self) -> int:
            return 14

    with pytest.raises(RpcError):
        failing(RpcError())({"Records": [samples.SQS_RECORD]}, MockLambdaContext())
