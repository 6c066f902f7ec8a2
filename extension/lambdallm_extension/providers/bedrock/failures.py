"""What Bedrock refuses with, as an error that says what to do about it.

    status and kind                       again?   may the model have been reached?
    403 AccessDeniedException, 404, 400   no       no
    429 ThrottlingException               yes      no     (no, when a day's quota is used up)
    429 ModelNotReadyException            yes      no
    400 ServiceQuotaExceededException     no       no
    408 ModelTimeoutException             yes      yes
    424 ModelErrorException               by the model's own status      yes
    403 ExpiredTokenException             yes      no     (after new credentials are fetched)
    500, 502, 503, 504                    yes      yes

Source: Bedrock API Reference, "Converse"; User Guide, "Troubleshooting API errors"; 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.aws.endpoints import arn_partition
from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.bedrock.models import GEOGRAPHIES, family
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambda_runtime_api.http1 import Headers

MESSAGE_MAX_CHARACTERS = 600
"""Bedrock's own sentence; the longest known are about 400."""

_RETRYABLE_STATUS = (408, 429, 500, 502, 503, 504, 529)

_REACHED_THE_MODEL = (408, 424)
"""ModelTimeoutException and ModelErrorException."""

_FORBIDDEN = 403
_SERVER_ERROR = 500

EXPIRED_KINDS = ("ExpiredTokenException", "ExpiredToken")
"""Credentials that were good once: asking again with new ones helps."""

_CREDENTIAL_KINDS = (
    *EXPIRED_KINDS,
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
)


def decode(model_id: str, region: str, status: int, headers: Headers, body: bytes) -> ProviderError:
    """Make the error of a reply whose status is not 200."""
    answer = _json_object(body)
    message = str(answer.get("message") or answer.get("Message") or "").strip()
    kind = _kind(headers, answer)
    said = message[:MESSAGE_MAX_CHARACTERS] or "no reason given"
    where = f" in {region}" if region else ""
    named = f" ({kind}, HTTP {status})" if kind else f" (HTTP {status})"
    advice = _advice(model_id, region, kind, status, message)
    return ProviderError(
        f"Bedrock refused {model_id}{where}: {said}{named}. {advice}".rstrip(),
        status=status,
        kind=kind,
        retryable=_is_retryable(kind, status, message, answer),
        retry_after_seconds=_retry_after_seconds(headers),
        sent=status >= _SERVER_ERROR or status in _REACHED_THE_MODEL,
    )


def in_band(model_id: str, name: str, payload: bytes, *, generated: bool) -> ProviderError:
    """Make the error of an exception that came in the stream of a 200.

    Args:
        model_id: Who was asked.
        name: Such as `throttlingException`.
        payload: What it says of itself.
        generated: Whether some of the answer had come before: that is billed.
    """
    kind = name[:1].upper() + name[1:]
    status = _IN_BAND_STATUS.get(kind, _SERVER_ERROR)
    error = decode(model_id, "", status, [("x-amzn-errortype", kind)], payload)
    error.sent = error.sent or generated
    return error


_IN_BAND_STATUS = {
    "ValidationException": 400,
    "ModelTimeoutException": 408,
    "ModelStreamErrorException": 424,
    "ThrottlingException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
"""What an exception would have had for a status, had it not come in a stream.

Source: botocore 1.43, the service model of bedrock-runtime, "ResponseStream".
"""


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = plain_json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _kind(headers: Headers, answer: dict[str, Any]) -> str:
    """Return the error's name: `ValidationException` of `ValidationException:http://…`."""
    named = next((value for name, value in headers if name == "x-amzn-errortype"), "")
    named = named or str(answer.get("__type") or answer.get("code") or "")
    return named.split(":", 1)[0].rsplit("#", 1)[-1].strip()


def _is_retryable(kind: str, status: int, message: str, answer: dict[str, Any]) -> bool:
    if kind == "ServiceQuotaExceededException" or "per day" in message:
        return False
    if kind in EXPIRED_KINDS:
        return True
    if kind in ("ModelErrorException", "ModelStreamErrorException"):
        return answer.get("originalStatusCode") in _RETRYABLE_STATUS
    return status in _RETRYABLE_STATUS


def _retry_after_seconds(headers: Headers) -> float | None:
    """Return how long Bedrock asks to wait: `retry-after` in seconds, AWS's own header in ms."""
    for name, value in headers:
        if name in ("retry-after", "x-amz-retry-after") and value.isascii() and value.isdigit():
            return int(value) / (1 if name == "retry-after" else 1_000)
    return None


def _advice(model_id: str, region: str, kind: str, status: int, message: str) -> str:
    if kind in _CREDENTIAL_KINDS:
        return (
            "The credentials are not accepted: check the function's role, or locally the AWS_* "
            "variables and the clock."
        )
    if kind == "AccessDeniedException" or status == _FORBIDDEN:
        return _access_advice(model_id, region, message)
    if kind == "ValidationException":
        return _validation_advice(model_id, message)
    if kind == "ThrottlingException":
        if "per day" in message:
            return "The quota of a day is used up: ask AWS for more, or use another model."
        return "Bedrock is throttling this account's calls of the model: ask again a little later."
    return _ADVICE.get(kind, "")


_ADVICE = {
    "ResourceNotFoundException": (
        "The id is not known in this region, or the model has reached the end of its life: list "
        "what there is with `aws bedrock list-foundation-models` and "
        "`aws bedrock list-inference-profiles`."
    ),
    "ModelNotReadyException": "The model is being loaded: ask again in a few seconds.",
    "ModelTimeoutException": (
        "The model took longer than Bedrock allows: ask for fewer tokens (max_tokens), or a "
        "faster model."
    ),
    "ServiceQuotaExceededException": (
        "A quota of the account is used up: raise it in Service Quotas (Amazon Bedrock), or use "
        "another model or region."
    ),
    "ModelErrorException": "The model itself failed on this request.",
    "ModelStreamErrorException": "The model itself failed within its answer.",
    "ServiceUnavailableException": "Bedrock is short of capacity: ask again a little later.",
}


def _validation_advice(model_id: str, message: str) -> str:
    lower = message.lower()
    if "on-demand throughput" in lower:
        name = family(model_id) or model_id
        return (
            "This model is asked through an inference profile: use its id with a geography "
            f"before it, such as global.{name} or us.{name}."
        )
    if "end of its life" in lower or "end of life" in lower:
        return "The model is retired: choose a current one."
    if "model identifier is invalid" in lower:
        return (
            "Check the id, and that the profile's geography (us., eu., global., …) is offered in "
            "this region: `aws bedrock list-inference-profiles`."
        )
    return ""


def _access_advice(model_id: str, region: str, message: str) -> str:
    if "authorized to perform" in message:
        statement = {
            "Effect": "Allow",
            "Action": _action_in(message),
            "Resource": _resources(model_id, region),
        }
        return f"The function's role needs this statement: {plain_json.dumps(statement)}"
    return (
        "Enable access to this model in the Bedrock console (Model access), or let the role "
        "subscribe to it (aws-marketplace:Subscribe), and allow bedrock:InvokeModel on "
        f"{' and '.join(_resources(model_id, region))}."
    )


def _action_in(message: str) -> str:
    """Return the action that a refusal names; streams need another one than whole answers."""
    named = "bedrock:InvokeModelWithResponseStream"
    return named if named in message else "bedrock:InvokeModel"


def _resources(model_id: str, region: str) -> list[str]:
    """Return what a policy must name; a profile needs its model in every region it may go to."""
    if model_id.startswith("arn:"):
        return [model_id]
    name = family(model_id)
    bedrock = f"arn:{arn_partition(region)}:bedrock"
    models = f"{bedrock}:*::foundation-model/{name}"
    if model_id.partition(".")[0] in GEOGRAPHIES:
        return [f"{bedrock}:*:*:inference-profile/{model_id}", models]
    return [models]
