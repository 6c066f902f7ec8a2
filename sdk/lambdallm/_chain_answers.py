"""A chain's result as what a handler returns, and as what is answered to who asks for it later."""

from __future__ import annotations

import json

from lambdallm import _errors, _events, _responses
from lambdallm._events import RUN_HEADER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm._chain_results import ChainResult
    from lambdallm._events import Incoming

RETRY_AFTER_SECONDS = 1
"""What somebody is told who asks before a run is completed."""

POLLED = "lambdallm-run"
"""The query parameter of a poll: `GET /path?lambdallm-run=RUN`."""


def of_result(result: ChainResult, incoming: Incoming) -> Any:
    """Return what a handler's answer is that has returned a chain's result.

    Raises:
        LambdaLLMError: The chain has failed; or its event comes from a service, and has to come
            again for the chain to go on.
    """
    if result.status == "completed":
        response = _responses.from_value(result.final_output, incoming)
        return _named(response, result.run_id, incoming)
    if result.status == "truncated":
        body = {
            "status": "truncated",
            "output": result.final_output,
            "outputs": result.outputs,
            "reason": str(result.error),
            "run_id": result.run_id,
        }
        return _named(_responses.from_value(body, incoming), result.run_id, incoming)
    if result.status == "checkpointed" and incoming.shape != "service":
        return in_progress(result, incoming)
    if result.status == "checkpointed" and result.resumes:
        return None  # its event need not come again
    raise result.error or _errors.StateError(f"Run {result.run_id!r} has failed.")


def in_progress(result: ChainResult, incoming: Incoming) -> dict[str, Any]:
    """Say that the run is not finished, where to ask for it, and when."""
    body: dict[str, Any] = {
        "status": "in_progress",
        "run_id": result.run_id,
        "checkpoint": result.checkpoint,
        "message": f"{result.error} Send the event again with the header {RUN_HEADER}.",
    }
    if result.waits:
        body["waits"] = [*result.waits]
    return _unfinished(body, result.run_id, incoming)


def polled(incoming: Incoming) -> str | None:
    """Return the run that an event does nothing but ask for, None where it is another event."""
    event = incoming.event
    if incoming.shape != "http" or not isinstance(event, dict):
        return None
    request = event.get("requestContext")
    http = request.get("http") if isinstance(request, dict) else None
    method = http.get("method") if isinstance(http, dict) else event.get("httpMethod")
    asked = event.get("queryStringParameters")
    run_id = asked.get(POLLED) if isinstance(asked, dict) else None
    return run_id if method == "GET" and _events.is_id(run_id) else None


def of_poll(run: dict[str, Any], run_id: str, incoming: Incoming) -> dict[str, Any]:
    """Answer who asks for a run (`lambdallm_wire.runs.StoredRun`)."""
    if not run["found"] or "." in run["name"]:  # a chain's has none; an idempotent handler's has
        body = {"status": "unknown", "run_id": run_id, "message": "There is no such run."}
        return _response(404, body, incoming)
    body = {"status": run["status"], "run_id": run_id}
    if run["status"] == "completed":
        return _response(200, {**body, "output": json.loads(run["output"])}, incoming)
    if run["status"] == "stopped":
        return _response(410, {**body, "message": run.get("error", "")}, incoming)
    if run["status"] == "failed":  # why is in the log: words of any code's own are not for clients
        return _response(200, {**body, "message": _FAILED}, incoming)
    waits = [each["step"] for each in run["waits"]]
    done = {step["key"] for step in run["steps"]}
    waiting = [step for step in waits if step not in done]
    more = {"waits": waiting} if waiting else {}
    return _unfinished({**body, **more, "completed_steps": len(done)}, run_id, incoming)


_FAILED = "It has failed. The function's log tells why."


def _unfinished(body: dict[str, Any], run_id: str, incoming: Incoming) -> dict[str, Any]:
    response: dict[str, Any] = _named(_response(202, body, incoming), run_id, incoming)
    _responses.add_header(response, "retry-after", str(RETRY_AFTER_SECONDS), incoming)
    path = incoming.event.get("rawPath") or incoming.event.get("path")
    if incoming.shape == "http" and isinstance(path, str) and path:
        _responses.add_header(response, "location", f"{path}?{POLLED}={run_id}", incoming)
    return response


def _response(status: int, body: dict[str, Any], incoming: Incoming) -> dict[str, Any]:
    return _responses.make(status, _responses.JSON, json.dumps(body), incoming)


def _named(response: Any, run_id: str, incoming: Incoming) -> Any:
    if incoming.shape != "service":
        _responses.add_header(response, RUN_HEADER, run_id, incoming)
    return response
