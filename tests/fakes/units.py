"""Units of work of the SDK, as a handler would begin them."""

from collections.abc import Callable
from typing import Any

from lambdallm import _settings, handler
from lambdallm._work import Work
from lambdallm.testing import MockLambdaContext

FAR_MS = 60_000


def make_work(name: str = "work") -> Work:
    return Work(name, name, _settings.epoch_ms() + FAR_MS)


def with_session(name: str = "e") -> Work:
    rule: Any = {
        "session_id": "s", "identity": name, "ttl_seconds": 60, "durability": "before_response",
        "memory": {"strategy": "sliding_window", "max_messages": 20},
    }  # fmt: skip
    work = Work(name, name, _settings.epoch_ms() + 10_000)
    work.begin(rule)
    return work


def run(function: Callable[[Any], Any], *, lambda_context: Any = None, **arguments: Any) -> Any:
    """Run a handler's body, which gets its context, and return what it returned.

    Args:
        function: The body.
        lambda_context: What Lambda would give; one with much time if None.
        **arguments: Of `@handler`.
    """
    kept: list[Any] = []

    def call(_event: Any, context: Any) -> str:
        kept.append(function(context))
        return "ok"

    handler(**arguments)(call)({"name": "direct"}, lambda_context or MockLambdaContext())
    return kept[0]
