"""Events that come again to go on with a run, in whatever shape they were sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdallm import Chain, ConfigurationError, Step, _events, _resumption
from lambdallm.testing import MockLambdaContext

HTTP = {
    "version": "2.0",
    "requestContext": {"http": {"method": "POST", "path": "/"}},
    "headers": {"idempotency-key": "k-1"},
    "body": '{"a": 1}',
}
SQS = {"Records": [{"eventSource": "aws:sqs", "messageId": "m-1", "body": "text"}]}


QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/resumed"
QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:resumed"


class Context(MockLambdaContext):
    event_identity = "k-1"
    invoked_function_arn = "arn:aws:lambda:us-east-1:1:function:f:live"


def again(event: Any, via: str = "self") -> dict[str, Any]:
    return _resumption.terms(via, Context(), "report/k-1", event, 0)


@pytest.mark.parametrize("event", [HTTP, SQS, {"topic": "bees"}, ["a", "list"], "text", None])
def test_an_event_comes_again_as_it_was(event: Any) -> None:
    sent = json.loads(again(event)["event"])

    incoming = _events.read(sent)

    assert incoming.original == event
    assert incoming.resumed
    assert (incoming.run_id, incoming.identity) == ("report/k-1", "k-1")
    assert incoming.shape == _events.read(event).shape


def message(body: str, arn: str) -> dict[str, Any]:
    record = {"eventSource": "aws:sqs", "messageId": "m-2", "body": body, "eventSourceARN": arn}
    return {"Records": [record]}


def test_it_is_found_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_RESUME_QUEUE", QUEUE)

    incoming = _events.read(message(again(HTTP)["event"], QUEUE_ARN))

    assert incoming.original == HTTP
    assert incoming.body == {"a": 1}


@pytest.mark.parametrize(
    ("queue", "arn"),
    [
        ("", QUEUE_ARN),
        (QUEUE, "arn:aws:sqs:us-east-1:123456789012:orders"),
        (QUEUE, "arn:aws:sqs:us-east-1:210987654321:resumed"),
        (QUEUE, ""),
    ],
)
def test_what_anybody_has_sent_to_another_queue_is_nobodys_event(
    queue: str, arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMBDALLM_RESUME_QUEUE", queue)
    authorizer = {"jwt": {"claims": {"iss": "i", "sub": "victim"}}}
    forged = {**HTTP, "requestContext": {"http": {"method": "POST"}, "authorizer": authorizer}}
    event = message(again(forged)["event"], arn)

    incoming = _events.read(event)

    assert (incoming.resumed, incoming.run_id, incoming.event) == (False, None, event)
    assert incoming.identity == "m-2"


def test_nobody_is_answered_so_that_failures_are_raised() -> None:
    assert _events.read(HTTP).wants_status
    assert not _events.read(json.loads(again(HTTP)["event"])).wants_status


@pytest.mark.parametrize(
    "event",
    [
        {"lambdallm_resume": "text"},
        {"Records": [{"body": '{"lambdallm_resume": '}]},
        {"Records": [{"body": '"lambdallm_resume"'}, {"body": "{}"}]},
    ],
)
def test_what_only_looks_like_it_is_an_event_of_its_own(event: Any) -> None:
    incoming = _events.read(event)

    assert (incoming.resumed, incoming.run_id, incoming.original) == (False, None, event)


def test_the_very_alias_is_invoked() -> None:
    assert again(HTTP)["target"] == Context.invoked_function_arn


def test_what_a_way_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="LAMBDALLM_RESUME_QUEUE"):
        again(HTTP, "sqs")
    with pytest.raises(ConfigurationError, match="LAMBDALLM_RESUME_ROLE"):
        again(HTTP, "schedule")
    monkeypatch.setenv("LAMBDALLM_RESUME_QUEUE", "https://sqs/q")
    monkeypatch.setenv("LAMBDALLM_RESUME_ROLE", "arn:role")

    assert again(HTTP, "sqs")["queue_url"] == "https://sqs/q"
    assert again(HTTP, "schedule")["role_arn"] == "arn:role"


def test_an_event_that_is_too_large_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="S3"):
        again({"text": "x" * _resumption.EVENT_MAX_BYTES})


def test_a_way_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'self', 'sqs', 'schedule'"):
        Chain("c", [Step("a", prompt="b")], resume="cron")
