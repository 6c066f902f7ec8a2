"""What goes back to Lambda: a handler's value, a checkpoint, or a problem, in the event's shape."""

from __future__ import annotations

import json

from lambdallm import _errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._events import Incoming

SESSION_HEADER = "x-session-id"
RECEIPT_HEADER = "x-lambdallm-exchange"
JSON = "application/json"
_PROBLEM = "application/problem+json"


def from_value(value: Any, incoming: Incoming, *, new_session_id: str | None = None) -> Any:
    """Shape what the handler returned. The value itself is not changed.

    A dict with `statusCode` keeps its form, with a dict or list body as JSON; any other value
    becomes the body of a 200. An answer to a service event goes back as it is.

    Args:
        value: The handler's.
        incoming: The event.
        new_session_id: Given back in `x-session-id`, so that the caller can go on.
    """
    if incoming.shape == "service":
        return value
    if isinstance(value, dict) and "statusCode" in value:
        response = dict(value)
        if isinstance(response.get("body"), (dict, list)):
            response["body"] = json.dumps(response["body"])
    else:
        body = value if isinstance(value, str) else json.dumps(value)
        response = make(200, JSON, body, incoming)
    if new_session_id is not None:
        add_header(response, SESSION_HEADER, new_session_id, incoming)
    return response


def with_receipt(response: Any, receipt: str | None, incoming: Incoming) -> Any:
    """Say which exchange the answer tells of, where it may have left before it was stored."""
    if receipt is not None and incoming.shape != "service":
        add_header(response, RECEIPT_HEADER, receipt, incoming)
    return response


def with_cost(response: Any, cost_pico_usd: int | None, request_id: str, incoming: Incoming) -> Any:
    """Say what the invocation has cost, that it is not known where it is not, and its id."""
    from lambdallm_wire import cost_headers, money

    if cost_pico_usd is None:
        add_header(response, cost_headers.STATUS, cost_headers.UNKNOWN, incoming)
    else:
        add_header(response, cost_headers.COST, money.usd(cost_pico_usd), incoming)
    add_header(response, cost_headers.REQUEST, request_id, incoming)
    return response


def from_checkpoint(checkpoint: Any, incoming: Incoming) -> dict[str, Any]:
    """Say that the work is not finished, with what is needed to go on."""
    body = {
        "status": "in_progress",
        "checkpoint": checkpoint,
        "message": "The time of this invocation is used up; send the checkpoint to go on.",
    }
    return make(202, JSON, json.dumps(body), incoming)


def from_error(error: Exception, incoming: Incoming, request_id: str) -> dict[str, Any]:
    """Turn an error into a response; of an unknown one nothing but its existence is told."""
    problem = problem_of(error, request_id)
    response = make(problem["status"], _PROBLEM, json.dumps(problem), incoming)
    wait = getattr(error, "retry_after_seconds", None)
    if isinstance(wait, (int, float)):
        add_header(response, "retry-after", str(max(1, round(wait))), incoming)
    return response


def problem_of(error: Exception, request_id: str) -> dict[str, Any]:
    """Return what may be told of an error to whoever has asked."""
    problem: dict[str, Any] = {"type": "about:blank"}
    if isinstance(error, _errors.LambdaLLMError):
        problem |= {
            "title": error.code.replace("_", " "),
            "status": error.status,
            "detail": error.detail,
            "code": error.code,
            "retryable": error.retryable,
        }
        if isinstance(error, _errors.InvalidRequestError) and error.errors:
            problem["errors"] = error.errors
    else:
        problem |= {
            "title": "internal error",
            "status": 500,
            "detail": "The function failed. Its log tells why, under this request id.",
            "code": "internal",
            "retryable": False,
        }
    problem["request_id"] = request_id
    problem["error"] = problem["detail"]  # the earlier package's only field
    return problem


def make(status: int, content_type: str, body: str, incoming: Incoming) -> dict[str, Any]:
    """Make an answer in the form that an event's sender reads."""
    response: dict[str, Any] = {"statusCode": status, "headers": {}, "body": body}
    add_header(response, "Content-Type", content_type, incoming)
    if incoming.lists_headers:
        del response["headers"]
    return response


def add_header(response: dict[str, Any], name: str, value: str, incoming: Incoming) -> None:
    """Add a header where the event's sender reads it, without touching the user's own dict."""
    lists = incoming.lists_headers or "multiValueHeaders" in response
    field = "multiValueHeaders" if lists else "headers"
    headers = dict(response.get(field) or {})
    headers.setdefault(name, [value] if lists else value)
    response[field] = headers
