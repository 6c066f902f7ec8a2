"""What SageMaker endpoints refuse with, as an error that says what to do about it.

    status and kind                  again?                         may the model have been reached?
    400 ValidationError, 403         no                             no
    429, or any kind of throttling   yes                            no
    424 ModelError                   by the container's own status  yes
    500, 502, 503, 504               yes                            yes

Source: SageMaker Runtime API Reference, "InvokeEndpoint", 2026-11.
"""

from __future__ import annotations

from lambdallm_extension.errors import ProviderError
from lambdallm_extension.providers.retry_after import retry_after_seconds
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers

MESSAGE_MAX_CHARACTERS = 600

_TOO_MANY = 429
_MODEL_ERROR = 424
_SERVER_ERROR = 500


def refusal(
    source: str, model_id: str, status: int, headers: Headers, body: bytes
) -> ProviderError:
    """Make the error of a reply whose status is no 200."""
    answer = _json_object(body)
    kind = next((value for name, value in headers if name == "x-amzn-errortype"), "")
    kind = kind.split(":", 1)[0].rsplit("#", 1)[-1].strip() or str(answer.get("ErrorCode") or "")
    error = _error(source, model_id, status, kind, answer)
    error.retry_after_seconds = retry_after_seconds(status, headers)
    return error


def in_band(source: str, model_id: str, payload: bytes) -> ProviderError:
    """Make the error of an exception that came in the stream of a 200."""
    answer = _json_object(payload)
    kind = str(answer.get("ErrorCode") or "ModelStreamError")
    return _error(source, model_id, _MODEL_ERROR, kind, answer)


EXPIRED_KINDS = ("ExpiredTokenException", "ExpiredToken")
_RETRYABLE_STATUS = (429, 500, 502, 503, 504)


def _error(
    source: str, model_id: str, status: int, kind: str, answer: dict[str, object]
) -> ProviderError:
    said = answer.get("OriginalMessage") or answer.get("Message") or answer.get("message") or ""
    original = answer.get("OriginalStatusCode")
    decisive = original if status == _MODEL_ERROR and original else status
    throttled = kind.startswith("Throttling")
    named = f" ({kind}, HTTP {status})" if kind else f" (HTTP {status})"
    reason = str(said)[:MESSAGE_MAX_CHARACTERS] or "no reason given"
    detail = f"SageMaker's endpoint {model_id} refused: {reason}{named}."
    return ProviderError(
        f"{detail} {_ADVICE.get(kind, '')}".rstrip(),
        status=_TOO_MANY if throttled else status,
        kind=kind,
        retryable=throttled or kind in EXPIRED_KINDS or decisive in _RETRYABLE_STATUS,
        sent=not throttled and (status >= _SERVER_ERROR or status == _MODEL_ERROR),
        source=source,
    )


_ADVICE = {
    "ValidationError": "Check the endpoint's name and region, and that it is InService.",
    "AccessDeniedException": (
        "The function's role needs sagemaker:InvokeEndpoint on it, and for streams "
        "sagemaker:InvokeEndpointWithResponseStream."
    ),
    "ModelError": "The container failed; its log in CloudWatch says why.",
    "ModelNotReadyException": "The model is being loaded: ask again in a few seconds.",
}


def _json_object(body: bytes) -> dict[str, object]:
    try:
        answer = plain_json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
