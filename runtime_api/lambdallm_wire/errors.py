"""Errors as data (RFC 9457 problems), rebuilt on the other side from a closed table.

code                  status  retried by the caller?
configuration          500    no: somebody must change a setting
invalid_request        400    no
unauthorized           401    no: the token is missing or wrong
forbidden              403    no
not_found              404    no
too_large              413    no
sidecar                503    yes: the engine could not do its own work
model_invocation       502    by `retryable`
budget_exceeded        429    after `retry_after_seconds`
rate_limited           429    after `retry_after_seconds`
state                  503    by `retryable`
output                 502    no
tool                   502    no
deadline_exceeded      408    no: the invocation has no time left
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from lambdallm_wire.problems import Problem

STATUS: Final[dict[str, int]] = {
    "configuration": 500,
    "invalid_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "too_large": 413,
    "sidecar": 503,
    "model_invocation": 502,
    "budget_exceeded": 429,
    "rate_limited": 429,
    "state": 503,
    "output": 502,
    "tool": 502,
    "deadline_exceeded": 408,
}
"""Every code there is, with the HTTP status it travels under."""

CONTENT_TYPE = "application/problem+json"


def problem(
    code: str,
    detail: str,
    *,
    retryable: bool = False,
    retry_after_seconds: float | None = None,
    request_id: str | None = None,
    source: str = "lambdallm",
) -> Problem:
    """Make a problem of a known code.

    Raises:
        KeyError: The code is not in `STATUS`.
    """
    return {
        "type": "about:blank",
        "title": code.replace("_", " "),
        "status": STATUS[code],
        "detail": detail,
        "code": code,
        "retryable": retryable,
        "retry_after_seconds": retry_after_seconds,
        "request_id": request_id,
        "source": source,
    }
