"""The shape of an error on the wire; `errors` makes it."""

from __future__ import annotations

from typing import TypedDict


class Problem(TypedDict, total=False):
    """One error on the wire.

    Shape:
        {"type": "about:blank", "title": "model invocation", "status": 502,
         "detail": "what happened and what to do", "code": "model_invocation",
         "retryable": true, "retry_after_seconds": 1.5, "request_id": "…", "source": "bedrock"}
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    retry_after_seconds: float | None
    request_id: str | None
    source: str
