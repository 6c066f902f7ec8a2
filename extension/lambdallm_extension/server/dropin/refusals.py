"""Errors of ours in the form of the API that a client believes to talk to.

So that the client raises its own typed error, and asks again when that makes sense and not when
it does not: the official OpenAI and Anthropic clients obey `x-should-retry`; boto3 asks again
after 429, 500, 502, 503 and 504 alone.
"""

from __future__ import annotations

from lambdallm_extension.errors import (
    BudgetExceededError,
    DeadlineError,
    ExtensionError,
    InvalidRequestError,
    ProviderError,
    SettingError,
)
from lambdallm_extension.server.replies import Reply
from lambdallm_wire import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.server.dropin.questions import Service

_KINDS: dict[int, tuple[str, str, str]] = {
    400: ("invalid_request_error", "invalid_request_error", "ValidationException"),
    401: ("invalid_request_error", "authentication_error", "UnrecognizedClientException"),
    403: ("invalid_request_error", "permission_error", "AccessDeniedException"),
    404: ("invalid_request_error", "not_found_error", "ResourceNotFoundException"),
    408: ("server_error", "timeout_error", "ModelTimeoutException"),
    424: ("server_error", "api_error", "ModelErrorException"),
    429: ("rate_limit_error", "rate_limit_error", "ThrottlingException"),
    503: ("server_error", "overloaded_error", "ServiceUnavailableException"),
}
"""Status: the kind of error in OpenAI's, Anthropic's and Bedrock's words."""

_REQUEST_ID: dict[Service, str] = {
    "openai": "x-request-id",
    "anthropic": "request-id",
    "bedrock": "x-amzn-requestid",
}
"""Where each official client looks for what its user is to tell when asking for help."""


def refuse(service: Service, error: ExtensionError, request_id: str) -> Reply:
    """Return an error of ours as a service's own.

    Args:
        service: Whose endpoint it is.
        error: What went wrong.
        request_id: The call's id, to be found again in the records.
    """
    status = _status(error)
    retry = error.retryable and not (isinstance(error, ProviderError) and error.sent)
    retry = retry and not isinstance(error, BudgetExceededError)  # it opens hours later, mostly
    reply = write(service, status, _kind(service, status), error.detail, retry=retry)
    headers = [*reply.headers, (_REQUEST_ID[service], request_id)]
    if error.retry_after_seconds is not None:
        whole_seconds = -int(-error.retry_after_seconds // 1)  # never sooner than was asked for
        headers.append(("retry-after", str(whole_seconds)))
    return reply._replace(headers=headers)


def write(service: Service, status: int, kind: str, detail: str, *, retry: bool) -> Reply:
    """Write an error as a service writes its own."""
    detail = f"lambdallm: {detail}"
    headers: Headers = [("content-type", "application/json")]
    if service == "bedrock":
        headers.append(("x-amzn-errortype", kind))
        return Reply(status, headers, codec.encode({"message": detail}))
    headers.append(("x-should-retry", "true" if retry else "false"))
    if service == "anthropic":
        return Reply(
            status,
            headers,
            codec.encode({"type": "error", "error": {"type": kind, "message": detail}}),
        )
    error = {"message": detail, "type": kind, "param": None, "code": kind}
    return Reply(status, headers, codec.encode({"error": error}))


def _status(error: ExtensionError) -> int:
    if isinstance(error, InvalidRequestError):
        return 400
    if isinstance(error, DeadlineError):
        return 408
    if isinstance(error, BudgetExceededError):
        return 429
    if isinstance(error, SettingError):
        return 403
    if isinstance(error, ProviderError) and error.sent:
        return 424  # it may be billed: no client asks again after this one
    return 503


def _kind(service: Service, status: int) -> str:
    openai, anthropic, bedrock = _KINDS[status]
    return {"openai": openai, "anthropic": anthropic, "bedrock": bedrock}[service]
