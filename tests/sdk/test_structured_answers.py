"""What models really answer: recorded replies, served over HTTP in their APIs' own forms.

Each file of tests/data/structured_answers holds one reply and says where it was recorded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import lambdallm
from fakes.api_server import ApiServer, Reply
from lambdallm.testing import MockLambdaContext

RECORDED = Path(__file__).parents[1] / "data" / "structured_answers"
ANSWERS = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDED.glob("*.json"))}
RIGHT = sorted(name for name, each in ANSWERS.items() if "value" in each)
FAULTY = sorted(name for name, each in ANSWERS.items() if "fault" in each)

SHAPES: dict[str, Any] = {
    "book": {"title": str, "author": {"first_name": str, "last_name": str}, "rating": int},
    "city": {"city": str, "country": str, "population": int},
    "place": {"city": str, "country": str},
    "person": {"name": str, "address": str, "email": str},
}

ADDRESSES = (
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "ANTHROPIC_BASE_URL",
    "OPENAI_BASE_URL",
    "LAMBDALLM_OPENAI_COMPATIBLE_URL",
)


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY")


def reply_of(name: str) -> Reply:
    recorded = ANSWERS[name]
    headers = {"Content-Type": "application/json"}
    if "status" in recorded:
        headers["x-amzn-ErrorType"] = "ValidationException"
    return Reply(recorded.get("status", 200), headers, (json.dumps(recorded["reply"]).encode(),))


def ask(
    monkeypatch: pytest.MonkeyPatch, server: ApiServer, name: str, **given: Any
) -> tuple[Any, int]:
    """Ask the model of a recording for its shape; return what comes, and how often it is asked."""
    recorded = ANSWERS[name]
    for address in ADDRESSES:
        monkeypatch.setenv(address, server.url)
    for key in KEYS:
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    seen: list[Any] = []

    @lambdallm.handler(model=recorded["model"], max_retries=0)
    def handle(event: Any, context: Any) -> None:
        try:
            seen.append(context.invoke_structured("Which?", SHAPES[recorded["shape"]], **given))
        except lambdallm.LambdaLLMError as error:
            seen.append(error)

    handle({}, MockLambdaContext())
    return seen[0], len(server.asked)


def test_five_models_and_more_are_here_refusals_and_truncations_included() -> None:
    assert len({ANSWERS[name]["model"] for name in RIGHT}) >= 5
    assert {ANSWERS[name]["fault"] for name in FAULTY} == {"content_filter", "length"}
    assert all(len(each["source"]) > 40 for each in ANSWERS.values())


@pytest.mark.parametrize("name", RIGHT)
def test_what_a_model_has_answered_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ApiServer(reply_of(name)) as server:
        answer, asked = ask(monkeypatch, server, name)

    assert answer == ANSWERS[name]["value"]
    assert asked == 1
    body = str(server.asked[0].json)
    by_field = "json_schema" in body
    assert by_field is (ANSWERS[name]["asked"] == "field")
    assert ("follows this JSON schema" in body) is not by_field


@pytest.mark.parametrize("name", FAULTY)
def test_a_refusal_and_a_truncation_are_told_and_not_repaired(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ApiServer(reply_of(name)) as server:
        error, asked = ask(monkeypatch, server, name)

    assert isinstance(error, lambdallm.OutputError)
    assert error.finish_reason == ANSWERS[name]["fault"]
    assert ("refused" if error.finish_reason == "content_filter" else "max_tokens") in error.detail
    assert not error.retryable
    assert asked == 1
    assert error.raw_text == error.partial_text
    if error.raw_text:
        assert error.raw_text in json.dumps(ANSWERS[name]["reply"], ensure_ascii=False).replace(
            "\\n", "\n"
        )
        assert error.raw_text not in error.detail


def test_a_model_that_does_not_know_the_field_is_asked_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = reply_of("bedrock_refuses_the_field")
    with ApiServer(refused, reply_of("claude_on_bedrock")) as server:
        answer, asked = ask(monkeypatch, server, "claude_on_bedrock")

    assert answer == ANSWERS["claude_on_bedrock"]["value"]
    assert asked == 2
    assert "outputConfig" in server.asked[0].json
    assert "outputConfig" not in server.asked[1].json
