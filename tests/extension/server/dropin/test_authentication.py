"""Who may use the drop-in endpoints. The clients are the real ones; what they send is judged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from hypothesis import example, given, settings, strategies as st

from fakes.admission import (
    CLIENT_KEY,
    ENVIRON,
    KEYS,
    TOKEN,
    authenticator,
    request,
    signed_by_botocore,
)
from fakes.thoroughness import examples
from lambdallm_extension.server.dropin.authentication import Admission, Refusal
from lambdallm_extension.settings import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambda_runtime_api.http1 import Request

OPENAI_MESSAGES: Any = [{"role": "user", "content": "hello"}]


def openai_sends(sent: Callable[..., Any], **options: Any) -> tuple[Request, bytes]:
    def ask(url: str) -> object:
        client = openai.OpenAI(base_url=f"{url}/openai/v1", max_retries=0, **options)
        return client.chat.completions.create(model="gpt-9", messages=OPENAI_MESSAGES)

    head: tuple[Request, bytes] = sent(ask, openai.APIStatusError)
    return head


def anthropic_sends(sent: Callable[..., Any], **options: Any) -> tuple[Request, bytes]:
    def ask(url: str) -> object:
        client = anthropic.Anthropic(base_url=f"{url}/anthropic", max_retries=0, **options)
        return client.messages.create(model="claude", max_tokens=9, messages=OPENAI_MESSAGES)

    head: tuple[Request, bytes] = sent(ask, anthropic.APIStatusError)
    return head


@pytest.mark.parametrize("key", [CLIENT_KEY, ENVIRON["OPENAI_API_KEY"]])
def test_openai_with_a_key_of_the_environment_is_admitted(
    sent: Callable[..., Any], key: str
) -> None:
    head, body = openai_sends(sent, api_key=key)

    assert authenticator().authenticate("openai", head, body) == Admission()


def test_asyncopenai_is_admitted(sent: Callable[..., Any]) -> None:
    async def ask(url: str) -> object:
        async with openai.AsyncOpenAI(
            base_url=f"{url}/openai/v1", max_retries=0, api_key=CLIENT_KEY
        ) as client:
            return await client.chat.completions.create(model="gpt-9", messages=OPENAI_MESSAGES)

    head, body = sent(lambda url: asyncio.run(ask(url)), openai.APIStatusError)

    assert authenticator().authenticate("openai", head, body) == Admission()


@pytest.mark.parametrize(
    "key", ["sk-of-somebody", "", TOKEN, "Bearer", ENVIRON["ANTHROPIC_API_KEY"]]
)
def test_openai_with_another_key_is_refused_and_told_what_to_do(key: str) -> None:
    head = request(("authorization", f"Bearer {key}"))

    refusal = authenticator().authenticate("openai", head, b"{}")

    assert isinstance(refusal, Refusal)
    assert refusal.status == 401
    assert "OPENAI_API_KEY" in refusal.detail
    assert "LAMBDALLM_DROP_IN" in refusal.detail
    assert not key or key == "Bearer" or key not in refusal.detail


@pytest.mark.parametrize("secret", [CLIENT_KEY, TOKEN])
def test_a_key_of_the_clients_own_goes_on_beside_our_header(
    sent: Callable[..., Any], secret: str
) -> None:
    head, body = openai_sends(
        sent, api_key="sk-of-somebody", default_headers={"lambdallm-token": secret}
    )

    own = (("authorization", "Bearer sk-of-somebody"),)
    assert authenticator().authenticate("openai", head, body) == Admission(own)


def test_our_header_in_the_variables_of_custom_headers_does_the_same(
    sent: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, f"x-theirs: 1\nlambdallm-token: {CLIENT_KEY}")
    check = authenticator()

    head, body = openai_sends(sent, api_key="sk-of-somebody")
    own = (("authorization", "Bearer sk-of-somebody"),)
    assert check.authenticate("openai", head, body) == Admission(own)

    head, body = anthropic_sends(sent, api_key="sk-ant-of-somebody")
    admitted = check.authenticate("anthropic", head, body)
    assert isinstance(admitted, Admission)
    assert [header for header in admitted.own_key if header in head.headers] == [*admitted.own_key]
    assert "sk-ant-of-somebody" in admitted.own_key[0][1]


@pytest.mark.parametrize(
    "header", [("x-api-key", "sk-ant-x"), ("authorization", "Bearer sk-ant-x")]
)
def test_anthropics_key_may_stand_in_either_header(header: tuple[str, str]) -> None:
    check = authenticator({**ENVIRON, "ANTHROPIC_API_KEY": "sk-ant-x"})

    assert check.authenticate("anthropic", request(header), b"") == Admission()
    beside = request(header, ("lambdallm-token", TOKEN))
    assert authenticator().authenticate("anthropic", beside, b"") == Admission((header,))


def test_our_header_does_not_make_a_foreign_signature_ours(sent: Callable[..., Any]) -> None:
    head, body = signed_by_botocore("AKIAOFANOTHER", SystemClock().epoch_ms())
    head.headers.append(("lambdallm-token", TOKEN))

    assert isinstance(authenticator().authenticate("bedrock", head, body), Refusal)


@pytest.mark.parametrize("service", ["openai", "anthropic", "bedrock"])
def test_our_header_alone_admits(service: Any) -> None:
    head = request(("lambdallm-token", TOKEN))

    assert authenticator().authenticate(service, head, b"{}") == Admission()


@pytest.mark.parametrize("key", [CLIENT_KEY, ENVIRON["ANTHROPIC_API_KEY"]])
def test_anthropic_with_a_key_of_the_environment_is_admitted(
    sent: Callable[..., Any], key: str
) -> None:
    head, body = anthropic_sends(sent, api_key=key)

    assert authenticator().authenticate("anthropic", head, body) == Admission()


def test_anthropics_auth_token_admits_and_goes_on(sent: Callable[..., Any]) -> None:
    head, body = anthropic_sends(sent, auth_token=ENVIRON["ANTHROPIC_AUTH_TOKEN"])

    own = (("authorization", f"Bearer {ENVIRON['ANTHROPIC_AUTH_TOKEN']}"),)
    assert authenticator().authenticate("anthropic", head, body) == Admission(own)


def test_variables_that_are_not_set_admit_nobody() -> None:
    check = authenticator({**KEYS, "OPENAI_API_KEY": "", "AWS_LAMBDA_FUNCTION_NAME": "f"})

    for value in ("Bearer ", "Bearer", "", "Bearer  "):
        head = request(("authorization", value), ("x-api-key", ""), ("lambdallm-token", ""))
        for service in ("openai", "anthropic", "bedrock"):
            assert isinstance(check.authenticate(service, head, b""), Refusal)  # type: ignore[arg-type]


PIECES = ["AWS4-HMAC-SHA256 ", "Credential=",
          "ASIAOURS/20261121/eu-central-1/bedrock/aws4_request",
          ",", " ", "SignedHeaders=", "host;x-amz-date", "Signature=",
          "0" * 64, "=", "/", ";", "é"]  # fmt: skip


@settings(max_examples=examples(300))
@given(
    authorization=st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=10).map("".join),
    date=st.sampled_from(["20261121T000000Z", "", "x", "20261121"]),
    service=st.sampled_from(["openai", "anthropic", "bedrock"]),
)
@example("AWS4-HMAC-SHA256 Credential=ASIAOURS/20261121/eu-central-1/bedrock/aws4_request, "
         "SignedHeaders=host;x-amz-date, Signature=é", "20261121T000000Z", "bedrock")  # fmt: skip
def test_garbage_is_refused_and_breaks_nothing(authorization: str, date: str, service: Any) -> None:
    value = authorization.encode("utf-8", "replace").decode("latin-1")
    head = request(("authorization", value), ("x-amz-date", date), ("x-api-key", value))

    assert isinstance(authenticator().authenticate(service, head, b"{}"), Refusal)
