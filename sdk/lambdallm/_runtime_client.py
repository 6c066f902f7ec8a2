"""The runtime's own client in this process, taught to leave alone what was answered here.

    bootstrap:  wait_next_invocation ─► handler ─► post_invocation_result
                        │                  │               │
    here:           noted              streamed       nothing more to say

The managed runtime posts what a handler returns, whole; it cannot stream. So a streamed response
is posted by the handler's own process, and what the runtime would post after it is dropped: a
second answer is refused, and a runtime whose answer is refused ends.
"""

from __future__ import annotations

import sys

from lambdallm import _log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MODULE = "awslambdaric.lambda_runtime_client"

MAJORS = ("2", "3", "4")
"""Of awslambdaric. Source: its releases on PyPI, read and run (tests/sdk/test_runtime_versions)."""

_SAID = ("post_invocation_result", "post_invocation_error")


class _Client:
    """What is known of the runtime's client in this process."""

    def __init__(self) -> None:
        self.fault: str | None = "no Lambda runtime runs this process"
        self.request_id = ""
        self.invocation_id: str | None = None
        self.answered = False
        self.told = False


_client = _Client()


def install() -> None:
    """Replace what has to be, once; where the runtime is not as it is known, nothing."""
    module = sys.modules.get(MODULE)
    if module is None:
        return
    kind = getattr(module, "BaseLambdaRuntimeClient", None)
    kind = kind or getattr(module, "LambdaRuntimeClient", None)
    if getattr(kind, "lambdallm_replaced", None) is _client:
        return
    _client.fault = _fault_of(kind)
    if _client.fault is None:
        _replace(kind)
        _find_present()


def _find_present() -> None:
    """Find the invocation that goes on already, where a handler is decorated in the middle of one.

    The runtime's own frame knows it; nothing else has both of its ids.
    """
    frame = sys._getframe(1)  # noqa: SLF001 - see above
    while frame is not None:
        if frame.f_code.co_name == "handle_event_request":
            _client.request_id = str(frame.f_locals.get("invoke_id", ""))
            _client.invocation_id = frame.f_locals.get("invocation_id")
            return
        frame = frame.f_back  # type: ignore[assignment]  # None at the end


def why_not(request_id: str) -> str | None:
    """Return why an invocation cannot be answered from here, None where it can."""
    if _client.fault is not None:
        return _client.fault
    if _client.answered:
        return "it was answered already"
    if _client.request_id != request_id:
        return "the runtime has not told of this invocation"
    return None


def tell_once(reason: str) -> None:
    """Say that responses are not streamed, once in a process."""
    if not _client.told:
        _client.told = True
        _log.write(
            "WARNING",
            f"Responses are not streamed: {reason}. They leave in one piece, at the end.",
        )


def invocation_id() -> str | None:
    """Return the present invocation's other id, None where the runtime has none."""
    return _client.invocation_id


def take(request_id: str) -> None:
    """Answer an invocation from here on: what the runtime says of it is dropped."""
    assert _client.request_id == request_id  # noqa: S101 - `why_not` was asked before
    _client.answered = True


def _fault_of(kind: Any) -> str | None:
    package = sys.modules.get("awslambdaric")
    version = str(getattr(package, "__version__", "?"))
    known = version.partition(".")[0] in MAJORS
    if known and all(callable(getattr(kind, name, None)) for name in (*_SAID, _WAIT)):
        return None
    return f"the runtime client awslambdaric {version} is not known to this version of lambdallm"


_WAIT = "wait_next_invocation"


def _replace(kind: Any) -> None:
    wait = getattr(kind, _WAIT)

    def wait_next_invocation(self: Any) -> Any:
        request = wait(self)
        _client.request_id = request.invoke_id
        _client.invocation_id = getattr(request, "invocation_id", None)
        _client.answered = False
        return request

    setattr(kind, _WAIT, wait_next_invocation)
    for name in _SAID:
        setattr(kind, name, _unless_answered(getattr(kind, name)))
    kind.lambdallm_replaced = _client


def _unless_answered(post: Any) -> Any:
    def post_unless_answered(self: Any, invoke_id: str, *rest: Any, **named: Any) -> Any:
        if _client.answered and invoke_id == _client.request_id:
            return None
        return post(self, invoke_id, *rest, **named)

    return post_unless_answered
