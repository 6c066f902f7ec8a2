"""Errors of ours, as the official clients raise them; what may be billed is asked once."""

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import openai
import pytest

from lambda_runtime_api.http1 import Request
from lambdallm_extension import errors
from lambdallm_extension.server.dropin import refusals
from lambdallm_extension.server.dropin.questions import find_service
from lambdallm_extension.server.http import Server, listen
from lambdallm_extension.server.replies import Reply

INVALID = errors.InvalidRequestError("It takes no images.")
SETTING = errors.SettingError("Set OPENAI_API_KEY.")
DEADLINE = errors.DeadlineError("Too little time is left.")
LOST = errors.ProviderError("The answer was lost.", kind="AnswerLost")
UNREADABLE = errors.ProviderError("Nobody can read it.", status=200, retryable=True)
NOT_SENT = errors.ProviderError("Not reached.", retryable=True, sent=False)
OVERLOADED = errors.OverloadedError("Too much is waiting.")


class Refusing:
    """Refuses every request with one error of ours, through the real server."""

    def __init__(self) -> None:
        self.error: errors.ExtensionError = INVALID
        self.requests = 0
        listener = listen(0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.server = Server(listener, "token", self, pytest.fail)
        self.server.start()

    def serve_request(self, request: Request, body: bytes, *, connection: int) -> Reply:
        self.requests += 1
        service = find_service(request.target)
        assert service is not None
        return refusals.refuse(service, self.error, "call-1")

    def disconnected(self, connection: int) -> None: ...


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    refusing = Refusing()
    yield refusing
    refusing.server.close()


MESSAGES: Any = [{"role": "user", "content": "hi"}]


def ask_openai(url: str, retries: int = 2) -> Any:
    with openai.OpenAI(base_url=f"{url}/openai/v1", api_key="k", max_retries=retries) as client:
        client.chat.completions.create(model="m", messages=MESSAGES)


def ask_anthropic(url: str, retries: int = 2) -> Any:
    with anthropic.Anthropic(
        base_url=f"{url}/anthropic", api_key="k", max_retries=retries
    ) as client:
        client.messages.create(model="m", messages=MESSAGES, max_tokens=5)


def ask_boto3(url: str, retries: int = 2, mode: Any = "standard") -> Any:
    config = botocore.config.Config(
        retries={"total_max_attempts": 1 + retries, "mode": mode}, proxies={}
    )
    client = boto3.client(
        "bedrock-runtime", endpoint_url=f"{url}/bedrock", region_name="us-east-1", config=config,
        aws_access_key_id="k", aws_secret_access_key="s",
    )  # fmt: skip
    try:
        client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])
    finally:
        client.close()


def ask_boto3_as_ever(url: str, retries: int = 2) -> Any:
    ask_boto3(url, retries, "legacy")


def raised(refusing: Refusing, ask: Callable[..., Any], error: errors.ExtensionError) -> Any:
    refusing.error = error
    with pytest.raises(
        (openai.APIStatusError, anthropic.APIStatusError, botocore.exceptions.ClientError)
    ) as caught:
        ask(refusing.url)
    return caught.value


ERRORS = [INVALID, SETTING, DEADLINE, LOST, UNREADABLE]


@pytest.mark.parametrize(
    ("error", "kind"),
    list(zip(
        ERRORS,
        ["BadRequestError", "PermissionDeniedError", *["APIStatusError"] * 3],
        strict=True,
    )),
)  # fmt: skip
@pytest.mark.parametrize(("package", "ask"), [(openai, ask_openai), (anthropic, ask_anthropic)])
def test_the_vendors_client_raises_its_own_error_and_asks_once(
    refusing: Refusing,
    package: Any,
    ask: Callable[..., Any],
    error: errors.ExtensionError,
    kind: str,
) -> None:
    told = raised(refusing, ask, error)

    assert isinstance(told, getattr(package, kind))
    assert f"lambdallm: {error.detail}" in str(told)
    assert told.request_id == "call-1"
    assert refusing.requests == 1


@pytest.mark.parametrize(
    ("error", "code"),
    list(zip(
        ERRORS,
        ["ValidationException", "AccessDeniedException", "ModelTimeoutException",
         "ModelErrorException", "ModelErrorException"],
        strict=True,
    )),
)  # fmt: skip
@pytest.mark.parametrize("ask", [ask_boto3, ask_boto3_as_ever])
def test_boto3_raises_its_own_error_and_asks_once(
    refusing: Refusing, ask: Callable[..., Any], error: errors.ExtensionError, code: str
) -> None:
    told = raised(refusing, ask, error)

    assert type(told).__name__ == code, "the client's own class, not ClientError"
    assert told.response["Error"] == {
        "Code": code, "Message": f"lambdallm: {error.detail}",
    }  # fmt: skip
    assert told.response["ResponseMetadata"]["RequestId"] == "call-1"
    assert refusing.requests == 1


@pytest.mark.parametrize(
    ("ask", "error"),
    [(ask_openai, NOT_SENT), (ask_anthropic, OVERLOADED), (ask_boto3, NOT_SENT)],
)
def test_what_was_not_sent_may_be_asked_again_by_any_client(
    refusing: Refusing, ask: Callable[..., Any], error: errors.ExtensionError
) -> None:
    refusing.error = error
    with pytest.raises(
        (
            openai.InternalServerError,
            anthropic.InternalServerError,
            botocore.exceptions.ClientError,
        ),
    ) as caught:
        ask(refusing.url, retries=1)

    status = getattr(caught.value, "status_code", 503)
    assert (status, refusing.requests) == (503, 2)


def test_the_time_that_was_asked_for_is_told_and_not_shortened() -> None:
    told = []
    for seconds in (0, 0.2, 3, 3.01, 60.5):
        error = errors.ProviderError("No.", sent=False, retryable=True, retry_after_seconds=seconds)
        told += [
            value for name, value in refusals.refuse("openai", error, "c").headers
            if name == "retry-after"
        ]  # fmt: skip

    assert told == ["0", "1", "3", "4", "61"]


def test_a_key_that_is_refused_is_each_clients_own_error() -> None:
    for service, status, kind in (
        ("openai", 401, "invalid_api_key"), ("anthropic", 401, "authentication_error"),
        ("bedrock", 403, "UnrecognizedClientException"),
    ):  # fmt: skip
        reply = refusals.write(service, status, kind, "Wrong key.", retry=False)  # type: ignore[arg-type]
        assert reply.status == status
        assert kind.encode() in reply.body or ("x-amzn-errortype", kind) in reply.headers
