"""Refusals in every form that APIs have for them, and how long they ask to wait."""

import json

import pytest

from lambdallm_extension.providers import find_dialect

CHAT = find_dialect("openai.chat", "m")
MESSAGES = find_dialect("anthropic.messages", "m")


def refused(status: int, body: object, *headers: tuple[str, str], dialect=CHAT):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return dialect.refusal("the-model", status, list(headers), raw)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"error": {"message": "No.", "type": "a", "code": "b"}}, "b", "No"),
        ({"error": {"message": "No.", "type": "a", "code": None}}, "a", "No"),
        ({"error": {"message": "No.", "type": "a", "code": 429}}, "a", "No"),
        ({"error": {"message": "No.", "type": "a", "code": "429"}}, "a", "No"),
        ({"type": "error", "error": {"type": "a", "message": "No."}}, "a", "No"),
        ({"object": "error", "message": "No.", "type": "a", "code": 400}, "a", "No"),
        ({"error": "No."}, "", "No"),
        ({"detail": "No."}, "", "No"),
        ({"detail": [{"loc": ["body"], "msg": "missing"}]}, "", "missing"),
        ({"message": "No."}, "", "No"),
        (b"<html>Bad gateway</html>", "", "no reason given"),
        (b"", "", "no reason given"),
        (b"\xff\xfe\x00", "", "no reason given"),
        (b"[" * 100_000, "", "no reason given"),
        ([1, 2], "", "1"),
        (None, "", "no reason given"),
        ({"error": {"message": {"nested": "No"}, "type": 7, "code": []}}, "", "No"),
    ],
)
def test_every_form(body: object, kind: str, message: str) -> None:
    error = refused(502, body)

    assert error.kind == kind
    assert message in str(error)
    assert "the-model" in str(error)
    assert "502" in str(error)


@pytest.mark.parametrize(
    ("status", "retryable", "sent"),
    [
        (400, False, False),
        (401, False, False),
        (403, False, False),
        (404, False, False),
        (408, True, True),
        (409, False, False),
        (413, False, False),
        (422, False, False),
        (429, True, False),
        (500, True, True),
        (501, False, True),
        (502, True, True),
        (503, True, True),
        (504, True, True),
        (524, True, True),
        (529, True, False),
    ],
)
@pytest.mark.parametrize("dialect", [CHAT, MESSAGES])
def test_what_may_be_asked_again_and_what_may_be_billed(dialect, status, retryable, sent) -> None:
    error = refused(status, {"error": {"message": "No", "type": "x"}}, dialect=dialect)

    assert (error.retryable, error.sent) == (retryable, sent)


def test_a_used_up_quota_is_not_asked_again_whatever_the_header_says() -> None:
    body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}

    error = refused(429, body, ("x-should-retry", "true"))

    assert not error.retryable
    assert "credit" in str(error)


@pytest.mark.parametrize(("said", "retryable"), [("true", True), ("false", False), ("?", False)])
def test_the_api_s_own_word_wins(said: str, retryable: bool) -> None:
    assert refused(409, {}, ("x-should-retry", said)).retryable is retryable
    assert refused(503, {}, ("x-should-retry", said)).retryable is (said != "false")


DATE = ("date", "Sat, 21 Nov 2026 23:59:58 GMT")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([("retry-after", "2")], 2.0),
        ([("retry-after", "0.5")], 0.5),
        ([("retry-after", "0")], 0.0),
        ([("retry-after-ms", "1500"), ("retry-after", "9")], 1.5),
        ([("retry-after", "Sun, 22 Nov 2026 00:00:03 GMT"), DATE], 5.0),
        ([("retry-after", "Mon, 01 Mar 2027 00:00:00 GMT"), DATE], 99 * 86_400 + 2.0),
        ([("retry-after", "Sat, 21 Nov 2026 00:00:03 GMT"), DATE], 0.0),
        ([("retry-after", "Sun, 22 Nov 2026 00:00:03 GMT")], None),
        ([("retry-after", "Sun, 22 Foo 2026 00:00:03 GMT"), DATE], None),
        ([("retry-after", "soon")], None),
        ([("retry-after", "-3")], None),
        ([("retry-after", "nan")], None),
        ([("retry-after", "9" * 400)], None),
        ([], None),
        ([("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")], 360.0),
        ([("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "120ms")], 0.12),
        ([("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1h2m3.5s")], 3723.5),
        ([("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "7")], 7.0),
        ([("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1x")], None),
        ([("x-ratelimit-remaining-tokens", "5"), ("x-ratelimit-reset-tokens", "1s")], None),
        (
            [
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "1s"),
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "20ms"),
            ],
            1.0,
        ),
    ],
)
def test_how_long_to_wait(headers: list, seconds: float | None) -> None:
    assert refused(429, {}, *headers).retry_after_seconds == seconds


def test_reset_times_tell_nothing_where_nothing_is_throttled() -> None:
    headers = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "1s")]

    assert refused(500, {}, *headers).retry_after_seconds is None


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abc123.",
        'key="sk-ant-api03-xyz"',
        "(sk-xyz)",
    ],
)
def test_what_looks_like_a_key_is_not_repeated(text: str) -> None:
    error = refused(401, {"error": {"message": text}})

    assert "sk-…" in str(error)
    assert not any(part in str(error) for part in ("abc123", "xyz"))
    assert "task-force" in str(refused(400, {"error": {"message": "task-force"}}))


def test_a_page_of_a_server_in_between_is_not_repeated_whole() -> None:
    assert len(str(refused(502, {"message": "x " * 50_000}))) < 1_000


@pytest.mark.parametrize(
    ("dialect", "status", "body", "advice"),
    [
        (CHAT, 404, {"error": {"code": "model_not_found"}}, "model's name"),
        (CHAT, 404, {}, "/v1"),
        (CHAT, 400, {"error": {"code": "context_length_exceeded"}}, "window"),
        (CHAT, 400, {"error": {"message": "Unsupported parameter: 'stop'"}}, "leave it out"),
        (CHAT, 401, {}, "OPENAI_API_KEY"),
        (MESSAGES, 401, {"error": {"type": "authentication_error"}}, "ANTHROPIC_API_KEY"),
        (MESSAGES, 529, {"error": {"type": "overloaded_error"}}, "later"),
        (MESSAGES, 400, {"error": {"message": "prompt is too long: 9 > 8"}}, "fewer turns"),
        (MESSAGES, 502, {}, "itself failed"),
    ],
)
def test_it_says_what_to_do(dialect, status: int, body: dict, advice: str) -> None:
    assert advice in str(refused(status, body, dialect=dialect))
