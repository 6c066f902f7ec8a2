"""A whole handler once for each key: who comes again gets the answer of the first time.

first delivery      under way ──► completed: its answer is kept
again, meanwhile    StateError with the time to wait (an HTTP event: 503 and retry-after)
again, afterwards   the answer, and nothing is done
after a kill        the handler runs again; model calls that were answered are not made again
a stream            kept while it leaves; again, afterwards, it comes as it was
a chain's result    kept as its output, once it is completed; until then as after a kill
"""

from __future__ import annotations

import sys
from functools import wraps
from types import CoroutineType

from lambdallm import _errors, _runs, _steps
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

KEPT_HOURS = 24

WHOLE = "handler"
"""Key of the one step of such a run."""


def idempotent(
    function: Callable[..., Any] | None = None,
    *,
    key: str | Callable[[Any, Any], Any] | None = None,
    expires_hours: float = KEPT_HOURS,
    owner: Any = "authorizer",
) -> Any:
    """Let a handler answer each key once. It stands below `@handler`.

        @handler
        @idempotent(key="body.order_id")
        def order(event, context): ...

    Args:
        function: The handler, where it is used without parentheses.
        key: Where the event says it, as `body.order_id`; or a function of event and context. By
            default what the event is known by: the header `Idempotency-Key`, the id of an SQS
            message, or else the request's id.
        expires_hours: So long an answer is kept.
        owner: Whose keys are, as `Session(owner=…)`.

    Raises:
        ConfigurationError: At the call: there is no store, or `@handler` does not stand above.
        InvalidRequestError: At the call: the event has no such key, or the key was used with
            another body.
        StateError: At the call: it is under way elsewhere (it says when to ask again).
    """
    if function is None:
        return lambda decorated: idempotent(
            decorated, key=key, expires_hours=expires_hours, owner=owner
        )

    @wraps(function)
    def once(event: Any, context: Any) -> Any:
        if not isinstance(context, _steps.HasSteps):
            message = "@idempotent stands below @handler: put @handler on top of it."
            raise _errors.ConfigurationError(message)
        run = _open(function, event, context, key, round(expires_hours * 3_600), owner)
        if run.status == "completed":
            return _answered(run.opened["output"])
        return _do(run, function, event, context)

    return once


def _open(
    function: Callable[..., Any],
    event: Any,
    context: Any,
    key: str | Callable[[Any, Any], Any] | None,
    ttl_seconds: int,
    owner: Any,
) -> _runs.Run:
    name = f"{function.__module__}.{function.__qualname__}"
    opening: dict[str, Any] = {
        "run_id": _run_id(name, _key_of(event, context, key)),
        "name": name,
        "ttl_seconds": max(1, ttl_seconds),
        "input": _runs.encode(_fingerprint(context), "The body"),
    }
    whose = context.owner_by(owner)
    if whose:
        opening["owner"] = whose
    run = _runs.make(context.work, opening)
    if isinstance(run, _runs.UnkeptRun):
        raise _runs.needs_store("@idempotent")
    run.open()
    if run.opened["input"] != opening["input"]:
        if run.status == "running":
            run.close("interrupted")
        message = "This key was used with another body before. Send another key with this one."
        raise _errors.InvalidRequestError(message)
    if run.status not in ("running", "completed"):
        message = f"Run {run.run_id!r} has {run.status}: {run.opened.get('error', '')}"
        raise _errors.StateError(message)
    return run


def _do(run: _runs.Run, function: Callable[..., Any], event: Any, context: _steps.HasSteps) -> Any:
    scope = _runs.StepScope(run, WHOLE)
    try:
        with _runs.within(scope):
            value = function(event, context)
            if isinstance(value, CoroutineType):
                from lambdallm import _async

                value = _async.run(value)
        results = sys.modules.get("lambdallm._chain_results")
        if results is not None and isinstance(value, results.ChainResult):
            if value.status != "completed":  # who comes again goes on with the chain
                run.close("interrupted", error=str(value.error or "")[:1_000])
                return value
            value = value.final_output
        if _is_stream(value):
            from lambdallm import _kept_streams

            return _kept_streams.keep(run, value, context, lambda: _runs.within(scope))
        output = _runs.encode(value, "What an idempotent handler answers")
    except BaseException as error:
        run.close("failed", error=f"{type(error).__name__}: {error}"[:1_000])
        raise
    run.close("completed", output=output)
    return plain_json.loads(output)


def _is_stream(value: Any) -> bool:
    """Say whether an answer is made piece by piece; what is JSON is not, and needs no module."""
    body = value.get("body") if isinstance(value, dict) else value
    if body is None or isinstance(body, (str, int, float, dict, list)):
        return False
    from lambdallm import _kept_streams

    return _kept_streams.body_of(body) is not None


def _answered(output: str) -> Any:
    if '"lambdallm_streamed"' not in output:
        return plain_json.loads(output)
    from lambdallm import _kept_streams

    return _kept_streams.replay(output)


def _key_of(event: Any, context: Any, key: str | Callable[[Any, Any], Any] | None) -> str:
    """Return what makes two events the same.

    Raises:
        InvalidRequestError: The event does not say it.
    """
    if key is None:
        return str(context.event_identity)
    found = key(event, context) if callable(key) else _field(event, key)
    if found is None or found == "":
        where = "what its key needs" if callable(key) else key
        message = f"The event does not say {where}, by which it is known."
        raise _errors.InvalidRequestError(message)
    return found if isinstance(found, str) else plain_json.dumps(found)


def _field(event: Any, path: str) -> Any:
    for name in path.split("."):
        event = event.get(name) if isinstance(event, dict) else None
    return event


def _run_id(name: str, key: str) -> str:
    """Return the id of a key's run: keys are users' texts, and may be anything."""
    import hashlib

    text = f"{name}\0{key}".encode("utf-8", "surrogatepass")
    return f"idempotent/{hashlib.blake2b(text, digest_size=16).hexdigest()}"


def _fingerprint(context: Any) -> str:
    """Return a hash of an HTTP event's body; other events carry what differs each time."""
    import hashlib

    if context.raw_body is None:
        return ""
    body = context.raw_body.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(body, digest_size=16).hexdigest()
