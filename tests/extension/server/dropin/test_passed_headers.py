"""Headers that go on: each of the sender's own, in its order, and nothing of the hop."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from fakes.thoroughness import examples
from lambda_runtime_api.http1 import Request
from lambdallm_extension.server.dropin.passed_headers import client_headers, upstream_headers

HOP = [
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
    "te", "trailer", "transfer-encoding", "upgrade",
]  # fmt: skip
SECRET = [
    "authorization", "x-api-key", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256",
    "lambdallm-token", "lambdallm-work",
]  # fmt: skip
FRAMING = ["host", "content-length", "expect"]
KEPT = [
    "content-type", "anthropic-beta", "anthropic-version", "openai-organization", "user-agent",
    "x-stainless-lang", "amz-sdk-invocation-id", "x-amzn-bedrock-guardrailidentifier", "cookie",
    "x-amzn-trace-id", "idempotency-key", "accept", "authorization-of-theirs",
]  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([*HOP, *SECRET, *FRAMING, *KEPT, "accept-encoding", "x-one", "x-two"]),
        st.sampled_from(["close", "keep-alive, X-One", "x-two , upgrade", "a  b", "", "\xe9"]),
    ),
    max_size=12,
)


def sent(headers: list[tuple[str, str]]) -> Request:
    return Request("POST", "/x", headers, keep_alive=True)


def named(headers: list[tuple[str, str]]) -> set[str]:
    options = [value.split(",") for name, value in headers if name == "connection"]
    return {option.strip().lower() for one in options for option in one}


@settings(max_examples=examples(300))
@given(HEADERS)
def test_what_goes_upstream(headers: list[tuple[str, str]]) -> None:
    dropped = {*HOP, *SECRET, *FRAMING, *named(headers)}
    rest = [header for header in headers if header[0] not in dropped]

    assert upstream_headers(sent(headers), metered=False) == rest
    plain = [header for header in rest if header[0] != "accept-encoding"]
    metered = upstream_headers(sent(headers), metered=True)
    assert metered == [*plain, ("accept-encoding", "identity")]


@settings(max_examples=examples(300))
@given(HEADERS)
def test_what_goes_back(headers: list[tuple[str, str]]) -> None:
    dropped = {*HOP, *named(headers)}
    rest = [header for header in headers if header[0] not in dropped]

    assert client_headers(headers, reframed=False) == rest
    reframed = [header for header in rest if header[0] != "content-length"]
    assert client_headers(headers, reframed=True) == reframed
