"""Finishing a step that waits: by its token, from any function that knows the same store.

token = base64url(JSON [run id, owner, step, secret])
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode

from lambdallm import _context, _engine_tokens, _errors, _handled, _runs
from lambdallm_wire import plain_json, routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PARTS = 4


def encode(run_id: str, owner: str, step: str, secret: str) -> str:
    """Return a step's token."""
    text = plain_json.dumps([run_id, owner, step, secret])
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def complete_callback(token: str, output: Any = None) -> str:
    """Finish a step that waits, and return its run's id: its chain goes on when it is run again.

    One that Step Functions or a durable function waits with goes on by itself; "" is returned.

    Args:
        token: As `notify` was given it, or `ChainResult.waits`.
        output: JSON.

    Raises:
        InvalidRequestError: It is no token, or not of a run that is there.
        StateError: The step is finished already, or its time is over; or the store failed.
        ConfigurationError: There is no store.
    """
    if _engine_tokens.is_one(token):
        _engine_tokens.finish(token, _runs.encode(output, "A callback's output"))
        return ""
    run_id, owner, step, secret = _decode(token)
    finished = {
        "run_id": run_id,
        "owner": owner,
        "step": step,
        "secret": secret,
        "output": _runs.encode(output, "A callback's output"),
    }
    outcome = _finish(finished)
    if outcome == "unknown":
        raise _errors.InvalidRequestError("Nothing waits under this token.")
    if outcome == "already":
        message = f"Step {step!r} of run {run_id!r} is finished already."
        raise _errors.StateError(message)
    if outcome == "expired":
        message = (
            f"Step {step!r} of run {run_id!r} waits no more: its time is over, or the run was "
            "stopped."
        )
        raise _errors.StateError(message)
    return run_id


def approve(token: str, by: str = "", comment: str = "") -> str:
    """Say yes to an `Approval`; as `complete_callback`."""
    return complete_callback(token, {"approved": True, "by": by, "comment": comment})


def reject(token: str, by: str = "", comment: str = "") -> str:
    """Say no to an `Approval`; as `complete_callback`."""
    return complete_callback(token, {"approved": False, "by": by, "comment": comment})


def _finish(finished: dict[str, Any]) -> str:
    handled = _handled.here()
    if len(handled) == 1:
        return str(handled[0].context.work.control(routes.FINISH_STEP, finished)["outcome"])
    work, ended = _context.for_script().work, "error"
    try:
        outcome = str(work.control(routes.FINISH_STEP, finished)["outcome"])
        ended = "ok"
    finally:
        work.end(ended, "", 0.0)
    return outcome


def _decode(token: str) -> list[str]:
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        parts = plain_json.loads(text)
    except (binascii.Error, ValueError, TypeError, AttributeError):
        parts = None
    if not (
        isinstance(parts, list)
        and len(parts) == _PARTS
        and all(isinstance(part, str) for part in parts)
    ):
        raise _errors.InvalidRequestError("This is no token of a step that waits.")
    return parts
